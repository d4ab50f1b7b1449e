"""Window, base and total sums per runner and measure, exact while buckets come and go.

Time is cut into buckets aligned to the epoch. With b the running bucket and B buckets to a window, the
window is b-B+1 .. b and the base b-2B+1 .. b-B; the base's oldest bucket counts with the tenths of the
running one that have begun, so that window and base are equally long at every moment. Base sums are kept
in tenths, hence all sums are integers. What is kept of each bucket is sparse: (key, value) cells, where
key = runner * MEASURES_MAX + measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from racing.columns import Array
from racing.model import KINDS_MAX, IntArray

MEASURES_MAX = 2 * KINDS_MAX
"""Measures of a race: 2 * kind is the kind's count, 2 * kind + 1 its amount."""

_CHUNKS_MAX = 8
"""Saved chunks of one bucket before they are merged: late events add one per checkpoint."""

NO_CELLS = np.empty(0, np.int64)


def add_at(sums: IntArray, keys: IntArray, values: IntArray) -> None:
    """sums[runner, measure] += value for every cell, repeated keys included."""
    np.add.at(sums.reshape(-1), (keys // MEASURES_MAX) * sums.shape[1] + keys % MEASURES_MAX, values)


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
                np.add.at(self._totals, keys % MEASURES_MAX, values)
        return self._totals

    def save(self) -> tuple[IntArray, IntArray]:
        """The fresh cells merged, which count as saved from now on."""
        fresh = _joined(self.fresh)
        self.fresh = []
        self.saved.append(fresh)
        if len(self.saved) > _CHUNKS_MAX:
            self.saved = [_joined(self.saved)]
        return fresh


def _joined(chunks: list[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    if not chunks:
        return NO_CELLS, NO_CELLS
    return merged(np.concatenate([k for k, _ in chunks]), np.concatenate([v for _, v in chunks]))


class Windows:
    """The sums of one race. Rows are runners, columns measures; both grow on demand."""

    def __init__(self, *, window_ms: int, bucket_ms: int, runners: int = 0, measures: int = 16) -> None:
        self.bucket_ms = bucket_ms
        self.buckets_per_window = window_ms // bucket_ms
        self.bucket = -1  # the running one; -1 before the first moment
        self.tenths = 1
        self.window = np.zeros((runners, measures), np.int64)
        self.base_tenths = np.zeros((runners, measures), np.int64)
        self.total = np.zeros((runners, measures), np.int64)
        self.buckets: dict[int, Bucket] = {}
        self._departed: list[tuple[int, IntArray, IntArray]] = []

    @property
    def oldest(self) -> int:
        """The oldest bucket of the base: events before it are late."""
        return self.bucket - 2 * self.buckets_per_window + 1

    def grow(self, runners: int, measures: int) -> None:
        """Make room for runners and measures below these bounds; amortised by doubling."""
        rows, columns = self.window.shape
        if runners <= rows and measures <= columns:
            return
        rows = rows if runners <= rows else max(runners, 2 * rows)
        columns = columns if measures <= columns else min(MEASURES_MAX, max(measures, 2 * columns))
        for name in ("window", "base_tenths", "total"):
            old = getattr(self, name)
            new = np.zeros((rows, columns), np.int64)
            new[: old.shape[0], : old.shape[1]] = old
            setattr(self, name, new)

    def place(self, moment_ms: int) -> tuple[int, int]:
        """(bucket, tenths begun) of a moment; tenths 1 .. 10, each half-open like the bucket."""
        bucket, passed_ms = divmod(moment_ms, self.bucket_ms)
        return bucket, passed_ms * 10 // self.bucket_ms + 1

    def next_step_ms(self) -> int:
        """The first moment at which sums move by themselves."""
        return self.bucket * self.bucket_ms + self.tenths * self.bucket_ms // 10

    def weights(self, bucket: int, running: int, tenths: int) -> tuple[int, int]:
        """How often a bucket counts in the window, and how many tenths of it in the base."""
        age, length = running - bucket, self.buckets_per_window
        if age < length:
            return 1, 0
        if age < 2 * length - 1:
            return 0, 10
        return 0, tenths if age == 2 * length - 1 else 0

    def move(self, bucket: int, tenths: int) -> IntArray:
        """Let time reach (bucket, tenths), never back. Returns the keys whose sums changed, repeats possible.

        Cost: the cells of the buckets that change sides, and 2B small steps at a bucket boundary.
        """
        same = bucket == self.bucket
        candidates = [self.oldest] if same else list(self.buckets)
        touched = []
        for each in candidates:
            cells = self.buckets.get(each)
            if cells is None:
                continue
            before = self.weights(each, self.bucket, self.tenths)
            after = self.weights(each, bucket, tenths)
            if before != after:
                touched += self._shift(cells, after[0] - before[0], after[1] - before[1])
        self.bucket, self.tenths = bucket, tenths
        for each in [x for x in candidates if x < self.oldest]:
            self._drop(each)
        return np.concatenate(touched) if touched else NO_CELLS

    def _drop(self, bucket: int) -> None:
        """Forget a bucket that has left the base; cells that no checkpoint holds still belong to the totals."""
        cells = self.buckets.pop(bucket, None)
        if cells is not None and cells.fresh:
            self._departed.append((bucket, *cells.save()))

    def _shift(self, cells: Bucket, in_window: int, in_base_tenths: int) -> list[IntArray]:
        touched = []
        for keys, values in cells.chunks():
            if in_window:
                add_at(self.window, keys, values * in_window)
            if in_base_tenths:
                add_at(self.base_tenths, keys, values * in_base_tenths)
            touched.append(keys)
        return touched

    def add(self, buckets: IntArray, keys: IntArray, values: IntArray) -> None:
        """Count cells in the buckets of their own time, all within oldest .. the running one."""
        add_at(self.total, keys, values)
        first = int(buckets[0])
        if (buckets == first).all():
            self._add_to(first, keys, values)
            return
        for each in np.unique(buckets):
            here = buckets == each
            self._add_to(int(each), keys[here], values[here])

    def _add_to(self, bucket: int, keys: IntArray, values: IntArray) -> None:
        cells = self.buckets.setdefault(bucket, Bucket())
        cells.add(keys, values)
        in_window, in_base_tenths = self.weights(bucket, self.bucket, self.tenths)
        if in_window:
            add_at(self.window, keys, values)
        elif in_base_tenths:
            add_at(self.base_tenths, keys, values * in_base_tenths)

    def venue_sums(self, running: int) -> tuple[IntArray, IntArray]:
        """The venue's window and base sums per measure as they stood just before bucket running began."""
        length = self.buckets_per_window
        now, before = np.zeros(MEASURES_MAX, np.int64), np.zeros(MEASURES_MAX, np.int64)
        for bucket, cells in self.buckets.items():
            if running - length <= bucket < running:
                now += cells.totals()
            elif running - 2 * length <= bucket < running - length:
                before += cells.totals()
        return now, before

    def recut(self, *, window_ms: int, bucket_ms: int, moment_ms: int) -> Windows:
        """The same cells under another window and bucket length, as time stands at moment_ms.

        A cell goes to the new bucket that holds its old bucket's start: exact where the old buckets nest
        in the new ones, else right to within one old bucket until two windows have passed. Totals are kept.
        The bucket just older than the base counts nowhere; it is kept until the next step for venue_sums.
        """
        new = Windows(window_ms=window_ms, bucket_ms=bucket_ms, runners=len(self.total), measures=self.total.shape[1])
        new.bucket, new.tenths = new.place(moment_ms)
        new.total = self.total
        for bucket, cells in sorted(self.buckets.items()):
            target = bucket * self.bucket_ms // bucket_ms
            if bucket >= self.oldest and target >= new.oldest - 1:
                new._add_to(target, *cells.cells())  # the same class
        return new

    def live_keys(self) -> Iterator[IntArray]:
        """The keys of every kept cell, chunk by chunk, repeats possible."""
        for cells in self.buckets.values():
            for keys, _ in cells.chunks():
                yield keys

    def save(self, *, full: bool) -> dict[str, Array]:
        """Columns of the cells that came since the last save; or of all cells, and of the totals."""
        chunks = [] if full else self._departed
        self._departed = []
        for bucket, cells in sorted(self.buckets.items()):
            fresh = cells.save()
            chunks.append((bucket, *(cells.cells() if full else fresh)))
        columns: dict[str, Array] = {
            "cell_bucket": np.concatenate([NO_CELLS, *(np.full(len(k), b, np.int64) for b, k, _ in chunks)]),
            "cell_key": np.concatenate([NO_CELLS, *(k for _, k, _ in chunks)]),
            "cell_value": np.concatenate([NO_CELLS, *(v for _, _, v in chunks)]),
        }
        if full:
            runner, measure = np.nonzero(self.total)
            columns["total_key"] = runner * MEASURES_MAX + measure
            columns["total_value"] = self.total[runner, measure]
        return columns

    def load(self, columns: dict[str, IntArray]) -> None:
        """Add what save gave, as time stands now; there must be room for all its runners and measures."""
        bucket, keys, values = columns["cell_bucket"], columns["cell_key"], columns["cell_value"]
        live = bucket >= self.oldest
        for each in np.unique(bucket[live]).tolist():
            here = bucket == each
            self.add(bucket[here], keys[here], values[here])
            self.buckets[each].save()
        add_at(self.total, keys[~live], values[~live])
        if "total_key" in columns:
            self.total[:] = 0
            add_at(self.total, columns["total_key"], columns["total_value"])
