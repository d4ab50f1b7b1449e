"""Cells, the sparse form of sums: (key, value) pairs, where key = runner * MEASURES_MAX + measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from racing.model import KINDS_MAX, IntArray

MEASURES_MAX = 2 * KINDS_MAX
"""Measures of a race: 2 * kind is the kind's count, 2 * kind + 1 its amount."""

_CHUNKS_MAX = 8
"""Saved chunks of one bucket before they are merged: late events add one per checkpoint."""

NO_CELLS = np.empty(0, np.int64)

_RUNNER_SHIFT = MEASURES_MAX.bit_length() - 1
_MEASURE_MASK = MEASURES_MAX - 1


def runners_of(keys: IntArray) -> IntArray:
    """The runner of each cell."""
    return keys >> _RUNNER_SHIFT


def measures_of(keys: IntArray) -> IntArray:
    """The measure of each cell."""
    return keys & _MEASURE_MASK


def flat(keys: IntArray, columns: int) -> IntArray:
    """Where the cells lie in a matrix of so many columns, row by row."""
    return runners_of(keys) * columns + measures_of(keys)


def add_at(sums: IntArray, keys: IntArray, values: IntArray) -> None:
    """sums[runner, measure] += value for every cell, repeated keys included."""
    np.add.at(sums.reshape(-1), flat(keys, sums.shape[1]), values)


def merged(keys: IntArray, values: IntArray) -> tuple[IntArray, IntArray]:
    """The same cells sorted, each key once. Cost: one sort. Exact: no float on the way."""
    if not len(keys):
        return keys, values
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(values, starts)


@dataclass(slots=True)
class Bucket:
    """One bucket's cells as chunks: saved ones are in a checkpoint, fresh ones not yet."""

    saved: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    fresh: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    _totals: IntArray | None = None

    def add(self, keys: IntArray, values: IntArray) -> None:
        """Append cells that no checkpoint holds yet."""
        self.fresh.append((keys, values))
        self._totals = None

    def chunks(self) -> Iterator[tuple[IntArray, IntArray]]:
        """All cells, chunk by chunk; a key may come in several chunks."""
        yield from self.saved
        yield from self.fresh

    def cells(self) -> tuple[IntArray, IntArray]:
        """All cells merged: sorted keys, each once."""
        return _joined(list(self.chunks()))

    def totals(self) -> IntArray:
        """The venue's sum per measure in this bucket, int64 (MEASURES_MAX,)."""
        if self._totals is None:
            self._totals = np.zeros(MEASURES_MAX, np.int64)
            for keys, values in self.chunks():
                np.add.at(self._totals, measures_of(keys), values)
        return self._totals

    def save(self) -> tuple[IntArray, IntArray]:
        """The fresh cells merged, which count as saved from now on."""
        if not self.fresh:
            return NO_CELLS, NO_CELLS
        fresh = self.fresh[0] if len(self.fresh) == 1 else _joined(self.fresh)
        self.fresh = []
        self.saved.append(fresh)
        if len(self.saved) > _CHUNKS_MAX:
            self.saved = [_joined(self.saved)]
        return fresh


def _joined(chunks: list[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    if not chunks:
        return NO_CELLS, NO_CELLS
    return merged(np.concatenate([k for k, _ in chunks]), np.concatenate([v for _, v in chunks]))
