"""Who has left the board since an older frame: what its later pages must mark, for the slot itself stays."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from api.history import Shown
from racing.errors import CorruptRecordError, StoreError
from racing.model import Frame
from racing.orders import Exclusion
from racing.store.desk import Desk
from racing.store.orders import Orders

_FRESH_S = 0.25
"""Exclusions are read again after so long: they reach every answer within the 2 s that caches are told."""


@dataclass
class _Venue:
    """The exclusions of a venue as they were read."""

    exclusions: list[Exclusion] = field(default_factory=list)
    read_s: float = float("-inf")
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Gone:
    """Asks what has gone, of each venue at most four times a second. Bound: one entry for each venue asked for."""

    def __init__(self, desk: Desk, orders: Orders) -> None:
        self._desk = desk
        self._orders = orders
        self._venues: dict[str, _Venue] = {}

    async def since(self, shown: Shown, now_ms: int, *, fresh: bool = False) -> frozenset[str]:
        """Products of a frame that are excluded now, or no longer enrolled; while Redis is away, as last known.

        fresh: whether what was read a moment ago must be read again.
        """
        frame = shown.frame
        found = await self._exclusions(frame.venue, within_s=0.0 if fresh else _FRESH_S)
        exclusions = [each for each in found if each.holds(now_ms)]
        products = {each.product for each in exclusions}
        merchants = {each.merchant for each in exclusions if each.merchant is not None}
        left = await self._left(frame)
        return frozenset(
            slot.product
            for slot in frame.slots
            if slot.product in products
            or slot.product in left
            or ((runner := shown.runners.get(slot.runner)) is not None and runner.merchant in merchants)
        )

    async def _exclusions(self, venue: str, *, within_s: float) -> list[Exclusion]:
        known = self._venues.setdefault(venue, _Venue())
        async with known.reading:
            if time.monotonic() - known.read_s > within_s:
                known.read_s = time.monotonic()
                with suppress(StoreError, CorruptRecordError):  # then nobody can exclude anything either
                    orders = (await self._orders.read(venue)).orders.values()
                    known.exclusions = [each for each in orders if isinstance(each, Exclusion)]
        return known.exclusions

    async def _left(self, frame: Frame) -> set[str]:
        """Products whose places in the race are others' by now."""
        try:
            runners = await self._desk.runners.by_number(frame.venue, sorted({slot.runner for slot in frame.slots}))
        except StoreError:
            return set()
        names = {number: runner.product for number, runner in runners.items()}
        return {slot.product for slot in frame.slots if names.get(slot.runner) != slot.product}
