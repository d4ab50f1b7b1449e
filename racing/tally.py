"""The tally: what a venue's events come to in sums, of the whole venue and of each segment, which move as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from racing.cells import MEASURES_MAX, NO_CELLS, runners_of
from racing.columns import Array
from racing.formula import Held
from racing.intake import Arrived, Intake, Span, counts_of
from racing.marks import Distinct
from racing.model import IntArray
from racing.rule import Rule
from racing.segments import Segments
from racing.windows import Windows


class Tally:
    """Sums by runner and measure, and the door through which events come. It knows no score and no order.

    held: the venue's own sums as they stood just before the running bucket began. began_ms: the moment of the first
    entry. kept_from_ms: see full_from_ms.
    """

    def __init__(self, rule: Rule) -> None:
        self.intake = Intake()
        self.began_ms = self.kept_from_ms = 0
        self._distinct = Distinct()
        self.begin(rule)

    def begin(self, rule: Rule) -> None:
        """Have no sums, in buckets as a rule cuts them."""
        self.windows = Windows(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms)
        self.held = Held(np.zeros(MEASURES_MAX, np.int64), np.zeros(MEASURES_MAX, np.int64))
        self.segments = Segments()

    def grow(self, runners: int) -> None:
        """Make room for the sums of so many runners, of all kinds there are; amortised by doubling."""
        self.windows.grow(runners, 2 * len(self.intake.kinds))
        self.segments.grow(self.windows)

    def count(self, batches: Sequence[Arrived], *, runners: int, rule: Rule, phase: str) -> IntArray:
        """Count the events of entries that lie within one step, in log order. Returns whose sums moved, each once."""
        windows = self.windows
        span = Span(windows.bucket_ms, windows.oldest, windows.bucket)
        cells = self.intake.take(batches, runners=runners, span=span, rule=rule, phase=phase)
        if not len(cells.key):
            return NO_CELLS
        self.grow(runners)
        windows.add(cells.bucket, cells.key, cells.value)
        self.segments.add(cells)
        return self._distinct.of(runners_of(cells.key), runners)

    def move(self, moment_ms: int, runners: int) -> IntArray | None:
        """Let sums move by their steps up to a moment; at a bucket boundary the venue's own sums are held anew.

        Returns whose score can differ by it, each once: at a boundary all who have a sum in the windows, or just lost
        their last. None where no step lies on the way.
        """
        bucket, tenths = self.windows.place(moment_ms)
        if bucket == self.windows.bucket:
            if tenths == self.windows.tenths:
                return None
            self.segments.move(bucket, tenths)
            return self._distinct.of(runners_of(self.windows.move(bucket, tenths)), runners)
        self.held = Held(*self.windows.venue_sums(bucket))
        touched = self.windows.move(bucket, tenths)
        self.segments.move(bucket, tenths)
        self.intake.ids.purge(moment_ms)
        return self.windows.active(runners, touched)

    def recut(self, rule: Rule, moment_ms: int) -> None:
        """Go on with the same sums in buckets and windows as a rule cuts them; see Windows.recut."""
        old = self.windows
        cut = {"window_ms": rule.window_ms, "bucket_ms": rule.bucket_ms, "moment_ms": moment_ms}
        self.windows = old.recut(**cut)
        self.intake.ids.recut(old)
        self.held = Held(*self.windows.venue_sums(self.windows.bucket))
        self.segments.recut(**cut)
        forgotten_ms = old.oldest * old.bucket_ms
        if forgotten_ms > self.began_ms:
            self.kept_from_ms = max(self.kept_from_ms, forgotten_ms)

    def full_from_ms(self) -> tuple[int, int]:
        """The moments from which the window, and the base too, hold all that came in them: 0 where they always have.

        A longer window is filled from the buckets that are kept, which end two former windows ago: nothing jumps to
        zero, and until these moments the sums lack what had been forgotten by then. Moments that have passed say that
        they are full.
        """
        if not self.kept_from_ms:
            return 0, 0
        bucket_ms, length = self.windows.bucket_ms, self.windows.buckets_per_window
        first = -(-self.kept_from_ms // bucket_ms)
        return (first + length - 1) * bucket_ms, (first + 2 * length - 1) * bucket_ms

    # -- checkpoints ---------------------------------------------------------------------------------

    def save(self, *, full: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        """(header, columns) for a checkpoint."""
        intake = self.intake
        sold, sales_columns = intake.sales.save(full=full)
        segments, segment_columns = self.segments.save(full=full)
        header = {
            "kinds": list(intake.kinds),
            "counts": msgspec.to_builtins(intake.counts),
            "began_ms": self.began_ms,
            "kept_from_ms": self.kept_from_ms,
            **sold,
            **segments,
        }
        columns = {
            **self.windows.save(full=full),
            "held_now": self.held.now,
            "held_before": self.held.before,
            **intake.ids.save(full=full),
            **intake.stated.save(full=full),
            **sales_columns,
            **segment_columns,
        }
        return header, columns

    def load(self, header: dict[str, Any], columns: dict[str, Array], *, runners: int, moment_ms: int) -> None:
        """Take what save gave, but for the sums of segments, which load themselves once they are declared."""
        intake = self.intake
        intake.kind_table(header["kinds"])
        intake.counts = counts_of(header["counts"])
        self.began_ms, self.kept_from_ms = header.get("began_ms", 1), header.get("kept_from_ms", 0)
        self.grow(runners)
        place = self.windows.place(moment_ms)
        self.windows.move(*place)
        self.segments.move(*place)
        self.windows.load(columns)
        intake.ids.load(columns)
        intake.ids.purge(moment_ms)
        self.held = Held(columns["held_now"], columns["held_before"])
        intake.stated.grow(runners)
        intake.stated.load(columns)
        intake.sales.load(header, columns)
