"""Window, base and total sums per runner and measure, exact while buckets come and go.

Time is cut into buckets aligned to the epoch. With b the running bucket and B buckets to a window, the
window is b-B+1 .. b and the base b-2B+1 .. b-B; the base's oldest bucket counts with the tenths of the
running one that have begun, so that window and base are equally long at every moment. Base sums are kept
in tenths, hence all sums are integers. What is kept of each bucket is sparse: (key, value) cells, where
key = runner * MEASURES_MAX + measure.

What comes into the running bucket is added in one place only, ``_running``, a dense matrix: once per event, and
nothing is sorted. ``settle`` makes it a chunk of the bucket's cells, each key once, and adds it to the sums: at
every bucket boundary, and whenever somebody wants the sums or cells whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from racing.cells import MEASURES_MAX, NO_CELLS, Bucket, add_at, flat, merged, runners_of
from racing.columns import Array
from racing.marks import each_once
from racing.model import IntArray

_TOUCHED, _CHANGED = 1, 2
"""Marks of a cell: in the running bucket since the last settling; changed since changes were last taken."""


class Windows:
    """The sums of one race. Rows are runners, columns measures; both grow on demand.

    The matrices are whole after settle(); the properties window, base_tenths and total see to that, rows() and
    column() add what has not been settled to the few sums that they are asked for.
    """

    def __init__(
        self, *, window_ms: int, bucket_ms: int, runners: int = 0, measures: int = 16, watched: bool = True
    ) -> None:
        """watched: whether somebody takes the changes; without it no note is taken of them, and none is told."""
        self._wanted = _TOUCHED | _CHANGED if watched else _TOUCHED
        self.bucket_ms = bucket_ms
        self.buckets_per_window = window_ms // bucket_ms
        self.bucket = -1  # the running one; -1 before the first moment
        self.tenths = 1
        self.buckets: dict[int, Bucket] = {}
        self._window = np.zeros((runners, measures), np.int64)
        self._base_tenths = np.zeros((runners, measures), np.int64)
        self._total = np.zeros((runners, measures), np.int64)
        self._running = np.zeros((runners, measures), np.int64)
        self._marks = np.zeros((runners, measures), np.uint8)
        self._cells_of = np.zeros(runners, np.int32)  # kept cells of each runner, over all chunks
        self._touched: list[IntArray] = []
        self._changed: list[IntArray] = []
        self._departed: list[tuple[int, IntArray, IntArray]] = []

    @property
    def oldest(self) -> int:
        """The oldest bucket of the base: events before it are late."""
        return self.bucket - 2 * self.buckets_per_window + 1

    @property
    def shape(self) -> tuple[int, int]:
        """(runners, measures) that there is room for."""
        return self._window.shape

    @property
    def window(self) -> IntArray:
        """Window sums, int64 (runners, measures)."""
        self.settle()
        return self._window

    @property
    def base_tenths(self) -> IntArray:
        """Base sums in tenths, int64 (runners, measures)."""
        return self._base_tenths

    @property
    def total(self) -> IntArray:
        """Sums since the race began, int64 (runners, measures)."""
        self.settle()
        return self._total

    def rows(self, runners: IntArray) -> tuple[IntArray, IntArray]:
        """(window, base in tenths) of some runners, int64 (n, measures) each; copies."""
        window = self._window.take(runners, axis=0)
        window += self._running.take(runners, axis=0)
        return window, self._base_tenths.take(runners, axis=0)

    def total_rows(self, runners: IntArray) -> IntArray:
        """Sums since the race began of some runners, int64 (n, measures); a copy."""
        total = self._total.take(runners, axis=0)
        total += self._running.take(runners, axis=0)
        return total

    def column(self, runners: IntArray, measure: int) -> tuple[IntArray, IntArray, IntArray]:
        """(window, base in tenths, total) of one measure of some runners, int64 (n,) each."""
        running = self._running[runners, measure]
        return (
            self._window[runners, measure] + running,
            self._base_tenths[runners, measure],
            self._total[runners, measure] + running,
        )

    def grow(self, runners: int, measures: int) -> None:
        """Make room for runners and measures below these bounds; amortised by doubling."""
        rows, columns = self.shape
        if runners <= rows and measures <= columns:
            return
        rows = rows if runners <= rows else max(runners, 2 * rows)
        columns = columns if measures <= columns else min(MEASURES_MAX, max(measures, 2 * columns))
        for name in ("_window", "_base_tenths", "_total", "_running", "_marks"):
            old = getattr(self, name)
            new = np.zeros((rows, columns), old.dtype)
            new[: old.shape[0], : old.shape[1]] = old
            setattr(self, name, new)
        cells_of = np.zeros(rows, np.int32)
        cells_of[: len(self._cells_of)] = self._cells_of
        self._cells_of = cells_of

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
        if not same:
            self.settle()
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
        for keys in touched:
            self._mark(keys, _CHANGED)
        return np.concatenate(touched) if touched else NO_CELLS

    def _drop(self, bucket: int) -> None:
        """Forget a bucket that has left the base; cells that no checkpoint holds still belong to the totals."""
        cells = self.buckets.pop(bucket, None)
        if cells is None:
            return
        for keys, _ in cells.chunks():
            np.subtract.at(self._cells_of, runners_of(keys), 1)
        if cells.fresh:
            self._departed.append((bucket, *cells.save()))

    def _shift(self, cells: Bucket, in_window: int, in_base_tenths: int) -> list[IntArray]:
        touched = []
        for keys, values in cells.chunks():
            if in_window:
                add_at(self._window, keys, values * in_window)
            if in_base_tenths:
                add_at(self._base_tenths, keys, values * in_base_tenths)
            touched.append(keys)
        return touched

    def add(self, buckets: IntArray | None, keys: IntArray, values: IntArray) -> None:
        """Count cells in the buckets of their own time, all within oldest .. the running one; None: all in that.

        Cost: a few ns a cell, nothing sorted; of cells in other buckets those of one bucket are merged.
        """
        if buckets is not None:
            here = buckets == self.bucket
            if not here.all():
                for each in np.unique(buckets[~here]).tolist():
                    there = buckets == each
                    self._add_to(each, *merged(keys[there], values[there]))
                keys, values = keys[here], values[here]
        if len(keys):
            self.buckets.setdefault(self.bucket, Bucket())
            np.add.at(self._running.reshape(-1), flat(keys, self.shape[1]), values)
            self._mark(keys, _TOUCHED | _CHANGED)

    def _mark(self, keys: IntArray, wanted: int) -> None:
        """Mark cells; those that had not a mark yet go into its list, each once."""
        wanted &= self._wanted
        if not wanted:
            return
        marks = self._marks.reshape(-1)
        new = np.flatnonzero(marks[flat(keys, self.shape[1])] & wanted != wanted)
        if not len(new):
            return  # most cells are touched again and again
        fresh = each_once(keys[new])
        where = flat(fresh, self.shape[1])
        known = marks[where]
        marks[where] = known | wanted
        for mark, listed in ((_TOUCHED, self._touched), (_CHANGED, self._changed)):
            first = fresh[known & mark == 0]
            if wanted & mark and len(first):
                listed.append(first)

    def settle(self) -> None:
        """Make what was added to the running bucket a chunk of its cells, and part of the sums; changes no sum."""
        if not self._touched:
            return
        keys = np.sort(np.concatenate(self._touched))
        self._touched = []
        where = flat(keys, self.shape[1])
        running = self._running.reshape(-1)
        values = running[where]
        running[where] = 0
        self._marks.reshape(-1)[where] &= ~np.uint8(_TOUCHED)
        add_at(self._total, keys, values)
        self._chunk(self.bucket, keys, values)

    def _add_to(self, bucket: int, keys: IntArray, values: IntArray) -> None:
        """Count cells, each key once, in a bucket that does not run."""
        add_at(self._total, keys, values)
        self._chunk(bucket, keys, values)
        self._mark(keys, _CHANGED)

    def _chunk(self, bucket: int, keys: IntArray, values: IntArray) -> None:
        self.buckets.setdefault(bucket, Bucket()).add(keys, values)
        np.add.at(self._cells_of, runners_of(keys), 1)
        in_window, in_base_tenths = self.weights(bucket, self.bucket, self.tenths)
        if in_window:
            add_at(self._window, keys, values)
        elif in_base_tenths:
            add_at(self._base_tenths, keys, values * in_base_tenths)

    def active(self, runners: int, also: IntArray) -> IntArray:
        """The runners below this bound that have cells, and those of these keys. Cost: one pass over the runners."""
        self.settle()
        marked = self._cells_of[:runners] > 0
        marked[runners_of(also)] = True
        return np.flatnonzero(marked)

    @property
    def changed(self) -> int:
        """How many sums have changed since take_changed."""
        return sum(map(len, self._changed))

    def take_changed(self) -> IntArray:
        """The keys of all sums that have changed since the last call, each once, sorted."""
        keys = np.sort(np.concatenate([NO_CELLS, *self._changed]))
        self._changed = []
        self._marks.reshape(-1)[flat(keys, self.shape[1])] &= ~np.uint8(_CHANGED)
        return keys

    def venue_sums(self, running: int) -> tuple[IntArray, IntArray]:
        """The venue's window and base sums per measure as they stood just before bucket running began."""
        length = self.buckets_per_window
        self.settle()
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
        self.settle()
        new = Windows(
            window_ms=window_ms,
            bucket_ms=bucket_ms,
            runners=self.shape[0],
            measures=self.shape[1],
            watched=bool(self._wanted & _CHANGED),
        )
        new.bucket, new.tenths = new.place(moment_ms)
        for bucket, cells in sorted(self.buckets.items()):
            target = bucket * self.bucket_ms // bucket_ms
            if bucket >= self.oldest and target >= new.oldest - 1:
                new._add_to(target, *cells.cells())  # the same class
        new._total = self._total
        for keys in (*self._changed, *self.live_keys()):
            new._mark(keys, _CHANGED)
        return new

    def live_keys(self) -> Iterator[IntArray]:
        """The keys of every kept cell, chunk by chunk, repeats possible."""
        self.settle()
        for cells in self.buckets.values():
            for keys, _ in cells.chunks():
                yield keys

    def kept_keys(self) -> IntArray:
        """The keys of all cells that are kept, and of all totals that are not 0; each once, ascending.

        Cost: a few ns for each cell kept and each total: to sort or hash millions of keys takes ten times as long.
        """
        self.settle()
        there = self._total != 0
        flags = there.reshape(-1)
        for keys in self.live_keys():
            flags[flat(keys, self.shape[1])] = True
        runner, measure = np.nonzero(there)
        return runner * MEASURES_MAX + measure

    def save(self, *, full: bool) -> dict[str, Array]:
        """Columns of the cells that came since the last save; or of all cells, and of the totals."""
        self.settle()
        chunks = [] if full else self._departed
        self._departed = []
        for bucket, cells in sorted(self.buckets.items()):
            fresh = self._saved(cells)
            chunks.append((bucket, *(cells.cells() if full else fresh)))
        columns: dict[str, Array] = {
            "cell_bucket": np.concatenate([NO_CELLS, *(np.full(len(k), b, np.int64) for b, k, _ in chunks)]),
            "cell_key": np.concatenate([NO_CELLS, *(k for _, k, _ in chunks)]),
            "cell_value": np.concatenate([NO_CELLS, *(v for _, _, v in chunks)]),
        }
        if full:
            runner, measure = np.nonzero(self._total)
            columns["total_key"] = runner * MEASURES_MAX + measure
            columns["total_value"] = self._total[runner, measure]
        return columns

    def _saved(self, cells: Bucket) -> tuple[IntArray, IntArray]:
        """The bucket's fresh cells, saved from now on; keeps count of its runners' cells where chunks are merged."""
        before = list(cells.chunks())
        fresh = cells.save()
        if len(before) != len(list(cells.chunks())):
            for keys, _ in before:
                np.subtract.at(self._cells_of, runners_of(keys), 1)
            for keys, _ in cells.chunks():
                np.add.at(self._cells_of, runners_of(keys), 1)
        return fresh

    def load(self, columns: dict[str, IntArray]) -> None:
        """Add what save gave, as time stands now; there must be room for all its runners and measures."""
        bucket, keys, values = columns["cell_bucket"], columns["cell_key"], columns["cell_value"]
        begins = np.flatnonzero(np.diff(bucket, prepend=-1))  # cells of one bucket lie together
        for begin, end in pairwise([*begins.tolist(), len(bucket)]):
            each = int(bucket[begin])
            if each >= self.oldest:
                self._add_to(each, keys[begin:end], values[begin:end])
                self._saved(self.buckets[each])
            else:
                add_at(self._total, keys[begin:end], values[begin:end])
        if "total_key" in columns:
            self._total[:] = 0
            add_at(self._total, columns["total_key"], columns["total_value"])
