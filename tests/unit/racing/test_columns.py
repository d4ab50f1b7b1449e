"""Packed records: what goes in comes out, exactly, and nothing else does."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.columns import Array, narrow, pack, unpack
from racing.errors import CorruptRecordError, NewerFormatError
from racing.formats import FORMAT
from tests.laws.logs import law

_INT64 = st.integers(-(2**63), 2**63 - 1)
_COLUMNS = st.dictionaries(
    st.text(max_size=6),
    st.one_of(
        st.lists(_INT64, max_size=9).map(lambda values: np.array(values, np.int64)),
        st.lists(st.integers(0, 255), max_size=9).map(lambda values: np.array(values, np.int64)),
        st.lists(st.integers(0, 2**64 - 1), max_size=9).map(lambda values: np.array(values, np.uint64)),
    ),
    max_size=4,
)
_HEADERS = st.dictionaries(
    st.text(max_size=6).filter(lambda name: name != "columns"),
    st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9) | st.none() | st.lists(st.booleans(), max_size=3),
    max_size=4,
)


def _record(head: Any, body: bytes = b"", *, version: int = FORMAT) -> bytes:
    """A record of any header with a sound checksum."""
    packed = msgspec.msgpack.encode(head)
    rest = struct.pack("<I", len(packed)) + packed + body
    return struct.pack("<BI", version, zlib.crc32(rest, version - 1)) + rest


@pytest.mark.parametrize("size", [0, 1, 8])
def test_a_record_shorter_than_its_prefix_is_refused(size: int) -> None:
    with pytest.raises(CorruptRecordError, match=f"{size} bytes is shorter"):
        unpack(pack({}, {})[:size])


def test_a_record_of_a_newer_version_is_refused_by_its_number() -> None:
    with pytest.raises(NewerFormatError, match=f"has format {FORMAT + 1}, this Saima reads up to {FORMAT}"):
        unpack(_record({"columns": []}, version=FORMAT + 1))


def test_a_wrong_byte_in_the_version_is_damage_and_not_a_newer_version() -> None:
    whole = pack({"a": 1}, {})
    for version in set(range(256)) - {FORMAT}:
        with pytest.raises(CorruptRecordError, match="checksum"):
            unpack(bytes([version]) + whole[1:])


def test_a_wrong_checksum_is_refused() -> None:
    record = bytearray(pack({"n": 1}, {"a": np.arange(5)}))
    record[-1] ^= 1

    with pytest.raises(CorruptRecordError, match="checksum"):
        unpack(bytes(record))


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_record_that_was_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(CorruptRecordError):
        unpack(pack({"n": 1}, {"a": np.arange(5) * 10**9})[:-cut])


@pytest.mark.parametrize(
    "head",
    [
        {},
        [],
        None,
        {"columns": None},
        {"columns": [1]},
        {"columns": [["a", "u1"]]},
        {"columns": [["a", "f8", 1]]},
        {"columns": [["a", "O", 1]]},
        {"columns": [["a", "u1", 2]]},
        {"columns": [["a", "u1", "1"]]},
        {"columns": [["a", "u8", 1]]},
        {"columns": [["a", "u1", -1]]},
        {"columns": [["a", "u1", 2**64 - 1]]},
        {"columns": [["a", ["u1"], 1]]},
    ],
    ids=str,
)
def test_a_header_that_does_not_describe_its_bytes_is_refused(head: Any) -> None:
    """Also under a sound checksum: some other writer's record must not become numbers."""
    with pytest.raises(CorruptRecordError, match="header"):
        unpack(_record(head, b"\x07"))


def test_a_header_nested_without_end_is_refused() -> None:
    rest = struct.pack("<I", 200_000) + b"\x91" * 200_000

    with pytest.raises(CorruptRecordError, match="header"):
        unpack(struct.pack("<BI", FORMAT, zlib.crc32(rest, FORMAT - 1)) + rest)


@law(100)
@given(_HEADERS, _COLUMNS)
def test_what_was_packed_is_unpacked(header: dict[str, Any], columns: dict[str, Array]) -> None:
    found_header, found = unpack(pack(header, columns))

    assert header == found_header
    assert {name: values.tolist() for name, values in columns.items()} == {
        name: values.tolist() for name, values in found.items()
    }


def test_columns_may_differ_in_length() -> None:
    _, columns = unpack(pack({}, {"a": np.arange(3), "b": np.arange(0), "c": np.arange(300)}))

    assert [3, 0, 300] == [len(columns[name]) for name in "abc"]


def test_unpacked_columns_cannot_be_written() -> None:
    """They share the record's memory."""
    _, columns = unpack(pack({}, {"a": np.arange(3)}))

    assert not columns["a"].flags.writeable


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([], "u1"),
        ([0, 255], "u1"),
        ([0, 256], "u2"),
        ([65_535], "u2"),
        ([65_536], "u4"),
        ([2**32 - 1], "u4"),
        ([2**32], "i8"),
        ([2**63 - 1], "i8"),
        ([-1, 5], "i4"),
        ([-(2**31), 2**31 - 1], "i4"),
        ([-(2**31) - 1], "i8"),
        ([-1, 2**31], "i8"),
    ],
    ids=str,
)
def test_integers_take_the_smallest_room_that_holds_them(values: list[int], dtype: str) -> None:
    narrowed = narrow(np.array(values, np.int64))

    assert dtype == narrowed.dtype.str[1:]
    assert values == narrowed.tolist()


def test_hashes_keep_their_eight_bytes() -> None:
    """They are spread over all 64 bits, so there is nothing to look for."""
    assert "u8" == narrow(np.array([1], np.uint64)).dtype.str[1:]
