"""Applications of merchants to a venue (报名), and the venue's entry conditions, in Redis.

They are no part of the race: an application that is approved becomes an enrolment, which is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from racing.entries import Runner
from racing.entry_check import EntryConditions
from racing.errors import ConflictError, OverloadedError
from racing.store.client import store_errors_async
from racing.store.desk import Desk
from racing.store.keys import VenueKeys

APPLICATIONS_MAX = 5_000
"""Kept of one venue, decided ones too: 5,000 heads of 300 bytes are read at once for a list."""
State = Literal["waiting", "approved", "refused"]
_RULE = "rule"


class Application(msgspec.Struct, frozen=True):
    """An application as it stands. passed: of its products, how many met every condition as it came.

    enrolled: products that became runners; empty until the enrolment is done, which follows the approval.
    """

    id: str
    venue: str
    merchant: str
    at_ms: int
    products: int
    passed: int
    state: State = "waiting"
    note: str = ""
    decided_by: str = ""
    decided_ms: int | None = None
    approved: tuple[str, ...] = ()
    enrolled: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Application).decode
_decode_products = msgspec.json.Decoder(list[Runner]).decode


class Applications:
    """The applications of every venue. Each method raises StoreError."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def conditions(self, venue: str) -> EntryConditions:
        """The entry conditions of a venue; none where none were set."""
        async with store_errors_async():
            raw = await self._desk.client.hget(VenueKeys(venue).entry, _RULE)
        return EntryConditions() if raw is None else EntryConditions.model_validate_json(raw)

    async def put_conditions(self, venue: str, conditions: EntryConditions) -> None:
        """Make these the entry conditions, whatever they were. Safe to repeat."""
        await self._desk.ask("HSET", VenueKeys(venue).entry, _RULE, conditions.model_dump_json(exclude_none=True))

    async def add(self, venue: str, merchant: str, products: Sequence[Runner], *, passed: int) -> Application:
        """Keep an application under an id of its own; ids sort by time. Raises OverloadedError at the bound."""
        now_ms = time.time_ns() // 1_000_000
        made = Application(f"{now_ms}-{secrets.token_hex(4)}", venue, merchant, now_ms, len(products), passed)
        keys = VenueKeys(venue)
        args = (made.id, _encode(made), _encode(products), APPLICATIONS_MAX)
        if not await self._desk.run("put_application", (keys.applications, keys.applied), args):
            raise OverloadedError(f"venue {venue} keeps {APPLICATIONS_MAX} applications, and takes no more")
        return made

    async def all(self, venue: str) -> list[Application]:
        """All applications of a venue, the newest first."""
        async with store_errors_async():
            raws = await self._desk.client.hvals(VenueKeys(venue).applications)
        return sorted((_decode(raw) for raw in raws), key=lambda each: each.id, reverse=True)

    async def read(self, venue: str, name: str) -> tuple[Application, list[Runner]] | None:
        """An application and its products; None where there is none, after as many round trips."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            raw = await self._desk.client.hget(keys.applications, name)
            products = await self._desk.client.hget(keys.applied, name)
        return None if raw is None else (_decode(raw), _decode_products(products or b"[]"))

    async def change(self, before: Application, after: Application) -> Application:
        """Make an application another, as it was read. Raises ConflictError where it has moved on."""
        keys = VenueKeys(before.venue)
        args = (before.id, _encode(before), _encode(after))
        if not await self._desk.run("change_application", (keys.applications,), args):
            raise ConflictError(f"application {before.id} has been decided by another: read it again")
        return after

    async def owners(self, venue: str, products: Sequence[str]) -> dict[str, str]:
        """The merchants of those of these products that race already."""
        numbers = await self._desk.runners.numbers(venue, products)
        runners = await self._desk.runners.by_number(venue, sorted(numbers.values()))
        return {product: runners[number].merchant for product, number in numbers.items() if number in runners}
