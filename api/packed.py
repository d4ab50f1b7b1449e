"""Packed event batches: one msgpack map of columns, for senders that have thousands of events a second.

msgpack, because every language has a library for it and its ``bin`` type carries an array as it lies in memory:
``numpy.ndarray.tobytes()`` here, a typed array's buffer elsewhere, little-endian. Arrow IPC carries the same columns,
but its library weighs 100 MB at the sender.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from api.ingest import (
    AMOUNT_MAX,
    KIND_MAX,
    TIME_MAX_MS,
    USER_MAX,
    Door,
    MalformedBatchError,
    RefusedEvent,
    id_column,
    is_id,
    is_user,
    user_column,
)
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS, EventBatch
from racing.model import IntArray

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
    """The columns of a packed body, checked against each other: int64 (n,) each."""

    kinds: list[str]
    products: list[str]
    kind: IntArray
    product: IntArray
    ts_ms: IntArray
    amount: IntArray | None
    ids: list[str | None] | None
    users: list[str | None] | None

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class PackedTaken:
    """Events that are taken, as columns; runner: enrolment numbers, time_ms as in EventBatch."""

    kinds: tuple[str, ...]
    kind: IntArray
    runner: IntArray
    time_ms: IntArray
    amount: IntArray | None
    ids: list[str | None]
    users: list[str | None]

    def __len__(self) -> int:
        return len(self.kind)

    def named(self) -> list[tuple[str, str]]:
        """(kind, id) of the events that have an id."""
        pairs = zip(self.kind.tolist(), self.ids, strict=False)  # no ids at all, or one an event
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
        ts_ms=np.full(size, -1) if came.ts_ms is None else _array("ts_ms", came.ts_ms, "<i8", size),
        amount=None if came.amount is None else _array("amount", came.amount, "<i8", size),
        ids=came.ids,
        users=came.users,
    )


def _array(name: str, data: bytes, dtype: str, size: int | None = None) -> IntArray:
    width = np.dtype(dtype).itemsize
    if len(data) % width or (size is not None and len(data) != size * width):
        wanted = f"a multiple of {width}" if size is None else f"{size * width} ({size} events of {width})"
        raise MalformedBatchError("invalid", f"{name}: must be {wanted} bytes, not {len(data)}")
    return np.frombuffer(data, dtype=dtype).astype(np.int64)


def _index(name: str, index: IntArray, table: list[str]) -> IntArray:
    if int(index.max()) >= len(table):
        raise MalformedBatchError("invalid", f"{name}: {int(index.max())} is outside a table of {len(table)}")
    return index


def sort_out_packed(came: PackedColumns, door: Door) -> tuple[PackedTaken, list[RefusedEvent]]:
    """The events that are taken, in order, and all that are refused, by index; the same door as for JSON."""
    runner = np.array([door.numbers.get(product, -1) for product in came.products], np.int64)[came.product]
    known = np.array([kind in door.kinds for kind in came.kinds])[came.kind]
    first_ms, last_ms = door.times_ms()
    timely = (came.ts_ms == -1) | ((came.ts_ms >= first_ms) & (came.ts_ms <= last_ms))
    good = (runner >= 0) & known & timely
    if came.amount is not None:
        good &= (came.amount >= 0) & (came.amount <= AMOUNT_MAX)
    for texts, fits in ((came.ids, is_id), (came.users, is_user)):
        if texts is not None:
            good &= np.array([text is None or fits(text) for text in texts])
    refused = [RefusedEvent(index, *_why(came, door, index)) for index in np.flatnonzero(~good).tolist()]
    time_ms = np.where(came.ts_ms == -1, NO_TIME_MS, came.ts_ms)
    kept = good.tolist() if refused else None
    kinds, kind = _occurring(came.kinds, came.kind[good], door)
    taken = PackedTaken(
        kinds=kinds,
        kind=kind,
        runner=runner[good],
        time_ms=time_ms[good],
        amount=None if came.amount is None else came.amount[good],
        ids=_kept(came.ids, kept),
        users=_kept(came.users, kept),
    )
    return taken, refused


def _occurring(kinds: list[str], kind: IntArray, door: Door) -> tuple[tuple[str, ...], IntArray]:
    """A table without unknown kinds: the race would keep measures for each one that it meets, and has few to give."""
    if set(kinds) <= door.kinds:
        return tuple(kinds), kind
    codes, index = np.unique(kind, return_inverse=True)
    return tuple(kinds[code] for code in codes.tolist()), index


def _kept(texts: list[str | None] | None, kept: list[bool] | None) -> list[str | None]:
    if texts is None:
        return []
    return texts if kept is None else [text for text, good in zip(texts, kept, strict=True) if good]


def _why(came: PackedColumns, door: Door, index: int) -> tuple[str, str]:
    kind, product, ts_ms = came.kinds[came.kind[index]], came.products[came.product[index]], int(came.ts_ms[index])
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
        return f"users: must be a text of 1 to {USER_MAX} characters, not {user[:80]!r}"
    return None
