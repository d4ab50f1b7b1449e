"""Event columns: one batch of events as arrays, how it is packed, and other vocabularies' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from racing.columns import Array, pack, unpack
from racing.errors import CorruptRecordError
from racing.model import IntArray

NO_TIME_MS = 2**62
"""Stands for "at arrival": the fold takes min(event time, moment of its entry)."""

ALIASES = {
    "pv": "click",
    "view": "click",
    "view_item": "click",
    "select_item": "click",
    "fav": "favorite",
    "add_to_wishlist": "favorite",
    "addtocart": "cart",
    "add_to_cart": "cart",
    "buy": "pay",
    "transaction": "pay",
    "purchase": "pay",
    "view_item_list": "impression",
    "exposure": "impression",
}
"""Event kinds of other vocabularies in event files (Taobao, Google Analytics 4, RetailRocket)."""

HashArray = npt.NDArray[np.uint64]


def hash_id(kind: str, text: str) -> int:
    """64-bit name of an event id within its kind, never 0, the same in every process.

    Two different ids among ten million share it with probability 3e-6 (birthday bound).
    """
    return int.from_bytes(blake2b(f"{kind}\0{text}".encode(), digest_size=8).digest(), "little") or 1


def hash_user(secret: bytes, user: str) -> int:
    """64-bit keyed hash of a user id, never 0: all that is ever stored of a user."""
    return int.from_bytes(blake2b(user.encode(), digest_size=8, key=secret).digest(), "little") or 1


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one log entry as columns of one length.

    kinds: names; kind: index into kinds, (n,). runner: enrolment number. time_ms: event time or
    NO_TIME_MS. amount: minor units, 0 where absent. Hashes: 0 where absent. The columns after runner
    are None where no event of the batch has them; sources and segments are tables like kinds,
    with index 0 for "absent". Columns are integers >= 0 of whatever dtype holds them: an unpacked batch
    has them as they lie in its bytes, read-only.
    """

    kinds: tuple[str, ...]
    kind: IntArray
    runner: IntArray
    time_ms: IntArray | None = None
    amount: IntArray | None = None
    id_hash: HashArray | None = None
    user_hash: HashArray | None = None
    quantity: IntArray | None = None
    slot: IntArray | None = None
    frame: IntArray | None = None
    source: IntArray | None = None
    segment: IntArray | None = None
    sources: tuple[str, ...] = field(default=())
    segments: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.kind)

    def pack(self) -> bytes:
        """The batch as one log entry; times are kept relative to the earliest one."""
        base_ms = 0
        columns: dict[str, Array] = {"kind": self.kind, "runner": self.runner}
        if self.time_ms is not None and len(self) and (earliest_ms := int(self.time_ms.min())) < NO_TIME_MS:
            base_ms = earliest_ms
            # 0 says "at arrival", so that a batch without times carries no column at all
            columns["time"] = self.time_ms - (base_ms - 1)
            if int(self.time_ms.max()) == NO_TIME_MS:
                columns["time"][self.time_ms == NO_TIME_MS] = 0
        for name in _OPTIONAL:
            column = getattr(self, name)
            if column is not None and column.any():
                columns[name] = column
        header = {"n": len(self), "base_ms": base_ms, "kinds": self.kinds}
        for name in ("sources", "segments"):
            if getattr(self, name):
                header[name] = getattr(self, name)
        return pack(header, columns)

    @classmethod
    def unpack(cls, data: bytes) -> EventBatch:
        """The batch that was packed. Raises CorruptRecordError."""
        header, columns = unpack(data)
        try:
            return cls._from_record(header, columns)
        except (KeyError, TypeError, ValueError) as exc:
            raise CorruptRecordError(f"not an event batch: {exc!r}") from exc

    @classmethod
    def _from_record(cls, header: dict[str, Any], columns: dict[str, Array]) -> EventBatch:
        size, base_ms, kinds = header["n"], header["base_ms"], header["kinds"]
        if not isinstance(size, int) or not isinstance(base_ms, int) or not isinstance(kinds, list):
            raise TypeError("header fields of other types")
        if any(len(column) != size for column in columns.values()):
            raise ValueError("columns of different lengths")
        if size and not all(_natural(name, column) for name, column in columns.items()):
            raise ValueError("a number below 0 or beyond 63 bits")
        if size and int(columns["kind"].max()) >= len(kinds):
            raise ValueError("a kind outside the batch's own table")
        if abs(base_ms) > NO_TIME_MS:
            raise ValueError("a time beyond all times")
        optional: dict[str, Any] = {name: columns[name] for name in _OPTIONAL if name in columns}
        for column, table in (("source", "sources"), ("segment", "segments")):
            if table in header:
                optional[table] = tuple(map(str, header[table]))
            if size and column in columns and int(columns[column].max()) > len(optional.get(table, ())):
                raise ValueError(f"a {column} outside the batch's own table")
        if "time" in columns:
            time = columns["time"].astype(np.int64)
            optional["time_ms"] = np.where(time == 0, NO_TIME_MS, time - 1 + base_ms)
        return cls(kinds=tuple(map(str, kinds)), kind=columns["kind"], runner=columns["runner"], **optional)


def _natural(name: str, column: Array) -> bool:
    """Whether all numbers are from 0 to 2**63 - 1; hashes may have all 64 bits. Narrow columns cost nothing."""
    if column.dtype.kind == "i":
        return int(column.min()) >= 0
    return column.dtype.itemsize < 8 or name.endswith("hash") or int(column.max()) < 2**63  # noqa: PLR2004  # bytes of int64


_OPTIONAL = tuple(
    f.name for f in fields(EventBatch) if f.name not in {"kinds", "kind", "runner", "time_ms", "sources", "segments"}
)


def table_of(values: Sequence[str | None] | None) -> tuple[IntArray | None, tuple[str, ...]]:
    """Indexes into a table of the distinct strings, 0 for None; (None, ()) where all are None, or none are given."""
    if values is None or not any(values):
        return None, ()
    codes = _Codes({None: 0})
    index = list(map(codes.__getitem__, values))
    names = tuple(name for name in codes if name is not None)
    return np.frombuffer(bytes(index), np.uint8) if len(codes) <= _BYTES else np.array(index), names


_BYTES = 256
"""Values of a byte: with no more, a table's indexes are made in half the time."""


class _Codes(dict[str | None, int]):
    """A code for each text, in the order in which they are asked for."""

    def __missing__(self, text: str | None) -> int:
        code = self[text] = len(self)
        return code
