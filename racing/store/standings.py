"""What the sorted sets say of some runners, and which runners a merchant has: reads for those who ask where they stand.

A read is one script, so all of it is of one moment. The sets may lag behind the commit by up to a second, member by
member: who takes a score apart can tell, for then it is not what the sums make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from racing.errors import CorruptRecordError
from racing.model import FloatArray, IntArray
from racing.store.client import as_text
from racing.store.commands import Commands
from racing.store.commit import NO_COMMIT, CommitRecord, decode_commit
from racing.store.held import HeldRecord, decode_held
from racing.store.keys import MEMBER, VenueKeys, member, merchant_range
from racing.store.scripts import Script, bare, source

OWNED_MAX = 10_000
"""Products of one merchant in one venue that are looked at: at worst 0.4 s of the server, in pieces of 9 ms."""
_READ_AT_ONCE, _IN_ARGUMENT, _PLACES_AT_ONCE, _INDEX_AT_ONCE = 200, 100, 250, 1_000
"""A script holds the server: at a million runners and nine sets 70 us for each that is read, on a machine that was
thirteen times overbooked, 6 us on a quiet one of two cores; so a piece is some ms at the very worst, and no race
stutters for a merchant."""
SUMS: Final = ("total", "window", "delta")
"""The sorted sets of each measure."""
_decode_columns = msgspec.json.Decoder(list[list[float]]).decode


@dataclass(frozen=True, slots=True)
class Field:
    """Some runners as the sets have them, row by row, at one moment.

    field: runners in the standings. standing: int64 (n,), from 1; 0 for one that is in no set yet. better: int64 (n,),
    how many have a higher score. score: float64 (n,). sums: float64 (s, n), of each set of sums that names has, 0 where
    it has no member.
    """

    commit: CommitRecord
    held: HeldRecord | None
    field: int
    standing: IntArray
    better: IntArray
    score: FloatArray
    names: Sequence[str]
    sums: FloatArray

    @classmethod
    def joined(cls, fields: Sequence[Field]) -> Field:
        """Runners that were read one after the other with the same held sums, one at least, as of the last moment."""
        last = fields[-1]
        return cls(
            last.commit,
            last.held,
            last.field,
            np.concatenate([each.standing for each in fields]),
            np.concatenate([each.better for each in fields]),
            np.concatenate([each.score for each in fields]),
            last.names,
            np.concatenate([each.sums for each in fields], axis=1),
        )

    def of(self, name: str) -> FloatArray:
        """A set of sums; zeros for one that was not read, for the rule has just changed."""
        return self.sums[self.names.index(name)] if name in self.names else np.zeros(len(self.score))


class Standings:
    """Reads of the standings. A part of the desk."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def _run(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        return await self._commands.look("EVAL", bare(source(name)), len(keys), *keys, *args)

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
            some = _members(numbers[first : first + _PLACES_AT_ONCE])
            ranks = await self._run("read_places", (VenueKeys(venue).standings,), (some,))
            found += [rank + 1 or None for rank in ranks]
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
        return int(await self._commands.look("ZCARD", VenueKeys(venue).standings))

    async def read(self, venue: str, numbers: Sequence[int], measures: Sequence[str]) -> list[tuple[list[int], Field]]:
        """Runners as the sets have them, so many at a time. measures: names such as ``click:count``.

        Cost: O(log n) for each runner and O(1) for each of its sums, in the server; each piece is of one moment.
        """
        keys = VenueKeys(venue)
        sums = [f"{what}:{measure}" for measure in measures for what in SUMS]
        named = (keys.commit, keys.held, keys.standings, *(keys.sums(*name.split(":", 1)) for name in sums))
        pieces = []
        for first in range(0, len(numbers), _READ_AT_ONCE):
            some = list(numbers[first : first + _READ_AT_ONCE])
            args = [_members(some[at : at + _IN_ARGUMENT]) for at in range(0, len(some), _IN_ARGUMENT)]
            pieces.append((some, _field(await self._run("read_standings", named, args), sums)))
        return pieces


def _members(numbers: Sequence[int]) -> str:
    """Members as one argument: to write a thousand takes a client as long as the server takes to look them up."""
    return (len(numbers) * MEMBER) % tuple(numbers)


def _field(reply: Sequence[Any], sums: Sequence[str]) -> Field:
    commit, held, size, ranks, better, *texts = reply
    score, *columns = _columns(texts)
    return Field(
        commit=decode_commit(commit) if commit else NO_COMMIT,
        held=_held(held) if held else None,
        field=size,
        standing=np.array(ranks, np.int64) + 1,
        score=0.0 - np.array(score, np.float64),
        better=np.array(better, np.int64),
        names=sums,
        sums=np.array(columns, np.float64).reshape(len(sums), len(score)),  # of no sets too
    )


def _columns(texts: Sequence[bytes]) -> list[list[float]]:
    """Columns of numbers parted by commas. As JSON they are read in a fifth of the time that numpy takes."""
    try:
        return _decode_columns(b"[[" + b"],[".join(texts) + b"]]")
    except msgspec.MsgspecError as exc:
        raise CorruptRecordError(f"the sorted sets hold what is no number: {exc}") from exc


def _held(raw: bytes) -> HeldRecord:
    try:
        return decode_held(raw)
    except ValueError as exc:  # msgspec's errors are ones
        raise CorruptRecordError(f"the record of held sums cannot be decoded ({exc}): {as_text(raw):.200}") from exc
