"""Packed event batches: one msgpack map of columns, for senders that have thousands of events a second.

msgpack, because every language has a library for it and its ``bin`` type carries an array as it lies in memory:
``numpy.ndarray.tobytes()`` here, a typed array's buffer elsewhere, little-endian. Arrow IPC carries the same columns,
but its library weighs 100 MB at the sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from api.door import Door
from api.ingest import NOT_REPEATED
from api.sent_events import AMOUNT_MAX, KIND_MAX, TIME_MAX_MS, USER_MAX, is_id, is_user
from api.taken import MalformedBatchError, RefusedEvent, id_column, user_column
from racing.columns import Array
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS, EventBatch
from racing.model import IntArray

Mask = npt.NDArray[np.bool_]

MEDIA_TYPE = "application/vnd.msgpack"

_Column = Annotated[bytes, Meta(description="array, little-endian, one element an event")]


class PackedIn(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as columns. Per event: kind (uint8 index into kinds) and product (uint32 index into products)."""

    kinds: Annotated[list[str], Meta(min_length=1, max_length=64, description="event kinds that occur")]
    products: Annotated[list[str], Meta(min_length=1, description="products that occur, each once")]
    kind: _Column
    product: _Column
    ts_ms: Annotated[bytes | None, Meta(description="int64; -1 or a missing column: at arrival")] = None
    amount: Annotated[bytes | None, Meta(description="int64, minor units; 0 or a missing column: none")] = None
    ids: Annotated[list[str | None] | None, Meta(description="event ids, one an event")] = None
    users: Annotated[list[str | None] | None, Meta(description="user ids, one an event")] = None


@dataclass(frozen=True, slots=True)
class PackedColumns:
    """The columns of a packed body, checked against each other: (n,) each, as they lie in it; None where missing."""

    kinds: list[str]
    products: list[str]
    kind: Array
    product: Array
    ts_ms: IntArray | None
    amount: IntArray | None
    ids: list[str | None] | None
    users: list[str | None] | None

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class PackedTaken:
    """Events that are taken, as columns; runner: enrolment numbers, time_ms as in EventBatch."""

    kinds: tuple[str, ...]
    kind: Array
    runner: IntArray
    time_ms: IntArray | None = None
    amount: IntArray | None = None
    ids: list[str | None] | None = None
    users: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def joined(cls, parts: Sequence[PackedTaken]) -> PackedTaken:
        """The events of several batches, taken under the same kinds, as those of one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            parts[0].kinds,
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.runner for part in parts]),
            _end_to_end([part.time_ms for part in parts], parts, NO_TIME_MS),
            _end_to_end([part.amount for part in parts], parts, 0),
            _chained([part.ids for part in parts], parts),
            _chained([part.users for part in parts], parts),
        )

    def named(self) -> list[tuple[str, str]]:
        """(kind, id) of the events that have an id."""
        if self.ids is None:
            return []
        pairs = zip(self.kind.tolist(), self.ids, strict=True)
        return [(self.kinds[kind], each) for kind, each in pairs if each is not None]

    def batch(self, secret: bytes) -> EventBatch:
        """The events as a log entry's batch; users hashed under the deployment's secret."""
        return EventBatch(
            kinds=self.kinds,
            kind=self.kind,
            runner=self.runner,
            time_ms=self.time_ms,
            amount=self.amount,
            id_hash=id_column(self.ids),
            user_hash=user_column(self.users, secret),
        )


def _end_to_end(columns: Sequence[IntArray | None], parts: Sequence[PackedTaken], absent: int) -> IntArray | None:
    if all(column is None for column in columns):
        return None
    pairs = zip(columns, parts, strict=True)
    return np.concatenate([np.full(len(part), absent) if column is None else column for column, part in pairs])


def _chained(columns: Sequence[list[str | None] | None], parts: Sequence[PackedTaken]) -> list[str | None] | None:
    if all(column is None for column in columns):
        return None
    pairs = zip(columns, parts, strict=True)
    return list(chain.from_iterable([None] * len(part) if column is None else column for column, part in pairs))


def packed_schemas(ref_template: str) -> dict[str, Any]:
    """JSON Schema of a packed batch; its columns are msgpack's bin, shown as binary texts."""
    _, schemas = msgspec.json.schema_components((PackedIn,), ref_template=ref_template)
    for schema in schemas["PackedIn"]["properties"].values():
        for part in (schema, *schema.get("anyOf", ())):
            if part.pop("contentEncoding", None):
                part["format"] = "binary"
    return schemas


_decode = msgspec.msgpack.Decoder(PackedIn).decode


