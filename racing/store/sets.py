"""The sorted sets that everyone may read: standings, window sums, deltas and totals. Output only.

Changed members are written in the commits that follow, standings first, spread evenly over a third of a second
so that no commit is long; what changes meanwhile waits for the next round, so that each round ends at a position
up to which the sets are complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from racing.cells import NO_CELLS, measures_of, runners_of
from racing.columns import Array
from racing.model import IntArray, Position
from racing.race import Race
from racing.scored import Changes
from racing.store.keys import VenueKeys, member

MEMBERS_MIN, MEMBERS_MAX = 500, 4_000
"""Members of one commit: at most about 5 ms of server time at 1.15 us each (measured inside MULTI)."""
_MEMBERS_PER_CELL = 3
"""A cell is a member of three sets: its window sum, its delta and its total."""
_SPREAD_MS, _SLICE_MS = 350, 10
"""A round is written evenly over this time, in commits so far apart: a reader of frames waits for no burst."""
_LATE_MS, _LATE_FACTOR = 800, 10
"""While something has waited longer than this, commits take ten times as many, so that it comes within a second."""
_MEMBERS_PER_MS, _PAUSE_MAX_MS = 50, 600
"""After a round of n members the next waits n / 50 ms, at most 600: a member costs about 2 us, so a busy venue spends
a tenth of a core on its sets; a quiet one writes at once, and what changes all the time is written once a round.
A change just after a round has begun is written after at most _PAUSE_MAX_MS + _SPREAD_MS: within a second."""

Command = tuple[Any, ...]


@dataclass(slots=True)
class _Round:
    """Members to write: runners for the standings, cells for the sums.

    size: members at its beginning. begun_ms: its first commit. since_ms: when the first change was noted.
    """

    runners: IntArray
    cells: IntArray
    since_ms: int | None = None
    begun_ms: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        self.size = len(self)

    def __len__(self) -> int:
        return len(self.runners) + _MEMBERS_PER_CELL * len(self.cells)

    def owed(self, at_ms: int) -> int:
        """Members that an even pace has written by then and this round has not."""
        return self.size * min(at_ms - self.begun_ms, _SPREAD_MS) // _SPREAD_MS - (self.size - len(self))

    def cut(self, room: int) -> tuple[IntArray, IntArray]:
        """The first members, standings before sums; they leave the round."""
        runners, self.runners = self.runners[:room], self.runners[room:]
        cells_room = -(-(room - len(runners)) // _MEMBERS_PER_CELL)
        cells, self.cells = self.cells[:cells_room], self.cells[cells_room:]
        return runners, cells


class SetWriter:
    """What the sets of one venue lack, and the commands that write it, round by round."""

    def __init__(self, keys: VenueKeys, complete: Position) -> None:
        self._keys = keys
        self.complete = complete  # the sets hold all up to this position
        self.whole = True  # whether the commands for all that it was begun with have been taken
        self._target = complete
        self._round = _Round(NO_CELLS, NO_CELLS)
        self._more = False  # whether the race has changes that no round holds
        self._changed_ms: int | None = None  # when the first of them was seen
        self._next_ms = 0  # no round begins before this
        self._due_ms = 0  # when the present round goes on
        self._members: list[bytes] = []
        self._removals: Sequence[Command] = ()

    def pending(self, race: Race) -> int:
        """Changed members not yet written."""
        return len(self._round) + race.changed

    def begin(self, changes: Changes, race: Race, removals: Sequence[Command] = ()) -> None:
        """Make these changes a round, whatever the race says has changed: before the first take.

        removals: commands that the first commit carries out before all others, of members that belong to nobody.
        """
        self._round = _Round(changes.runners, changes.keys)
        self.whole = False
        self._target = race.position
        self._removals = removals

    def due_ms(self) -> int | None:
        """When there is something to write; None for nothing."""
        if len(self._round):
            return self._due_ms
        return self._next_ms if self._more else None

    def clock_went_back(self) -> None:
        """Forget every moment noted: what waits is due at once."""
        self._changed_ms, self._next_ms, self._due_ms = None, 0, 0
        self._round.since_ms, self._round.begun_ms = None, 0

    def take(self, race: Race, now_ms: int) -> list[Command]:
        """The commands that belong into the commit of the race's present position; moves ``complete``."""
        changed = race.changed > 0
        if changed and self._changed_ms is None:
            self._changed_ms = now_ms
        if changed and not len(self._round) and now_ms >= self._next_ms:
            self._take_round(race, now_ms)
            changed = False
        runners, cells = self._round.cut(self._room(now_ms))
        if not len(self._round):
            self.whole = True
            self.complete = max(self.complete, self._target) if changed else race.position
        self._more = changed
        removals, self._removals = self._removals, ()
        return [*removals, *self._standings(race, runners), *self._sums(race, cells)]

    def _room(self, now_ms: int) -> int:
        """How many members this commit takes; says when the next one is due."""
        present = self._round
        if not present.begun_ms:
            present.begun_ms = now_ms
        late = present.since_ms is not None and now_ms - present.since_ms > _LATE_MS
        most = MEMBERS_MAX * (_LATE_FACTOR if late else 1)
        owed = present.owed(now_ms + _SLICE_MS)
        self._due_ms = now_ms + (_SLICE_MS if owed <= most else 0)
        return min(max(owed, MEMBERS_MIN), most)

    def _take_round(self, race: Race, now_ms: int) -> None:
        """Make all that has changed the present round, each member once."""
        changes = race.take_changes()
        self._round = _Round(changes.runners, changes.keys, self._changed_ms)
        self._changed_ms = None
        self._target = race.position
        self._next_ms = now_ms + min(len(self._round) // _MEMBERS_PER_MS, _PAUSE_MAX_MS)

    def _standings(self, race: Race, runners: IntArray) -> Iterator[Command]:
        if len(runners):
            yield self._zadd(self._keys.standings, 0.0 - race.scores[runners], runners)

    def _sums(self, race: Race, cells: IntArray) -> Iterator[Command]:
        if not len(cells):
            return
        names = measure_names(race)
        measures = measures_of(cells)
        for measure in np.unique(measures).tolist():
            runners = runners_of(cells[measures == measure])
            window, base_tenths, total = race.windows.column(runners, measure)
            delta = (10 * window - base_tenths) / 10.0
            name = names[measure]
            yield from self._kept("window", name, runners, window, window != 0)
            yield from self._kept("delta", name, runners, delta, (window != 0) | (base_tenths != 0))
            yield self._zadd(self._keys.sums("total", name), total, runners)

    def _kept(self, what: str, measure: str, runners: IntArray, values: Array, keep: Array) -> Iterator[Command]:
        key = self._keys.sums(what, measure)
        if keep.any():
            yield self._zadd(key, values[keep], runners[keep])
        if not keep.all():
            yield ("ZREM", key, *self._names(runners[~keep]))

    def _zadd(self, key: str, values: Array, runners: IntArray) -> Command:
        """One ZADD; hiredis writes a float with all its digits, so what is read back is the same."""
        pairs: list[Any] = [None] * (2 * len(runners))
        pairs[0::2] = values.tolist()
        pairs[1::2] = self._names(runners)
        return ("ZADD", key, *pairs)

    def _names(self, runners: IntArray) -> list[bytes]:
        """Runners as members, made once each."""
        known = self._members
        if len(known) <= (last := int(runners.max())):
            known.extend(member(runner).encode() for runner in range(len(known), last + 1))
        return [known[runner] for runner in runners.tolist()]


def measure_names(race: Race) -> list[str]:
    """The names of a race's measures by index: ``click:count``, ``click:amount`` and so on."""
    return [f"{kind}:{what}" for kind in race.kinds for what in ("count", "amount")]


def everything(race: Race) -> Changes:
    """Every runner and every sum ever counted, as if all had just changed: rebuilds the sets."""
    return Changes(np.arange(len(race.products)), race.windows.kept_keys())
