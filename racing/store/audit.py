"""The audit of a venue in Redis: every decision ever made, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from racing import decisions
from racing.decisions import Decision
from racing.errors import CorruptRecordError
from racing.model import START, Position
from racing.store.client import as_text, store_errors_async
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient

_READ = 200
"""Decisions of one read: a bulk of 1,000 products is one of some 600 kB."""
_LOOKED_AT_MAX = 2_000
"""Decisions that one page looks at: a page that a filter left empty still has a cursor."""


@dataclass(frozen=True, slots=True)
class Told:
    """A decision and the log entry that made it; one that cannot be read any more is of nobody."""

    entry: str
    decision: Decision

    @property
    def at_ms(self) -> int:
        """When it was made: the moment of its entry."""
        return Position.parse(self.entry).ms


Wanted = Callable[[Told], bool]


class Audit:
    """The decisions on the deployment's venues."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def page(
        self, venue: str, wanted: Wanted, *, before: str | None = None, limit: int
    ) -> tuple[list[Told], str | None]:
        """(decisions before an entry that are wanted, newest first; where to go on, None at the end).

        A page may hold fewer than limit, none even: it looks at some 2,000 decisions at most. Raises StoreError.
        """
        found: list[Told] = []
        looked_at = 0
        while looked_at < _LOOKED_AT_MAX:
            some = await self._read(venue, before)
            for told in some:
                before = told.entry
                if wanted(told):
                    found.append(told)
                    if len(found) == limit:
                        return found, before
            if len(some) < _READ:
                return found, None
            looked_at += len(some)
        return found, before

    async def all(self, venue: str, wanted: Wanted) -> AsyncIterator[Told]:
        """Every decision that is wanted, newest first. Cost: one round trip to 200 decisions."""
        cursor: str | None = None
        while True:
            found, cursor = await self.page(venue, wanted, before=cursor, limit=_READ)
            for told in found:
                yield told
            if cursor is None:
                return

    async def since(self, venue: str, from_ms: int, *, at_most: int) -> tuple[list[Told], bool]:
        """(decisions of a moment (ms) and later, newest first, whether these are all of them).

        Raises StoreError. Cost: a round trip to 200 decisions; none before the moment is read.
        """
        found: list[Told] = []
        before: str | None = None
        while len(found) <= at_most:
            some = await self._read(venue, before, from_ms=from_ms)
            found += some
            if len(some) < _READ:
                break
            before = some[-1].entry
        return found[:at_most], len(found) <= at_most

    async def find(self, venue: str, entry: str) -> Told | None:
        """The decision of a log entry; None where there is none."""
        found = await self._read(venue, entry, exactly=True)
        return found[0] if found else None

    async def newest(self, venue: str, wanted: Wanted, *, after: str) -> Told | None:
        """The newest decision after an entry that is wanted; None where there is none."""
        end = Position.parse(after)
        async for told in self.all(venue, lambda told: Position.parse(told.entry) <= end or wanted(told)):
            return told if Position.parse(told.entry) > end else None
        return None

    async def _read(
        self, venue: str, before: str | None, *, exactly: bool = False, from_ms: int | None = None
    ) -> list[Told]:
        """A page of decisions, newest first, from before an entry on, or that entry alone; none of before from_ms."""
        if before is not None and not exactly and Position.parse(before) == START:
            return []  # of an end before the first id there can be, Redis says that it is none
        key = VenueKeys(venue).decisions
        oldest = "-" if from_ms is None else str(from_ms)
        last, first = ("+", oldest) if before is None else (before, before) if exactly else (f"({before}", oldest)
        async with store_errors_async():
            raws = await self._client.execute_command("XREVRANGE", key, last, first, "COUNT", _READ)
        return [_told(as_text(entry), fields) for entry, fields in raws]


def _told(entry: str, fields: dict[bytes, bytes]) -> Told:
    try:
        return Told(entry, decisions.decode(fields.get(b"decision", b"")))
    except CorruptRecordError as exc:
        return Told(entry, Decision("", "unreadable", note=str(exc)))
