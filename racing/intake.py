"""Intake: which events of the log count, once each, and the cells that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from racing.cells import MEASURES_MAX
from racing.events import NO_TIME_MS, EventBatch
from racing.ids import SeenIds, kind_salt
from racing.model import EVENT_KINDS, KINDS_MAX, IntArray
from racing.rule import Rule
from racing.sales import Sales
from racing.stated import STATED_KINDS, Stated

PAY, REFUND = EVENT_KINDS.index("pay"), EVENT_KINDS.index("refund")

Mask = npt.NDArray[np.bool_]
_NO_KIND = -1
_STATED = {kind: _NO_KIND - 1 - index for index, kind in enumerate(STATED_KINDS)}


class Counts(msgspec.Struct):
    """What became of every event and entry so far.

    accepted: events of folded batches. Each is one of counted, late, future, duplicate, unknown_runner, unknown_kind,
    stated (a stock or price, now in force) and outdated (one older than that in force), always. unmatched_refund: of
    the counted ones. unreadable: entries, whose events nobody knows.
    """

    accepted: int = 0
    counted: int = 0
    late: int = 0
    future: int = 0
    duplicate: int = 0
    unknown_runner: int = 0
    unknown_kind: int = 0
    unmatched_refund: int = 0
    unreadable: int = 0
    stated: int = 0
    outdated: int = 0

    def settled(self) -> int:
        """Events of which it is known what became of them; accepted, if nothing is wrong."""
        return sum(getattr(self, name) for name in FATES)


FATES = ("counted", "late", "future", "duplicate", "unknown_runner", "unknown_kind", "stated", "outdated")
"""What becomes of an accepted event: one of these."""


def counts_of(kept: dict[str, int]) -> Counts:
    """Counts as a checkpoint has them; one of a version that did not count accepted events gets their sum."""
    counts = msgspec.convert(kept, Counts)
    if "accepted" not in kept:
        counts.accepted = counts.settled()
    return counts


Back = tuple[int, int, int, int]
"""(bucket, key, value, segment) of what a refund takes back; the segment is that of the refund, the same shopper's."""
Arrived = tuple[int, EventBatch]
"""(moment of its entry, ms; the batch)"""


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time into which events may fall now: from the oldest bucket of the base to the running one."""

    bucket_ms: int
    oldest: int
    running: int


@dataclass(frozen=True, slots=True)
class Cells:
    """What is added to the sums: value to the (runner, measure) of key in bucket; int64 (n,) each.

    bucket is None where all of them fall into the running one. segment: 1 + index of the declared segment, 0 for none;
    None where no cell has one.
    """

    bucket: IntArray | None
    key: IntArray
    value: IntArray
    segment: IntArray | None = None


@dataclass(frozen=True, slots=True)
class _Events:
    """Columns of several entries end to end; kind in the race's own numbering, below 0 for what is not counted.

    What no event has is None: times (then all came at their entry's moment, in the running bucket), amounts, ids, and
    what only sales are told by. moment_ms is there where times or ids are. source: an index into sources.
    """

    kind: IntArray
    runner: IntArray
    amount: IntArray | None
    moment_ms: IntArray | None = None
    time_ms: IntArray | None = None
    id_hash: npt.NDArray[np.uint64] | None = None
    user_hash: npt.NDArray[np.uint64] | None = None
    slot: IntArray | None = None
    source: IntArray | None = None
    sources: tuple[str, ...] = ()
    segment: IntArray | None = None

    def __len__(self) -> int:
        return len(self.kind)

    def only(self, good: Mask) -> Self:
        if good.all():
            return self
        columns = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "sources"}
        return replace(self, **{name: column[good] for name, column in columns.items() if column is not None})


class Intake:
    """The door of the fold. Whether an event counts depends on its entry, the ids before it, and the base window."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.ids = SeenIds()
        self.sales = Sales()
        self.stated = Stated()
        self.stated_anew = False
        """Whether a value has been stated since somebody looked, and set it back."""
        self.kinds: dict[str, int] = {}
        self._salts = np.empty(0, np.uint64)
        self.kind_table(EVENT_KINDS)

    def kind_table(self, kinds: Sequence[str]) -> IntArray:
        """The race's own index of each kind, made for a new one; -1 beyond KINDS_MAX, less for stated ones."""
        for kind in kinds:
            if kind not in self.kinds and kind not in _STATED and len(self.kinds) < KINDS_MAX:
                self.kinds[kind] = len(self.kinds)
                self._salts = np.append(self._salts, np.uint64(kind_salt(kind)))
        return np.array([self.kinds.get(kind, _STATED.get(kind, _NO_KIND)) for kind in kinds], np.int64)

    def take(self, batches: Sequence[Arrived], *, runners: int, span: Span, rule: Rule, phase: str = "") -> Cells:
        """The cells of (moment, batch) pairs that lie within one step, in log order; the rest is counted by reason.

        phase: the one that holds; what is sold now is sold in it.
        """
        events = self._joined(batches, rule.segment_names)
        self.counts.accepted += len(events)
        events = events.only(self._known(events, batches, runners, rule))
        if events.time_ms is not None:
            events = events.only(self._timely(events, span, rule))
        if events.id_hash is not None:
            events = events.only(self._first(events, rule.id_memory_ms))
        self.counts.counted += len(events)
        if len(events):
            self.sales.count(phase, events)
        return self._cells(events, self._taken_back(events, span, rule.id_memory_ms), span)

    def _joined(self, batches: Sequence[Arrived], segments: Sequence[str]) -> _Events:
        """The events of several batches as columns, kinds and segments in the race's own numbering."""
        bodies = [batch for _, batch in batches]
        moments_ms = np.array([moment_ms for moment_ms, _ in batches])
        sizes = np.array([len(batch) for batch in bodies])
        times = any(batch.time_ms is not None for batch in bodies)
        named = any(batch.id_hash is not None for batch in bodies)
        moment_ms = np.repeat(moments_ms, sizes) if times or named else None
        time_ms: IntArray | None = None
        if moment_ms is not None and times:
            given_ms = _column(bodies, "time_ms", NO_TIME_MS)
            time_ms = np.where(given_ms == NO_TIME_MS, moment_ms, given_ms)
        return _Events(
            kind=self._kinds_of(bodies, sizes),
            runner=np.concatenate([batch.runner for batch in bodies], dtype=np.int64),
            amount=_given(bodies, "amount"),
            moment_ms=moment_ms,
            time_ms=time_ms,
            id_hash=_column(bodies, "id_hash", 0, np.uint64) if named else None,
            user_hash=_given(bodies, "user_hash", np.uint64),
            slot=_given(bodies, "slot"),
            **_sources_of(bodies, sizes),
            segment=_segments_of(bodies, sizes, segments) if segments else None,
        )

    def _kinds_of(self, bodies: Sequence[EventBatch], sizes: IntArray) -> IntArray:
        """Each event's kind in the race's own numbering; batches may have a table of their own each."""
        kind = np.concatenate([batch.kind for batch in bodies], dtype=np.int64)
        tables = dict.fromkeys(batch.kinds for batch in bodies)
        if len(tables) == 1:
            return self.kind_table(bodies[0].kinds)[kind]
        starts = dict(zip(tables, np.cumsum([0, *map(len, tables)]).tolist(), strict=False))
        kind += np.repeat(np.array([starts[batch.kinds] for batch in bodies]), sizes)
        return np.concatenate([self.kind_table(table) for table in tables])[kind]

    def _known(self, events: _Events, batches: Sequence[Arrived], runners: int, rule: Rule) -> Mask:
        """Events of known runners and kinds; of those that state a value the values are taken on the way."""
        unknown = events.runner >= runners
        uncounted = events.kind < 0
        self.counts.unknown_runner += int(unknown.sum())
        if uncounted.any():
            uncounted &= ~unknown
            self.counts.unknown_kind += int((events.kind[uncounted] == _NO_KIND).sum())
            self._state(np.flatnonzero(uncounted & (events.kind < _NO_KIND)), events, batches, rule)
        return ~(unknown | uncounted)

    def _state(self, where: IntArray, events: _Events, batches: Sequence[Arrived], rule: Rule) -> None:
        """Take stock and prices, each from its own time; what is ahead of its entry is refused as any other event.

        The value is the amount; of stock the quantity, where there is one.
        """
        moments_ms = np.repeat([moment_ms for moment_ms, _ in batches], [len(batch) for _, batch in batches])[where]
        times_ms = moments_ms if events.time_ms is None else events.time_ms[where]
        good = times_ms <= moments_ms + 1000 * rule.clock_skew_s
        self.counts.future += int((~good).sum())
        where, times_ms = where[good], times_ms[good]
        amounts = np.zeros(len(where), np.int64) if events.amount is None else events.amount[where]
        quantities = _column([batch for _, batch in batches], "quantity", 0)[where]
        for kind, code in _STATED.items():
            mine = events.kind[where] == code
            if not mine.any():
                continue
            values = (
                np.where(quantities[mine] > 0, quantities[mine], amounts[mine]) if kind == "stock" else amounts[mine]
            )
            outdated = self.stated.columns[kind].state(events.runner[where[mine]], values, times_ms[mine])
            self.counts.outdated += outdated
            self.counts.stated += int(mine.sum()) - outdated
        self.stated_anew = True

    def _timely(self, events: _Events, span: Span, rule: Rule) -> Mask:
        """Events whose time lies in the base window or after, and not ahead."""
        assert events.time_ms is not None
        assert events.moment_ms is not None
        future = events.time_ms > events.moment_ms + 1000 * rule.clock_skew_s
        oldest_ms = np.maximum(span.oldest * span.bucket_ms, events.moment_ms - rule.lateness_ms)
        late = ~future & (events.time_ms < oldest_ms)
        self.counts.future += int(future.sum())
        self.counts.late += int(late.sum())
        return ~(future | late)

    def _first(self, events: _Events, memory_ms: int) -> Mask:
        """The events that have no id, or one whose (kind, id) was not counted before."""
        assert events.id_hash is not None
        assert events.moment_ms is not None
        where = np.flatnonzero(events.id_hash)
        keys = events.id_hash[where] ^ self._salts[events.kind[where]]
        first = self.ids.first_seen(keys.tolist(), events.moment_ms[where].tolist(), memory_ms)
        self.counts.duplicate += int((~first).sum())
        good = np.ones(len(events), np.bool_)
        good[where[~first]] = False
        return good

    def _cells(self, events: _Events, back: list[Back], span: Span) -> Cells:
        """A cell for each event's count, and one for its amount where it has one; and what refunds take back."""
        key = events.runner * MEASURES_MAX
        key += 2 * events.kind
        paid = np.empty(0, np.int64) if events.amount is None else np.flatnonzero(events.amount)
        keys, values = [key], [np.ones(len(key), np.int64)]
        if events.amount is not None and len(paid):
            keys.append(key[paid] + 1)
            values.append(events.amount[paid])
        buckets = self._buckets(events, paid, span) if events.time_ms is not None or back else []
        segments = [] if events.segment is None else [events.segment, events.segment[paid]]
        if back:
            bucket, cell, taken, segment = np.array(back, np.int64).T
            buckets.append(bucket)
            keys.append(cell)
            values.append(taken)
            segments += [segment] if segments else []
        return Cells(
            np.concatenate(buckets) if buckets else None,
            np.concatenate(keys),
            np.concatenate(values),
            np.concatenate(segments) if segments else None,
        )

    def _buckets(self, events: _Events, paid: IntArray, span: Span) -> list[IntArray]:
        """The bucket of each count and amount: that of min(event time, moment of its entry)."""
        if events.time_ms is None:
            return [np.full(len(events) + len(paid), span.running)]
        assert events.moment_ms is not None
        bucket = np.minimum(events.time_ms, events.moment_ms) // span.bucket_ms
        return [bucket, bucket[paid]]

    def _taken_back(self, events: _Events, span: Span, memory_ms: int) -> list[Back]:
        """What refunds subtract at the moment of the payment that they name by its id."""
        if events.id_hash is None:
            return []
        where = np.flatnonzero(((events.kind == PAY) | (events.kind == REFUND)) & (events.id_hash != 0))
        keys = (events.id_hash[where] ^ self._salts[PAY]).tolist()
        assert events.moment_ms is not None
        time_ms = events.moment_ms if events.time_ms is None else np.minimum(events.time_ms, events.moment_ms)
        amount = np.zeros(len(events), np.int64) if events.amount is None else events.amount
        segment = np.zeros(len(events), np.int64) if events.segment is None else events.segment
        columns = (events.kind, events.runner, time_ms, amount, events.moment_ms, segment)
        back: list[Back] = []
        for key, kind, runner, at_ms, amount, moment_ms, code in zip(
            keys, *(c[where].tolist() for c in columns), strict=True
        ):
            if kind == PAY:
                self.ids.paid(key, at_ms, runner, amount, moment_ms + memory_ms)
            else:
                back += [(*cell, code) for cell in self._refund(key, runner, amount, moment_ms, span)]
        return back

    def _refund(self, key: int, runner: int, amount: int, moment_ms: int, span: Span) -> list[tuple[int, int, int]]:
        found = self.ids.take_back(key, runner, amount, moment_ms)
        if found is None:
            self.counts.unmatched_refund += 1
            return []
        paid_ms, taken, whole = found
        bucket = paid_ms // span.bucket_ms
        if bucket < span.oldest:
            return []  # the payment has left the base: there is nothing to subtract it from
        cell = runner * MEASURES_MAX + 2 * PAY
        return [(bucket, cell + 1, -taken), *([(bucket, cell, -1)] if whole else [])]


def _sources_of(bodies: Sequence[EventBatch], sizes: IntArray) -> dict[str, Any]:
    """Each event's source in one table for all batches, which may have one each; nothing where no event has one."""
    source = _given(bodies, "source")
    if source is None:
        return {}
    tables = [("", *batch.sources) for batch in bodies]  # 0 is no source
    joined = {name: place for place, name in enumerate(dict.fromkeys(chain.from_iterable(tables)))}
    return {"source": _translated(source, sizes, tables, joined), "sources": tuple(joined)}


def _segments_of(bodies: Sequence[EventBatch], sizes: IntArray, declared: Sequence[str]) -> IntArray | None:
    """1 + index of each event's declared segment, 0 for none; None where no event names a segment."""
    segment = _given(bodies, "segment")
    if segment is None:
        return None
    tables = [("", *batch.segments) for batch in bodies]
    return _translated(segment, sizes, tables, {name: code for code, name in enumerate(declared, 1)})


def _translated(
    codes: IntArray, sizes: IntArray, tables: Sequence[tuple[str, ...]], into: Mapping[str, int]
) -> IntArray:
    """Codes of batches with a table each as codes of one table; 0 for what it has not."""
    starts = np.cumsum([0, *map(len, tables)])[:-1]
    places = np.array([into.get(name, 0) for table in tables for name in table], np.int64)
    found: IntArray = places[codes + np.repeat(starts, sizes)]
    return found


def _given(bodies: Sequence[EventBatch], name: str, dtype: type[np.generic] = np.int64) -> Any:
    """A column of batches end to end, 0 where one has not got it; None where none has."""
    return _column(bodies, name, 0, dtype) if any(getattr(batch, name) is not None for batch in bodies) else None


def _column(bodies: Sequence[EventBatch], name: str, absent: int, dtype: type[np.generic] = np.int64) -> Any:
    """A column of batches end to end, with absent where one has not got it."""
    given = [getattr(batch, name) for batch in bodies]
    parts = [
        np.full(len(batch), absent, dtype) if column is None else column
        for column, batch in zip(given, bodies, strict=True)
    ]
    return np.concatenate(parts, dtype=dtype)
