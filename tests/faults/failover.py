"""Failovers of a venue's primary with replication held up: what is lost, in each mode, and that nothing is doubled."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from racing.errors import StoreError
from racing.store.client import connect
from racing.store.commit import NO_COMMIT, CommitRecord, read_commit
from racing.store.keys import VenueKeys
from tests.faults.senders import KINDS, Event, Journal, Sender
from tests.stack import Stack
from tests.waiting import until

PRODUCTS = [f"p-{index}" for index in range(400)]
RULE = {
    "window_s": 3600,
    "bucket_s": 5,
    "metrics": {"click": {"event": "click"}, "pay_amount": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1},
        {"metric": "pay_amount", "signal": "root", "weight": 1},
    ],
}
_SENDERS = 3
_SOON_S = 30.0


class PlainSender(Sender):
    """A sender of new events alone, each batch of one product: what is lost cannot hide what is doubled."""

    def _batch(self) -> tuple[Event, ...]:
        rng: random.Random = self._rng
        product = rng.choice(PRODUCTS)
        return tuple(self._of(rng, product) for _ in range(rng.randrange(1, 30)))

    @staticmethod
    def _of(rng: random.Random, product: str) -> Event:
        kind = rng.choice(KINDS)
        return Event(kind, product, amount=rng.randrange(1, 1_000_000) if kind == "pay" else None)


class Load:
    """Senders that send to a venue for as long as this is entered."""

    def __init__(self, stack: Stack, venue: str, *, seed: int) -> None:
        self.journal = Journal()
        rng = random.Random(seed)
        self._senders = [
            PlainSender(stack.base, venue, PRODUCTS, self.journal, seed=rng.getrandbits(32)) for _ in range(_SENDERS)
        ]

    def __enter__(self) -> Self:
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.join(_SOON_S)
        if kind is None:
            assert not any(sender.is_alive() for sender in self._senders), "a sender waits in vain for an answer"

    def more(self, batches: int) -> None:
        """Return when so many more batches are acknowledged."""
        before = len(self.journal.acknowledged)
        until(
            lambda: len(self.journal.acknowledged) >= before + batches,
            within_s=_SOON_S,
            what=f"{batches} more batches are acknowledged after {before}",
        )


@dataclass
class Counted:
    """What the journal says against what the venue's sorted sets hold."""

    acknowledged: int
    lost: int
    doubled: int
    wrong_amounts: int


def open_venue(stack: Stack, venue: str) -> None:
    """Make a venue with all products enrolled."""
    made = stack.post("/v1/venues", {"venue": venue, "rule": RULE})
    assert made.status_code == 201, made.text
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    enrolled = stack.post(f"/v1/venues/{venue}/runners/bulk", {"runners": runners})
    assert enrolled.status_code == 201, enrolled.text


def counted(url: str, venue: str, journal: Journal) -> Counted:
    """Compare the journal with the totals, once everything in the log is folded and the sets are complete.

    wrong_amounts: of the products whose events are all there, those whose amounts are not.
    """
    client: Any = connect(url, venue=venue)
    keys = VenueKeys(venue)
    try:
        until(lambda: _complete(client, keys), within_s=_SOON_S, what=f"everything in {venue} is folded")
        counts, amounts = journal.recount()
        products = {int(number): product.decode() for product, number in client.hgetall(keys.products).items()}
        found = _totals(client, keys, "count", products)
        found_amounts = _totals(client, keys, "amount", products)
    finally:
        client.close()
    cells = counts.keys() | found.keys()
    return Counted(
        acknowledged=journal.events,
        lost=sum(max(0, counts[cell] - found[cell]) for cell in cells),
        doubled=sum(max(0, found[cell] - counts[cell]) for cell in cells),
        wrong_amounts=sum(counts[cell] == found[cell] and amounts[cell] != found_amounts[cell] for cell in cells),
    )


def _complete(client: Any, keys: VenueKeys) -> bool:
    try:
        commit: CommitRecord = read_commit(client, keys)
        last = client.xrevrange(keys.log, count=1)[0][0].decode()
    except StoreError:
        return False
    return commit != NO_COMMIT and commit.position == commit.sets_position == last


def _totals(client: Any, keys: VenueKeys, measure: str, products: dict[int, str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for kind in sorted(set(KINDS)):
        for member, value in client.zrange(keys.sums("total", f"{kind}:{measure}"), 0, -1, withscores=True):
            if (product := products[int(member)]) in PRODUCTS:
                found[kind, product] = int(value)
    return found
