"""Stated values (库存, 价格): numbers of a runner that a source states whole, the last one in force.

Stock and price come by the event path as events of their own kinds. Each is absolute, with the time at which its
source says it was so: of two the later one is in force, whichever arrives first, and payments never change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from racing.columns import Array
from racing.model import IntArray

STATED_KINDS = ("stock", "price")
"""Event kinds that state a value instead of being counted."""
UNKNOWN = -1
_TIME_BITS = 42
"""Source times are below 2**42 ms, the year 2109: what lies further ahead is refused as of the future."""


class Column:
    """One stated value of every runner: value, its source's time (0: before all), and what enrolment last gave."""

    def __init__(self) -> None:
        self.value: IntArray = np.zeros(0, np.int64)
        self.at_ms: IntArray = np.zeros(0, np.int64)
        self.given: IntArray = np.zeros(0, np.int64)
        self._fresh: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def grow(self, runners: int) -> None:
        """Make room for runners below this bound; amortised by doubling."""
        if runners <= len(self.value):
            return
        more = max(runners, 2 * len(self.value)) - len(self.value)
        unknown = np.full(more, UNKNOWN, np.int64)
        self.value = np.concatenate((self.value, unknown))
        self.given = np.concatenate((self.given, unknown))
        self.at_ms = np.concatenate((self.at_ms, np.zeros(more, np.int64)))
        self._fresh = np.concatenate((self._fresh, np.zeros(more, np.bool_)))

    def enrol(self, runner: int, given: int | None, moment_ms: int, *, anew: bool) -> None:
        """What the runner's data says: in force where it says something new, for the data stays as events go on.

        Data that says nothing is older than everything. anew: another product stands under the number: nothing that was
        stated of the former one holds.
        """
        self.grow(runner + 1)
        told = UNKNOWN if given is None else max(given, 0)
        if anew or told != self.given[runner]:
            self.value[runner], self.at_ms[runner] = told, 0 if given is None else moment_ms
        self.given[runner] = told
        self._fresh[runner] = True

    def otherwise(self, runners: Sequence[int]) -> dict[int, int]:
        """What is in force of these runners, by number, where it is other than what enrolment last gave."""
        numbers = np.array(runners, np.int64)
        other = numbers[self.value[numbers] != self.given[numbers]]
        return dict(zip(other.tolist(), self.value[other].tolist(), strict=True))

    def state(self, runners: IntArray, values: IntArray, times_ms: IntArray) -> int:
        """Take stated values in log order; returns how many were older than what was in force, and ignored.

        Of two with one time the one later in the log is in force. Cost: one sort of what comes.
        """
        times_ms = np.clip(times_ms, 0, 2**_TIME_BITS - 1)
        rank = np.lexsort((np.arange(len(runners)), runners))
        runners, values, times_ms = runners[rank], values[rank], times_ms[rank]
        group = np.cumsum(np.concatenate(([0], np.diff(runners) != 0)))
        before = group * 2**_TIME_BITS
        newest_ms = np.maximum.accumulate(before + np.maximum(times_ms, self.at_ms[runners])) - before
        good = times_ms >= newest_ms
        runners, values, times_ms = runners[good], values[good], times_ms[good]
        last = np.concatenate((np.diff(runners) != 0, [True])) if len(runners) else np.zeros(0, np.bool_)
        self.value[runners[last]] = values[last]
        self.at_ms[runners[last]] = times_ms[last]
        self._fresh[runners[last]] = True
        return int(len(good) - good.sum())

    def save(self, *, full: bool) -> list[Array]:
        """(runners, values + 1, times, given + 1) that came since the last save, or all that are known."""
        wanted = self._fresh if not full else (self.value != UNKNOWN) | (self.given != UNKNOWN) | (self.at_ms != 0)
        runners = np.flatnonzero(wanted)
        self._fresh[:] = False
        return [runners, self.value[runners] + 1, self.at_ms[runners], self.given[runners] + 1]

    def load(self, runners: IntArray, values: IntArray, at_ms: IntArray, given: IntArray) -> None:
        """Take what save gave; there must be room."""
        self.value[runners], self.at_ms[runners], self.given[runners] = values - 1, at_ms, given - 1


class Stated:
    """The stated values of a race: stock in pieces, price in minor units; UNKNOWN where nobody has stated one."""

    def __init__(self) -> None:
        self.columns = {kind: Column() for kind in STATED_KINDS}

    @property
    def stock(self) -> IntArray:
        """Stock by runner number, UNKNOWN where it is; perhaps longer than the field."""
        return self.columns["stock"].value

    @property
    def price(self) -> IntArray:
        """Price by runner number, minor units, UNKNOWN where it is; perhaps longer than the field."""
        return self.columns["price"].value

    def grow(self, runners: int) -> None:
        """Make room for runners below this bound."""
        for column in self.columns.values():
            column.grow(runners)

    def save(self, *, full: bool) -> dict[str, Array]:
        """Columns for a checkpoint: what was stated since the last, or everything."""
        return {
            f"{kind}_{part}": values
            for kind, column in self.columns.items()
            for part, values in zip(_PARTS, column.save(full=full), strict=True)
        }

    def load(self, columns: dict[str, IntArray]) -> None:
        """Take what save gave; a checkpoint of before there were stated values has none."""
        for kind, column in self.columns.items():
            if f"{kind}_runner" in columns:
                column.load(*(columns[f"{kind}_{part}"] for part in _PARTS))


_PARTS = ("runner", "value", "at_ms", "given")
