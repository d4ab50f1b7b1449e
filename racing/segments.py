"""Segments of shoppers (千人千面, light): a board of their own, as far as their own events go.

Each declared segment has windows of its own, and a runner's sums in it are drawn towards those of the whole venue where
it has few events there. With n the runner's events of the rule's metrics in both of the segment's windows, K the prior
strength, and q the segment's part of the venue's sum of a measure,

    w = n / (n + K)        sum = w * (own sum / q) + (1 - w) * (the whole venue's sum)

so that a runner without events of the segment stands as in the whole venue, and one with many as the segment alone has
it, in the same unit. Totals since the race began are the venue's in every segment. This is the usual shrinkage of small
groups (empirical Bayes; Metarank's rate does so with ratios).
Scores are made of these sums by the venue's own formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from racing.board_settings import BoardSettings
from racing.cells import MEASURES_MAX, NO_CELLS
from racing.columns import Array
from racing.field import Field
from racing.formula import Held, Sums
from racing.intake import Cells
from racing.marks import Collected, each_once
from racing.model import FloatArray, IntArray
from racing.places import Places
from racing.showing import Sight
from racing.windows import Windows

NO_SEGMENT = 0
"""The code of an event of no declared segment; the segment at index i of the rule has i + 1."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a segment's sums are drawn towards the venue's.

    prior: in events. measures: those that n counts. venue: the whole venue's own sums.
    """

    prior: float
    measures: Sequence[int]
    venue: Held

    def events(self, window: IntArray, base_tenths: IntArray) -> FloatArray:
        """n of some runners, of the sums of both windows in the segment. float64 (n,)."""
        measures = list(self.measures)
        counted: FloatArray = window[:, measures].sum(axis=1) + base_tenths[:, measures].sum(axis=1) / 10.0
        return counted


@dataclass(frozen=True, slots=True)
class Drawn(Sums):
    """Sums of some runners in a segment, drawn towards the venue's as they are asked for, measure by measure.

    window, base_tenths: the segment's own. weight: w of each runner, float64 (n,). part: q of each measure.
    """

    whole: Sums = field(kw_only=True)
    weight: FloatArray = field(kw_only=True)
    part: FloatArray = field(kw_only=True)

    def now(self, measure: int) -> FloatArray:
        """As Sums.now, drawn."""
        if self.part[measure] == 0:  # a measure of which the segment has nothing tells nothing about it
            return self.whole.now(measure)
        return self._column("now", measure, lambda: self._blend(self.window, self.whole.window, measure))

    def before(self, measure: int) -> FloatArray:
        """As Sums.before, drawn."""
        if self.part[measure] == 0:
            return self.whole.before(measure)
        return self._column(
            "before", measure, lambda: self._blend(self.base_tenths, self.whole.base_tenths, measure) / 10.0
        )

    def _blend(self, mine: IntArray, theirs: IntArray, measure: int) -> FloatArray:
        w, scale = self.weight, 1.0 / self.part[measure]
        blended: FloatArray = w * (mine[:, measure] * scale) + (1.0 - w) * theirs[:, measure]
        return blended


class Segment:
    """One segment's windows, scores and leaders. Scores are made when they are asked for, of whoever is due."""

    def __init__(self, like: Windows, settings: BoardSettings) -> None:
        window_ms = like.buckets_per_window * like.bucket_ms
        self.windows = Windows(window_ms=window_ms, bucket_ms=like.bucket_ms, watched=False)
        self.windows.move(like.bucket, like.tenths)
        self.held = Held(np.zeros(MEASURES_MAX, np.int64), np.zeros(MEASURES_MAX, np.int64))
        self.scores: FloatArray = np.zeros(0)
        self.places = Places(settings)
        self._due: list[IntArray] = []

    def aim(self, settings: BoardSettings) -> None:
        """Take other settings of the board; all runners are due."""
        self.places.begin(settings)
        self.due(np.arange(len(self.scores)))

    def due(self, runners: IntArray) -> None:
        """Take note that the scores of these runners, each once, may be others now."""
        self._due.append(runners)

    def sight(self, whole: Sight, how: Drawing) -> Sight:
        """The board as the segment has it: the venue's own steps, but for stability, on the segment's scores.

        Scores are made on the way, of whoever is due. Cost: O(due) and a copy of a few references.
        """

        def drawn(runners: IntArray) -> Sums:
            return self._drawn(runners, whole.sums(runners), how)

        due = self._taken(len(whole.field.scores))
        self._scored(due, whole.lift.scores(due, whole.formula.scores(drawn(due))), whole.field)
        own = replace(whole.field, scores=self.scores, leaders=self.leading, held=())
        return replace(whole, field=own, sums=drawn)

    def _taken(self, runners: int) -> IntArray:
        """Who is due, each once; room is made for all who are enrolled."""
        if len(self.scores) < runners:
            self.due(np.arange(len(self.scores), runners))
            self.scores = np.append(self.scores, np.zeros(runners - len(self.scores)))
        due, self._due = self._due, []
        return due[0] if len(due) == 1 else each_once(np.concatenate([NO_CELLS, *due]))

    def _scored(self, runners: IntArray, scores: FloatArray, whole: Field) -> None:
        """Keep the scores of some runners. whole: who has no place in the venue's order, and so none here."""
        self.scores[runners] = scores
        if self.places.excluded is not whole.excluded or self.places.sold_out is not whole.sold_out:
            self.places.take_out(whole.excluded, whole.sold_out, self.scores)
        if len(runners):
            self.places.update(runners, self.scores)

    def leading(self) -> IntArray:
        """The best of those who are not out, in standing order."""
        return self.places.leading(self.scores)

    def _drawn(self, runners: IntArray, whole: Sums, how: Drawing) -> Sums:
        """Sums of some runners in this segment, drawn towards the venue's. whole: the venue's."""
        window, base_tenths = self.windows.rows(runners)
        events = how.events(window, base_tenths)
        return Drawn(
            window,
            base_tenths,
            whole.total,
            whole.attributes,
            whole=whole,
            weight=events / (events + how.prior),
            part=self.part(how),
        )

    def part(self, how: Drawing) -> FloatArray:
        """q: the segment's part of the venue's sum per measure over both windows, as held; 0 without data."""
        own, all_of_it = (np.maximum(held.now + held.before, 0).astype(np.float64) for held in (self.held, how.venue))
        part: FloatArray = np.divide(own, all_of_it, out=np.zeros(len(own)), where=all_of_it > 0)
        return part


