"""Made-up evenings: what happened in them, and the true demand that a board is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from racing.demand import ORDER, PAY, PROMOTION, Demand, Market
from racing.model import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

LOOK_MS = 10_000
LOOKS_PER_MIN = 60_000 // LOOK_MS
OPENING_MS = 1_762_790_400_000
"""2025-11-11 00:00 in China (UTC+8); any other moment gives the same figures but for chance."""
WARM_UP_MIN = 20.0
"""Traffic folded before the first look that counts: window and base of the longest candidate."""
_FOLDED = ("click", "order", "pay")


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch of the evening, in minutes from 00:00, with the calm hour's clicks per second."""

    name: str
    start_min: float
    end_min: float
    clicks_per_s: float = PROMOTION.clicks_per_s


SCENES = (
    Scene("calm", -85, -25),
    Scene("burst", -5, 10),
    Scene("ebb", 10, 30),
    Scene("thin", -85, -25, clicks_per_s=PROMOTION.clicks_per_s / 10),
)
"""The calm hour, 23:55-00:10, 00:10-00:30, and the calm hour of a venue with a tenth of the shoppers."""


@dataclass(frozen=True, slots=True)
class Evening:
    """Drawn events and true demand, look by look; the same for every candidate.

    moments_ms: the looks; a look sees what happened before it. events: (kind, product, time, amount, chance)
    of the 10 s before each look; chance is uniform in [0, 1). money, orders: float64 (looks, products), what
    is expected per second over the minute after each look.
    """

    products: tuple[str, ...]
    moments_ms: tuple[int, ...]
    events: tuple[tuple[IntArray, IntArray, IntArray, IntArray, FloatArray], ...]
    money: FloatArray
    orders: FloatArray

    def looks(self, scene: Scene) -> BoolArray:
        """Which looks belong to a scene, bool (looks,)."""
        minutes = (np.array(self.moments_ms) - OPENING_MS) / 60_000
        return (minutes > scene.start_min) & (minutes <= scene.end_min)


def make_evening(
    products: int,
    seed: int,
    scenes: Sequence[Scene],
    *,
    warm_up_min: float = WARM_UP_MIN,
    market: Market = PROMOTION,
) -> Evening:
    """The evening that holds these scenes (all with the same clicks_per_s), from the warm-up on."""
    market = replace(market, clicks_per_s=scenes[0].clicks_per_s)
    demand = Demand(products, seed, opening_ms=OPENING_MS, market=market)
    start_ms = OPENING_MS + int(60_000 * (min(scene.start_min for scene in scenes) - warm_up_min))
    end_ms = OPENING_MS + int(60_000 * max(scene.end_min for scene in scenes))
    moments = range(start_ms + LOOK_MS, end_ms + 1, LOOK_MS)
    middles = range(start_ms + LOOK_MS + LOOK_MS // 2, end_ms + 60_000, LOOK_MS)
    rates = np.stack([demand.rate(middle)[[ORDER, PAY]] for middle in middles])
    after = np.stack([rates[i : i + LOOKS_PER_MIN].mean(axis=0) for i in range(len(moments))])
    return Evening(
        products=tuple(good.product for good in demand.goods),
        moments_ms=tuple(moments),
        events=tuple(_drawn(demand, moment) for moment in moments),
        money=after[:, 1] * demand.price,
        orders=after[:, 0],
    )


def _drawn(demand: Demand, moment_ms: int) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    happened = demand.events(moment_ms - LOOK_MS, moment_ms, kinds=_FOLDED)
    chance = np.random.default_rng([demand.seed, moment_ms]).random(len(happened))
    return happened.kind, happened.product, happened.time_ms, happened.amount, chance
