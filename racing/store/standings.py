"""What the sorted sets say of some runners, and which runners a merchant has: reads for those who ask where they stand.

A read is one script, so all of it is of one moment. The sets may lag behind the commit by up to a second, member by
member: who takes a score apart can tell, for then it is not what the sums make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from racing.errors import CorruptRecordError
from racing.model import FloatArray, IntArray
from racing.store.client import as_text, store_errors_async
from racing.store.commit import NO_COMMIT, CommitRecord, decode_commit
from racing.store.held import HeldRecord, decode_held
from racing.store.keys import VenueKeys, member, merchant_range
from racing.store.protocol import AsyncClient
from racing.store.scripts import Script, source

OWNED_MAX = 10_000
"""Products of one merchant in one venue that are looked at: at worst 0.4 s of the server, in pieces of 9 ms."""
_READ_AT_ONCE, _PLACES_AT_ONCE, _INDEX_AT_ONCE = 100, 250, 1_000
"""A script holds the server: at a million runners and nine sets 70 us for each that is read, on a machine that was
thirteen times overbooked; so a piece is a few ms at the very worst, and no race stutters for a merchant."""
_READS: tuple[Script, ...] = (
    "index_merchants",
    "list_owned",
    "read_neighbours",
    "read_places",
    "read_rungs",
    "read_standings",
)


@dataclass(frozen=True, slots=True)
class Field:
    """Some runners as the sets have them, row by row, at one moment.

    field: runners in the standings. standing: int64 (n,), from 1; 0 for one that is in no set yet. better: int64 (n,),
    how many have a higher score. score: float64 (n,). sums: set of sums -> float64 (n,), 0 where it has no member.
    """

    commit: CommitRecord
    held: HeldRecord | None
    field: int
    standing: IntArray
    better: IntArray
    score: FloatArray
    sums: dict[str, FloatArray]

    def of(self, name: str) -> FloatArray:
        """A set of sums; zeros for one that was not read, for the rule has just changed."""
        return self.sums.get(name, np.zeros(len(self.score)))


class Standings:
    """Reads of the standings, one object per API process."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._scripts = {name: client.register_script(source(name)) for name in _READS}

    async def _run(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        async with store_errors_async():
            return await self._scripts[name](keys=list(keys), args=list(args))

    async def owned(self, venue: str, merchant: str, *, after: int = -1, at_most: int = OWNED_MAX) -> list[int]:
        """Numbers of a merchant's runners beyond one, in order of enrolment.

        The first time that a venue of an older Saima, or an imported one, is asked for, its index is made: some 3 s
        for a million runners, in pieces of 3 ms.
        """
        keys = VenueKeys(venue)
        low, high = merchant_range(merchant)
        if after >= 0:
            low = f"({merchant}:{member(after)}"
        wanted = (keys.merchants, keys.runners), (low, high, at_most)
        size, runners, *found = await self._run("list_owned", *wanted)
        if size != runners:
            await self._index(keys, int(runners))
            _, _, *found = await self._run("list_owned", *wanted)
        return [int(name.rpartition(b":")[2]) for name in found]

    async def _index(self, keys: VenueKeys, runners: int) -> None:
        """Make the sorted set of merchants anew. Enrolments meanwhile go on: each step is one of its own."""
        for first in range(0, runners, _INDEX_AT_ONCE):
            args = (first, min(first + _INDEX_AT_ONCE, runners) - 1, "0" if first else "1")
            await self._run("index_merchants", (keys.runners, keys.merchants), args)

    async def places(self, venue: str, numbers: Sequence[int]) -> list[int | None]:
        """Standings of runners, from 1; None for one that is in no set yet. Cost: O(log n) each, in the server."""
        found: list[int | None] = []
        for first in range(0, len(numbers), _PLACES_AT_ONCE):
            some = [member(number) for number in numbers[first : first + _PLACES_AT_ONCE]]
            ranks = await self._run("read_places", (VenueKeys(venue).standings,), some)
            found += [None if rank is None else rank + 1 for rank in ranks]
        return found

    async def around(self, venue: str, number: int, count: int) -> list[tuple[int, int, float]]:
        """(standing, runner, score) of a runner and up to so many on each side of it; empty where it stands nowhere."""
        reply = await self._run("read_neighbours", (VenueKeys(venue).standings,), (member(number), count))
        if not reply:
            return []
        first, rest = reply[0] + 1, reply[1:]
        pairs = zip(rest[0::2], rest[1::2], strict=True)
        return [(first + place, int(name), 0.0 - float(score)) for place, (name, score) in enumerate(pairs)]

    async def at(self, venue: str, standings: Sequence[int]) -> list[int | None]:
        """The runners at these standings, from 1; None where nobody stands."""
        found = await self._run("read_rungs", (VenueKeys(venue).standings,), [standing - 1 for standing in standings])
        return [None if name is None else int(name) for name in found]

    async def size(self, venue: str) -> int:
        """How many runners stand."""
        async with store_errors_async():
            return int(await self._client.execute_command("ZCARD", VenueKeys(venue).standings))

    async def read(self, venue: str, numbers: Sequence[int], sums: Sequence[str]) -> list[tuple[list[int], Field]]:
        """Runners as the sets have them, so many at a time. sums: names such as ``window:click:count``.

        Cost: O(log n) for each runner and O(1) for each of its sums, in the server; each piece is of one moment.
        """
        keys = VenueKeys(venue)
        named = (keys.commit, keys.held, keys.standings, *(keys.sums(*name.split(":", 1)) for name in sums))
        pieces = []
        for first in range(0, len(numbers), _READ_AT_ONCE):
            some = list(numbers[first : first + _READ_AT_ONCE])
            reply = await self._run("read_standings", named, [member(number) for number in some])
            pieces.append((some, _field(reply, sums)))
        return pieces


def _field(reply: Sequence[Any], sums: Sequence[str]) -> Field:
    commit, held, size, ranks, scores, better, *columns = reply
    return Field(
        commit=decode_commit(commit) if commit else NO_COMMIT,
        held=_held(held) if held else None,
        field=size,
        standing=np.array([0 if rank is None else rank + 1 for rank in ranks], np.int64),
        better=np.array([each or 0 for each in better], np.int64),
        score=0.0 - _floats(scores),
        sums={name: _floats(column) for name, column in zip(sums, columns, strict=True)},
    )


def _floats(texts: Sequence[bytes | None]) -> FloatArray:
    return np.array([0.0 if text is None else float(text) for text in texts], np.float64)


def _held(raw: bytes) -> HeldRecord:
    try:
        return decode_held(raw)
    except ValueError as exc:  # msgspec's errors are ones
        raise CorruptRecordError(f"the record of held sums cannot be decoded ({exc}): {as_text(raw):.200}") from exc
