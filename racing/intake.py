"""Intake: which events of the log count, once each, and the cells that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from racing.events import NO_TIME_MS, EventBatch
from racing.ids import SeenIds, kind_salt
from racing.model import EVENT_KINDS, KINDS_MAX, IntArray
from racing.rule import Rule
from racing.windows import MEASURES_MAX

PAY, REFUND = EVENT_KINDS.index("pay"), EVENT_KINDS.index("refund")

Mask = npt.NDArray[np.bool_]


class Counts(msgspec.Struct):
    """What became of every event and entry so far."""

    counted: int = 0
    late: int = 0
    future: int = 0
    duplicate: int = 0
    unknown_runner: int = 0
    unknown_kind: int = 0
    unmatched_refund: int = 0
    unreadable: int = 0


Arrived = tuple[int, EventBatch]
"""(moment of its entry, ms; the batch)"""


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time into which events may fall now."""

    bucket_ms: int
    oldest: int  # oldest bucket of the base


@dataclass(frozen=True, slots=True)
class Cells:
    """What is added to the sums: value to the (runner, measure) of key in bucket; int64 (n,) each."""

    bucket: IntArray
    key: IntArray
    value: IntArray


@dataclass(frozen=True, slots=True)
class _Events:
    """Columns of several entries end to end; kind in the race's own numbering, -1 for one too many."""

    kind: IntArray
    runner: IntArray
    time_ms: IntArray
    moment_ms: IntArray
    amount: IntArray
    id_hash: npt.NDArray[np.uint64] | None

    def __len__(self) -> int:
        return len(self.kind)

    def only(self, good: Mask) -> Self:
        if good.all():
            return self
        return replace(
            self,
            kind=self.kind[good],
            runner=self.runner[good],
            time_ms=self.time_ms[good],
            moment_ms=self.moment_ms[good],
            amount=self.amount[good],
            id_hash=None if self.id_hash is None else self.id_hash[good],
        )


class Intake:
    """The door of the fold. Whether an event counts depends on its entry, the ids before it, and the base window."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.ids = SeenIds()
        self.kinds: dict[str, int] = {}
        self._salts = np.empty(0, np.uint64)
        self.kind_table(EVENT_KINDS)

    def kind_table(self, kinds: Sequence[str]) -> IntArray:
        """The race's own index of each kind, made for one not seen before; -1 beyond KINDS_MAX."""
        for kind in kinds:
            if kind not in self.kinds and len(self.kinds) < KINDS_MAX:
                self.kinds[kind] = len(self.kinds)
                self._salts = np.append(self._salts, np.uint64(kind_salt(kind)))
        return np.array([self.kinds.get(kind, -1) for kind in kinds], np.int64)

    def take(self, batches: Sequence[Arrived], *, runners: int, span: Span, rule: Rule) -> Cells:
        """The cells of (moment, batch) pairs that lie within one step, in log order; the rest is counted by reason."""
        events = self._joined(batches)
        events = replace(events, time_ms=np.where(events.time_ms == NO_TIME_MS, events.moment_ms, events.time_ms))
        good = self._timely(events, runners, span, rule)
        if events.id_hash is not None:
            good = self._first(good, events, rule.id_memory_ms)
        events = events.only(good)
        self.counts.counted += len(events)
        events = replace(events, time_ms=np.minimum(events.time_ms, events.moment_ms))
        return self._cells(events, self._taken_back(events, span, rule.id_memory_ms), span)

    def _joined(self, batches: Sequence[Arrived]) -> _Events:
        tables = [self.kind_table(batch.kinds) for _, batch in batches]
        has_ids = any(batch.id_hash is not None for _, batch in batches)
        none = [np.zeros(len(batch), np.int64) for _, batch in batches]
        ids = [
            b.id_hash if b.id_hash is not None else zero.astype(np.uint64)
            for zero, (_, b) in zip(none, batches, strict=True)
        ]
        return _Events(
            kind=np.concatenate([table[batch.kind] for table, (_, batch) in zip(tables, batches, strict=True)]),
            runner=np.concatenate([batch.runner for _, batch in batches]),
            time_ms=np.concatenate([batch.time_ms for _, batch in batches]),
            moment_ms=np.concatenate([zero + moment_ms for zero, (moment_ms, _) in zip(none, batches, strict=True)]),
            amount=np.concatenate(
                [zero if batch.amount is None else batch.amount for zero, (_, batch) in zip(none, batches, strict=True)]
            ),
            id_hash=np.concatenate(ids) if has_ids else None,
        )

    def _timely(self, events: _Events, runners: int, span: Span, rule: Rule) -> Mask:
        """Events of known runners and kinds whose time lies in the base window or after, and not ahead."""
        unknown = events.runner >= runners
        no_kind = (events.kind < 0) & ~unknown
        left = ~(unknown | no_kind)
        future = left & (events.time_ms > events.moment_ms + 1000 * rule.clock_skew_s)
        too_old = (events.time_ms // span.bucket_ms < span.oldest) | (
            events.time_ms < events.moment_ms - rule.lateness_ms
        )
        late = left & ~future & too_old
        self.counts.unknown_runner += int(unknown.sum())
        self.counts.unknown_kind += int(no_kind.sum())
        self.counts.future += int(future.sum())
        self.counts.late += int(late.sum())
        return left & ~future & ~late

    def _first(self, good: Mask, events: _Events, memory_ms: int) -> Mask:
        """Good less the events whose (kind, id) was counted before."""
        assert events.id_hash is not None
        where = np.flatnonzero(good & (events.id_hash != 0))
        keys = events.id_hash[where] ^ self._salts[events.kind[where]]
        first = self.ids.first_seen(keys.tolist(), events.moment_ms[where].tolist(), memory_ms)
        self.counts.duplicate += int((~first).sum())
        good = good.copy()
        good[where[~first]] = False
        return good

    def _cells(self, events: _Events, back: list[tuple[int, int, int]], span: Span) -> Cells:
        """A cell for each event's count, and one for its amount where it has one; and what refunds take back."""
        bucket = events.time_ms // span.bucket_ms
        key = events.runner * MEASURES_MAX + 2 * events.kind
        paid = np.flatnonzero(events.amount)
        columns = [
            [bucket, bucket[paid]],
            [key, key[paid] + 1],
            [np.ones(len(key), np.int64), events.amount[paid]],
        ]
        if back:
            for column, values in zip(columns, np.array(back, np.int64).T, strict=True):
                column.append(values)
        return Cells(*(np.concatenate(column) for column in columns))

    def _taken_back(self, events: _Events, span: Span, memory_ms: int) -> list[tuple[int, int, int]]:
        """(bucket, key, value) of what refunds subtract at the moment of the payment that they name by its id."""
        if events.id_hash is None:
            return []
        where = np.flatnonzero(((events.kind == PAY) | (events.kind == REFUND)) & (events.id_hash != 0))
        keys = (events.id_hash[where] ^ self._salts[PAY]).tolist()
        columns = (events.kind, events.runner, events.time_ms, events.amount, events.moment_ms)
        back: list[tuple[int, int, int]] = []
        for key, kind, runner, at_ms, amount, moment_ms in zip(
            keys, *(c[where].tolist() for c in columns), strict=True
        ):
            if kind == PAY:
                self.ids.paid(key, at_ms, runner, amount, moment_ms + memory_ms)
            else:
                back += self._refund(key, runner, amount, moment_ms, span)
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