def _last_kept(sums: Callable[[IntArray], Sums]) -> Callable[[IntArray], Sums]:
    """The same sums, which are not looked up again for the very array that was asked for last."""
    last: list[tuple[IntArray, Sums]] = []

    def kept(runners: IntArray) -> Sums:
        if not last or last[0][0] is not runners:
            last[:] = [(runners, sums(runners))]
        return last[0][1]

    return kept


class Segments:
    """The declared segments of a race, by name, in the rule's order."""

    def __init__(self) -> None:
        self.each: dict[str, Segment] = {}
        self._due = Collected()

    def __bool__(self) -> bool:
        return bool(self.each)

    def declare(self, names: Sequence[str], like: Windows, settings: BoardSettings) -> bool:
        """Have these segments: new ones begin with nothing, others go on. Returns whether there are others now."""
        before = self.each
        self.each = {name: before.get(name) or Segment(like, settings) for name in names}
        self.grow(like)
        for segment in self.each.values():
            segment.aim(settings)
        return list(before) != list(self.each)

    def recut(self, *, window_ms: int, bucket_ms: int, moment_ms: int) -> None:
        """As Windows.recut, each of them."""
        for segment in self.each.values():
            segment.windows = segment.windows.recut(window_ms=window_ms, bucket_ms=bucket_ms, moment_ms=moment_ms)
            segment.held = Held(*segment.windows.venue_sums(segment.windows.bucket))

    def grow(self, like: Windows) -> None:
        """Make room for all that the venue's windows have room for."""
        for segment in self.each.values():
            segment.windows.grow(*like.shape)

    def add(self, cells: Cells) -> None:
        """Count the cells of events that are of a segment, each in its own; there must be room."""
        if cells.segment is None:
            return
        for code, segment in enumerate(self.each.values(), 1):
            mine = np.flatnonzero(cells.segment == code)
            if len(mine):
                bucket = None if cells.bucket is None else cells.bucket[mine]
                segment.windows.add(bucket, cells.key[mine], cells.value[mine])

    def move(self, bucket: int, tenths: int) -> None:
        """Let time reach a place in every segment; whose scores that moves is the venue's to tell."""
        for segment in self.each.values():
            if bucket != segment.windows.bucket:
                segment.held = Held(*segment.windows.venue_sums(bucket))
            segment.windows.move(bucket, tenths)

    def due(self, runners: IntArray, bound: int) -> None:
        """Take note that the scores in the whole venue of these runners, below a bound, were made anew."""
        if self.each:
            self._due.add(runners, bound)

    def sights(self, names: Iterable[str], whole: Sight, how: Drawing) -> dict[str, Sight]:
        """The board as some of them have it, by name; see Segment.sight."""
        if len(self._due):
            due = self._due.take()
            for segment in self.each.values():
                segment.due(due)
        whole = replace(whole, sums=_last_kept(whole.sums))  # the same runners are due in all of them
        return {name: self.each[name].sight(whole, how) for name in names}

    # -- checkpoints ---------------------------------------------------------------------------------

    def save(self, *, full: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        """(header, columns) of all of them."""
        columns: dict[str, Array] = {}
        for place, segment in enumerate(self.each.values()):
            saved = segment.windows.save(full=full)
            held = {"held_now": segment.held.now, "held_before": segment.held.before}
            columns |= {f"segment{place}_{name}": values for name, values in {**saved, **held}.items()}
        return {"segments": list(self.each)}, columns

    def load(self, header: Mapping[str, Any], columns: Mapping[str, IntArray]) -> None:
        """Take what save gave; the segments are declared, there is room, and time stands as it did."""
        for place, name in enumerate(header.get("segments", ())):
            start = f"segment{place}_"
            mine = {key.removeprefix(start): values for key, values in columns.items() if key.startswith(start)}
            segment = self.each[name]
            segment.windows.load(mine)
            segment.held = Held(mine["held_now"], mine["held_before"])
