"""Counting again: what Redis holds of a venue against what its senders' journal says, and `verify` against itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import redis

from racing.errors import StoreError
from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from racing.verify import verify
from tests.faults.bounds import EMPTY, Bounded, at_least, at_most
from tests.faults.senders import Journal
from tests.waiting import until

SETTLED_S = 30.0
"""In which everything acknowledged must be folded and shown once the senders have stopped."""
_PATIENT_S = 60.0
"""A machine that is busy with other things is no fault of the store's."""
_KINDS = ("impression", "click", "favorite", "cart", "order", "pay", "refund")
_TROUBLES_MAX = 10


@dataclass
class Counted(Bounded):
    """What was acknowledged, and how far Redis is from it."""

    acknowledged: int = at_least(1)
    batches: int = 0
    retries: int = 0
    lost: int = at_most(0)
    doubled: int = at_most(0)
    wrong_amounts: int = at_most(0)
    wrong_window_sums: int = at_most(0)
    verify_clean: bool = at_least(1, start=False)
    frames: int = 0
    troubles: list[str] = field(default_factory=list, metadata=EMPTY)

    @property
    def right(self) -> bool:
        """Whether something was acknowledged, and all of it is there once."""
        return self.broken.keys().isdisjoint(each.name for each in fields(Counted))


def count_again(url: str, venue: str, journal: Journal, counted: Counted) -> None:
    """Compare the journal's counts with the sorted sets once those are complete, and verify the venue."""
    client: Any = redis.Redis.from_url(url, protocol=2, socket_timeout=_PATIENT_S)
    keys = VenueKeys(venue)
    until(lambda: _complete(client, keys), within_s=SETTLED_S, what="everything is folded and the sets are complete")
    counts, amounts = journal.recount()
    products = {int(number): product.decode() for product, number in client.hgetall(keys.products).items()}
    held = {
        (what, measure): _sums(client, keys, what, measure, products)
        for what in ("total", "window")
        for measure in ("count", "amount")
    }
    found = held["total", "count"]
    for name in counts.keys() | found.keys():
        counted.lost += max(0, counts[name] - found[name])
        counted.doubled += max(0, found[name] - counts[name])
    counted.wrong_amounts = _differences(amounts, held["total", "amount"])
    counted.wrong_window_sums = _differences(counts, held["window", "count"]) + _differences(
        amounts, held["window", "amount"]
    )
    counted.acknowledged, counted.batches = journal.events, len(journal.acknowledged)
    counted.retries, counted.frames = journal.retries, client.xlen(keys.frames)
    differences = verify(client, venue).differences
    counted.verify_clean = not differences
    counted.troubles = [*journal.troubles, *counted.troubles, *differences][:_TROUBLES_MAX]
    client.close()


def _complete(client: Any, keys: VenueKeys) -> bool:
    try:
        commit = read_commit(client, keys)
        last = client.xrevrange(keys.log, count=1)[0][0].decode()
    except StoreError:
        return False
    return bool(commit.position == commit.sets_position >= last)


def _sums(client: Any, keys: VenueKeys, what: str, measure: str, products: dict[int, str]) -> Counter[tuple[str, str]]:
    """What the sorted sets hold, by (kind, product)."""
    found: Counter[tuple[str, str]] = Counter()
    for kind in _KINDS:
        for member, value in client.zrange(keys.sums(what, f"{kind}:{measure}"), 0, -1, withscores=True):
            found[kind, products[int(member)]] = int(value)
    return found


def _differences(expected: Counter[tuple[str, str]], found: Counter[tuple[str, str]]) -> int:
    return sum(expected[name] != found[name] for name in expected.keys() | found.keys())
