"""The traffic of every scenario: who is in the venue, what happens, and the rule that counts it. Seeded.

10,000 runners whose popularity follows Zipf's law with exponent 1.2, so that the busiest takes about a fifth of
all events; six kinds in the shares below; a rule that uses six metrics. The shares are a guess at a promotion
page: a third of the impressions are clicked (they are counted when seen for a while), one click in ten is an
order. Amounts are each product's price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from racing.model import FloatArray, IntArray

RUNNERS = 10_000
ZIPF_EXPONENT = 1.2
WINDOW_S = 300
BUCKET_S = 10
QUICK_BUCKET_S = 5
"""Quick runs cut time finer, so that three bucket boundaries lie within 16 s."""

KINDS = ("impression", "click", "favorite", "cart", "order", "pay")
SHARES = (0.60, 0.25, 0.04, 0.06, 0.03, 0.02)
SEGMENTS = ("new", "returning")
SEGMENT_SHARES = (0.4, 0.6)
"""One dimension of shoppers, where events carry it: a guess."""
PAID_FROM = KINDS.index("order")
"""Orders and payments carry an amount."""

_PRICE_MIN, _PRICE_MAX = 990, 199_900


def rule_document(
    *, window_s: int = WINDOW_S, bucket_s: int = BUCKET_S, slots: int = 50, segments: bool = False
) -> dict[str, Any]:
    """The rule of every scenario: six metrics, five of them compared with the base, two conversions.

    segments: with the segments declared.
    """
    return {
        **({"segments": {"names": list(SEGMENTS), "prior": 20}} if segments else {}),
        "window_s": window_s,
        "bucket_s": bucket_s,
        "metrics": {
            **{kind: {"event": kind} for kind in KINDS[:-1]},
            "pay_amount": {"event": "pay", "sum": "amount"},
        },
        "terms": [
            {"metric": "click", "signal": "surge", "weight": 1.0, "prior": 10.0, "tide": True},
            {"metric": "favorite", "signal": "surge", "weight": 0.5, "prior": 10.0, "tide": True},
            {"metric": "cart", "signal": "surge", "weight": 1.0, "prior": 10.0, "tide": True},
            {"metric": "order", "signal": "root", "weight": 0.3},
            {"metric": "pay_amount", "signal": "surge", "weight": 2.0, "prior": 10.0, "tide": True},
            {"ratio": ["click", "impression"], "signal": "rate", "weight": 5.0, "prior": 200.0},
            {"ratio": ["order", "click"], "signal": "rate", "weight": 20.0, "prior": 50.0},
        ],
        "board": {"slots": slots},
    }


def product_of(runner: int) -> str:
    """The product id of a runner: nine characters, as ids of a large shop have."""
    return f"p-{runner:07d}"


@dataclass(frozen=True, slots=True)
class Events:
    """Events as columns of one length: index into KINDS, runner number, amount (0 where none is due).

    segment: index into SEGMENTS; None where events carry none.
    """

    kind: IntArray
    runner: IntArray
    amount: IntArray
    segment: IntArray | None = None

    def __len__(self) -> int:
        return len(self.kind)

    def part(self, start: int, end: int) -> Events:
        """The events from start up to, not including, end; views."""
        segment = None if self.segment is None else self.segment[start:end]
        return Events(self.kind[start:end], self.runner[start:end], self.amount[start:end], segment)


class Traffic:
    """What happens among this many runners, drawn anew from a seed for each purpose."""

    def __init__(self, runners: int = RUNNERS, *, seed: int = 1) -> None:
        self.runners = runners
        self.seed = seed
        weights: FloatArray = np.arange(1, runners + 1, dtype=np.float64) ** -ZIPF_EXPONENT
        self._upto: FloatArray = np.cumsum(weights / weights.sum())
        rng = np.random.default_rng([seed, 0])
        self._by_rank: IntArray = rng.permutation(runners)
        logs = rng.uniform(np.log(_PRICE_MIN), np.log(_PRICE_MAX), runners)
        self._price: IntArray = np.exp(logs).astype(np.int64)

    def draw(self, count: int, *, purpose: int, segments: bool = False) -> Events:
        """The first count events of a purpose; the same ones for the same arguments, with their segments or without."""
        rng = np.random.default_rng([self.seed, 1, purpose])
        rank = np.searchsorted(self._upto[:-1], rng.random(count), side="right")
        kind = np.searchsorted(np.cumsum(SHARES)[:-1], rng.random(count), side="right").astype(np.int64)
        runner = self._by_rank[rank]
        segment = np.searchsorted(np.cumsum(SEGMENT_SHARES)[:-1], rng.random(count), side="right") if segments else None
        return Events(kind, runner, np.where(kind >= PAID_FROM, self._price[runner], 0), segment)

    def cells(self, events: int, *, purpose: int, segments: bool = False) -> Events:
        """One event for each (runner, kind) that so many events would touch, in each segment that they would.

        So a bucket is filled as wide, sooner: what it costs depends on its cells, not on how often each was hit.
        """
        drawn = self.draw(events, purpose=purpose, segments=segments)
        key = drawn.runner * len(KINDS) + drawn.kind
        if drawn.segment is not None:
            key = np.unique(key * len(SEGMENTS) + drawn.segment)
            key, segment = np.divmod(key, len(SEGMENTS))
        else:
            key, segment = np.unique(key), None
        kind, runner = key % len(KINDS), key // len(KINDS)
        return Events(kind, runner, np.where(kind >= PAID_FROM, self._price[runner], 0), segment)
