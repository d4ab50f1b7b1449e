"""The sorted sets that everyone may read: standings, window sums, deltas and totals. Output only.

Changed members are written in the commits that follow, standings first, as many as fit in about 5 ms of
server time; what changes meanwhile waits for the next round, so that each round ends at a position up to
which the sets are complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from racing.model import IntArray, Position
from racing.race import Changes, Race
from racing.store.keys import VenueKeys, member
from racing.windows import MEASURES_MAX, NO_CELLS

MEMBERS_MAX = 4_000
"""Members of one commit: about 5 ms of server time at 1.15 us each (measured inside MULTI)."""
_LATE_MS, _LATE_FACTOR = 500, 10
"""While something has waited longer than this, commits take ten times as many, so that it is there within a second."""

Command = tuple[Any, ...]


class SetWriter:
    """What the sets of one venue lack, and the commands that write it."""

    def __init__(self, keys: VenueKeys, complete: Position) -> None:
        self._keys = keys
        self.complete = complete  # the sets hold all up to this position
        self._target = complete
        self._since_ms: int | None = None  # when the first change of this round was noted
        self._next_since_ms: int | None = None  # and of the next
        self._runners, self._cells = NO_CELLS, NO_CELLS
        self._next_runners, self._next_cells = NO_CELLS, NO_CELLS

    @property
    def pending(self) -> int:
        """Changed members not yet written."""
        return sum(map(len, (self._runners, self._cells, self._next_runners, self._next_cells)))

    def note(self, changes: Changes) -> None:
        """Take note of what moved since the last commit."""
        if len(changes.runners):
            self._next_runners = np.union1d(self._next_runners, changes.runners)
        if len(changes.keys):
            self._next_cells = np.union1d(self._next_cells, changes.keys)

    def take(self, race: Race, now_ms: int) -> list[Command]:
        """The commands that belong into the commit of the race's present position; moves ``complete``."""
        if self._next_since_ms is None and (len(self._next_runners) or len(self._next_cells)):
            self._next_since_ms = now_ms
        if not len(self._runners) and not len(self._cells):
            self._runners, self._cells = self._next_runners, self._next_cells
            self._next_runners, self._next_cells = NO_CELLS, NO_CELLS
            self._target, self._since_ms, self._next_since_ms = race.position, self._next_since_ms, None
        late = self._since_ms is not None and now_ms - self._since_ms > _LATE_MS
        room = MEMBERS_MAX * (_LATE_FACTOR if late else 1)
        runners, self._runners = self._runners[:room], self._runners[room:]
        room -= len(runners)
        cells, self._cells = self._cells[:room], self._cells[room:]
        if not len(self._runners) and not len(self._cells):
            self.complete = self._target if len(self._next_runners) or len(self._next_cells) else race.position
        return [*self._standings(race, runners), *self._sums(race, cells)]

    def _standings(self, race: Race, runners: IntArray) -> Iterator[Command]:
        if len(runners):
            scores = (0.0 - race.scores[runners]).tolist()
            yield ("ZADD", self._keys.standings, *_pairs(scores, runners.tolist()))

    def _sums(self, race: Race, cells: IntArray) -> Iterator[Command]:
        if not len(cells):
            return
        names = measure_names(race)
        measures = cells % MEASURES_MAX
        for measure in np.unique(measures).tolist():
            runners = cells[measures == measure] // MEASURES_MAX
            sums = race.windows
            window = sums.window[runners, measure]
            base_tenths = sums.base_tenths[runners, measure]
            delta = (10 * window - base_tenths) / 10
            name = names[measure]
            yield from self._kept("window", name, runners, window, window != 0)
            yield from self._kept("delta", name, runners, delta, (window != 0) | (base_tenths != 0))
            yield from self._kept("total", name, runners, sums.total[runners, measure], np.ones(len(runners), np.bool_))

    def _kept(
        self, what: str, measure: str, runners: IntArray, values: Any, keep: Any
    ) -> Iterator[Command]:  # int64 or float64 values, bool keep
        key = self._keys.sums(what, measure)
        if keep.any():
            yield ("ZADD", key, *_pairs(values[keep].tolist(), runners[keep].tolist()))
        if not keep.all():
            yield ("ZREM", key, *(member(runner) for runner in runners[~keep].tolist()))


def _pairs(values: list[float], runners: list[int]) -> Iterator[str]:
    for value, runner in zip(values, runners, strict=True):
        yield repr(value)
        yield member(runner)


def measure_names(race: Race) -> list[str]:
    """The names of a race's measures by index: ``click:count``, ``click:amount`` and so on."""
    return [f"{kind}:{what}" for kind in race.kinds for what in ("count", "amount")]


def everything(race: Race) -> Changes:
    """Every runner and every sum ever counted, as if all had just changed: rebuilds the sets."""
    runner, measure = np.nonzero(race.windows.total)
    keys = [runner * MEASURES_MAX + measure, *race.windows.live_keys()]
    return Changes(np.arange(len(race.products)), np.unique(np.concatenate(keys)))