def decode_packed(body: bytes, *, events_max: int) -> PackedColumns:
    """The columns of a packed batch. MalformedBatchError where it is none, too long, or its columns do not fit."""
    try:
        came = _decode(body)
    except msgspec.ValidationError as exc:
        raise MalformedBatchError("invalid", f"the body must be a map of columns: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MalformedBatchError("malformed", f"the body is not msgpack: {exc}") from exc
    kind = _array("kind", came.kind, "<u1")
    size = len(kind)
    if not 1 <= size <= events_max:
        code = "too_large" if size else "invalid"
        raise MalformedBatchError(code, f"kind: a batch of {size} events; send 1 to {events_max}")
    if len(came.products) > events_max:  # each is looked up
        told = f"products: a table of {len(came.products)}; send at most {events_max}"
        raise MalformedBatchError("too_large", told)
    for name in ("ids", "users"):
        texts = getattr(came, name)
        if texts is not None and len(texts) != size:
            raise MalformedBatchError("invalid", f"{name}: must have {size} elements, one an event, not {len(texts)}")
    return PackedColumns(
        kinds=came.kinds,
        products=came.products,
        kind=_index("kind", kind, came.kinds),
        product=_index("product", _array("product", came.product, "<u4", size), came.products),
        ts_ms=None if came.ts_ms is None else _array("ts_ms", came.ts_ms, "<i8", size),
        amount=None if came.amount is None else _array("amount", came.amount, "<i8", size),
        ids=came.ids,
        users=came.users,
    )


def _array(name: str, data: bytes, dtype: str, size: int | None = None) -> Array:
    width = np.dtype(dtype).itemsize
    if len(data) % width or (size is not None and len(data) != size * width):
        wanted = f"a multiple of {width}" if size is None else f"{size * width} ({size} events of {width})"
        raise MalformedBatchError("invalid", f"{name}: must be {wanted} bytes, not {len(data)}")
    return np.frombuffer(data, dtype=dtype)


def _index(name: str, index: Array, table: list[str]) -> Array:
    if int(index.max()) >= len(table):
        raise MalformedBatchError("invalid", f"{name}: {int(index.max())} is outside a table of {len(table)}")
    return index


def sort_out_packed(came: PackedColumns, door: Door) -> tuple[PackedTaken, list[RefusedEvent]]:
    """The events that are taken, in order, and all that are refused, by index; the same door as for JSON."""
    tables = _tables(came, door)
    good = _good(came, door, *tables)
    refused = [RefusedEvent(index, *_why(came, door, index)) for index in np.flatnonzero(~good).tolist()]
    return _taken(came, door, *tables, good), refused


def take_packed(came: PackedColumns, door: Door) -> PackedTaken | None:
    """All events of a batch; None if one is to be refused."""
    numbers, codes = _tables(came, door)
    if came.ts_ms is None and came.ids is None and came.users is None:  # then tables and ends tell all
        amounts = came.amount is None or (int(came.amount.min()) >= 0 and int(came.amount.max()) <= AMOUNT_MAX)
        whole = amounts and int(numbers.min()) >= 0 and int(codes.min()) >= 0
    else:
        whole = bool(_good(came, door, numbers, codes).all())
    return _taken(came, door, numbers, codes) if whole else None


def _tables(came: PackedColumns, door: Door) -> tuple[IntArray, IntArray]:
    """(runner numbers by product, codes by kind), -1 for an unknown one."""
    numbers = np.fromiter(map(door.numbers.get, came.products, repeat(-1)), np.int64, len(came.products))
    return numbers, np.array([door.kinds.get(kind, -1) for kind in came.kinds])


def _taken(
    came: PackedColumns, door: Door, numbers: IntArray, codes: IntArray, good: Mask | None = None
) -> PackedTaken:
    """The good events, or all of them."""
    kind, runner = codes.astype(np.uint8)[came.kind], numbers[came.product]
    time_ms = None if came.ts_ms is None else np.where(came.ts_ms == -1, NO_TIME_MS, came.ts_ms)
    kinds = tuple(door.kinds)
    if good is None or good.all():
        return PackedTaken(kinds, kind, runner, time_ms, came.amount, came.ids, came.users)
    kept = good.tolist()
    return PackedTaken(
        kinds,
        kind[good],
        runner[good],
        None if time_ms is None else time_ms[good],
        None if came.amount is None else came.amount[good],
        *(None if texts is None else list(compress(texts, kept)) for texts in (came.ids, came.users)),
    )


def _good(came: PackedColumns, door: Door, numbers: IntArray, codes: IntArray) -> Mask:
    """Event by event, whether it is taken."""
    good: Mask = (numbers[came.product] >= 0) & (codes[came.kind] >= 0)
    if came.ts_ms is not None:
        first_ms, last_ms = door.times_ms()
        good &= (came.ts_ms == -1) | ((came.ts_ms >= first_ms) & (came.ts_ms <= last_ms))
    if came.amount is not None:
        good &= (came.amount >= 0) & (came.amount <= AMOUNT_MAX)
    for texts, fits in ((came.ids, is_id), (came.users, is_user)):
        if texts is not None:
            good &= np.array([text is None or fits(text) for text in texts])
    return good


def _why(came: PackedColumns, door: Door, index: int) -> tuple[str, str]:
    kind, product = came.kinds[came.kind[index]], came.products[came.product[index]]
    ts_ms = -1 if came.ts_ms is None else int(came.ts_ms[index])
    wrong = _wrong(came, index, kind, ts_ms)
    if wrong is not None:
        return "invalid", wrong
    why = door.why(kind, product, None if ts_ms == -1 else ts_ms)
    assert why is not None, "an event that is refused is so for a reason"
    return why


def _wrong(came: PackedColumns, index: int, kind: str, ts_ms: int) -> str | None:
    """The first field of an event that has not the form it must have, in words; a wrong form goes before all else."""
    if not 1 <= len(kind) <= KIND_MAX:
        return f"kinds: must be a text of 1 to {KIND_MAX} characters, not {kind[:80]!r}"
    if not -1 <= ts_ms <= TIME_MAX_MS:
        return f"ts_ms: must be -1 (at arrival) or a time in ms up to {TIME_MAX_MS}, not {ts_ms}"
    amount = 0 if came.amount is None else int(came.amount[index])
    if not 0 <= amount <= AMOUNT_MAX:
        return f"amount: must be a whole number from 0 to {AMOUNT_MAX}, not {amount}"
    name = None if came.ids is None else came.ids[index]
    if name is not None and not is_id(name):
        return f"ids: {ID_WORDS}, not {name[:80]!r}"
    user = None if came.users is None else came.users[index]
    if user is not None and not is_user(user):
        return f"users: must be a text of 1 to {USER_MAX} characters{NOT_REPEATED}"
    return None
