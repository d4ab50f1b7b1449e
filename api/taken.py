"""What becomes of the events of a batch: rows by field, columns of those that are taken, reasons for the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from racing.events import NO_TIME_MS, EventBatch, HashArray, hash_id, hash_user, table_of
from racing.model import IntArray

VALUE_MAX = 80
"""Characters of a wrong value that a reason shows."""


_NOTHING = {"ts_ms": frozenset({None, NO_TIME_MS}), "amount": frozenset({None, 0})}
"""What stands for no value, where it is not None alone."""


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event that is not taken: its place in the batch and why."""

    index: int
    code: str
    reason: str


class MalformedBatchError(Exception):
    """The body is no batch that can be taken; code says of which kind, the text why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Rows(NamedTuple):
    """Events by field, as EventIn names them: a list each, one element an event; None for what no event has.

    An event without a time has None or NO_TIME_MS there, one without an amount None or 0.
    """

    type: list[str]
    product: list[str]
    ts_ms: list[int | None] | None = None
    amount: list[int | None] | None = None
    user: list[str | None] | None = None
    quantity: list[int | None] | None = None
    id: list[str | None] | None = None
    source: list[str | None] | None = None
    segment: list[str | None] | None = None
    frame: list[int | None] | None = None
    slot: list[int | None] | None = None
    token: list[str | None] | None = None

    @classmethod
    def of(cls, events: Sequence[Any]) -> Rows:
        """Events turned around: of EventIn, or of a struct with some of its fields. Cost: a list a field."""
        if not events:
            return cls([], [])
        columns = {
            # As most events have no other fields: half of what attrgetter costs.
            "type": [event.type for event in events],
            "product": [event.product for event in events],
            "ts_ms": [event.ts_ms for event in events],
            "amount": [event.amount for event in events],
        }
        for name in events[0].__struct_fields__[len(columns) :]:
            columns[name] = list(map(attrgetter(name), events))
        said: dict[str, Any] = {name: column if _says(name, column) else None for name, column in columns.items()}
        return cls(**said)

    def only(self, places: Sequence[int]) -> Rows:
        """The events at these places."""
        columns: list[Any] = [column and [column[place] for place in places] for column in self]
        return Rows(*columns)


def _says(name: str, column: list[Any]) -> bool:
    """Whether an event has a value there. Cost: next to nothing where the first one has."""
    nothing = _NOTHING.get(name)
    if nothing is None:
        return column[0] is not None or column.count(None) < len(column)
    return not nothing.issuperset(column)


def _end_to_end(columns: Sequence[list[Any] | None], sizes: Sequence[int]) -> list[Any] | None:
    """A column of several batches of these sizes; None where none has it."""
    if columns.count(None) == len(columns):
        return None
    pairs = zip(columns, sizes, strict=True)
    return list(chain.from_iterable([None] * size if column is None else column for column, size in pairs))


class Decoded(msgspec.Struct):
    """The well-formed events of a batch with their places in it, and the refused ones."""

    rows: Rows
    places: Sequence[int]
    refused: list[RefusedEvent] = []


class Taken(msgspec.Struct, frozen=True):
    """Events that are taken, in order. kind: an index into kinds a byte; runners: int64 (n,), enrolment numbers."""

    rows: Rows
    kinds: tuple[str, ...]
    kind: bytes
    runners: IntArray

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def joined(cls, parts: Sequence[Taken]) -> Taken:
        """The events of several batches, taken under the same kinds, as those of one; kind and runners tell whose."""
        if len(parts) == 1:
            return parts[0]
        sizes = [len(part) for part in parts]
        columns: list[Any] = [
            _end_to_end(several, sizes) for several in zip(*(part.rows[2:] for part in parts), strict=True)
        ]
        rows = Rows([], [], *columns)
        runners = np.concatenate([part.runners for part in parts])
        return cls(rows, parts[0].kinds, b"".join([part.kind for part in parts]), runners)

    def named(self) -> list[tuple[str, str]]:
        """(kind, id) of the events that have an id."""
        if self.rows.id is None:
            return []
        pairs = zip(self.kind, self.rows.id, strict=True)
        return [(self.kinds[kind], name) for kind, name in pairs if name is not None]

    def batch(self, secret: bytes) -> EventBatch:
        """The events as columns; users hashed under the deployment's secret."""
        rows = self.rows
        source, sources = table_of(rows.source)
        segment, segments = table_of(rows.segment)
        return EventBatch(
            kinds=self.kinds,
            kind=np.frombuffer(self.kind, np.uint8),
            runner=self.runners,
            time_ms=given_column(rows.ts_ms, NO_TIME_MS),
            amount=given_column(rows.amount),
            quantity=given_column(rows.quantity),
            slot=given_column(rows.slot),
            frame=given_column(rows.frame),
            id_hash=id_column(rows.id),
            user_hash=user_column(rows.user, secret),
            source=source,
            sources=sources,
            segment=segment,
            segments=segments,
        )


def given_column(values: Sequence[int | None] | None, absent: int = 0) -> IntArray | None:
    """Numbers as a column, absent where there is none."""
    if values is None:
        return None
    given: Any = values
    with suppress(TypeError):  # a None among them
        return np.fromiter(given, np.int64, len(values))
    return np.array([absent if value is None else value for value in values], np.int64)


def id_column(ids: Sequence[str | None] | None) -> HashArray | None:
    """Ids as hashes, 0 where there is none."""
    if ids is None:
        return None
    return np.array([0 if each is None else hash_id("id", each) for each in ids], np.uint64)


def user_column(users: Sequence[str | None] | None, secret: bytes) -> HashArray | None:
    """Users as keyed hashes, 0 where there is none."""
    if users is None:
        return None
    return np.array([0 if each is None else hash_user(secret, each) for each in users], np.uint64)
