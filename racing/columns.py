"""Packed columns: the one binary form of event batches and checkpoints.

A record is ``version u8 | crc32 u32 | header length u32 | header (msgpack) | columns``, little-endian; the checksum is
over all that follows it and begins with version - 1, so that a wrong byte in the version is not taken for a newer one.
The header names the columns, their dtypes and lengths, so a record can be read without knowing who wrote it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec
import numpy as np

from racing.errors import CorruptRecordError
from racing.formats import FORMAT, refuse_newer

_PREFIX = struct.Struct("<BI")
_LENGTH = struct.Struct("<I")
_DTYPES = {"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"}
_UNSIGNED = ((0xFF, "u1"), (0xFFFF, "u2"), (0xFFFFFFFF, "u4"))
_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(dict[str, Any]).decode

Array = np.ndarray[Any, np.dtype[Any]]


def narrow(values: Array) -> Array:
    """The same integers in the smallest little-endian dtype that holds them all; exact."""
    if values.dtype.kind != "i":
        return values
    if not len(values):
        return values.astype("u1")
    high = int(values.view(f"u{values.dtype.itemsize}").max())  # a number below 0 is huge here: one pass for both ends
    for bound, dtype in _UNSIGNED:
        if high <= bound:
            return values.astype(dtype)
    if values.dtype == np.int64 and high >= 2**63 and int(values.min()) >= -(2**31) and int(values.max()) < 2**31:
        return values.astype("i4")
    return values


def pack(header: dict[str, Any], columns: dict[str, Array]) -> bytes:
    """One record of integer columns, each narrowed; lengths may differ. Cost: O(bytes)."""
    narrowed = {name: narrow(values) for name, values in columns.items()}
    described = [[name, values.dtype.str[1:], len(values)] for name, values in narrowed.items()]
    head = _encode_header({**header, "columns": described})
    body = b"".join([_LENGTH.pack(len(head)), head, *(values.tobytes() for values in narrowed.values())])
    return _PREFIX.pack(FORMAT, zlib.crc32(body, FORMAT - 1)) + body


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and read-only columns of a record.

    Raises CorruptRecordError on any wrong byte, NewerFormatError on what a newer Saima has written.
    """
    if len(data) < _PREFIX.size + _LENGTH.size:
        raise CorruptRecordError(f"a record of {len(data)} bytes is shorter than its prefix")
    version, crc = _PREFIX.unpack_from(data)
    body = memoryview(data)[_PREFIX.size :]
    if version == 0 or zlib.crc32(body, version - 1) != crc:
        raise CorruptRecordError("a record's checksum does not match its bytes")
    refuse_newer("a record", version)
    head_end = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    try:
        header = _decode_header(body[_LENGTH.size : head_end])
        return header, _columns(header.pop("columns"), body[head_end:])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, msgspec.MsgspecError) as exc:
        raise CorruptRecordError(f"a record's header does not describe its bytes: {exc}") from exc


def checked_part(record: bytes) -> bytes:
    """Version, checksum and length of a sound record: two that share these are the same bytes. Cost: O(1)."""
    return record[: _PREFIX.size] + _LENGTH.pack(len(record))


def _columns(described: list[list[Any]], body: memoryview) -> dict[str, Array]:
    columns: dict[str, Array] = {}
    offset = 0
    for name, code, length in described:
        if code not in _DTYPES or length < 0:  # to numpy -1 means all that is left
            raise ValueError(f"no column is {length!r} of dtype {code!r}")
        columns[name] = np.frombuffer(body, dtype="<" + code, count=length, offset=offset)
        offset += columns[name].nbytes
    return columns
