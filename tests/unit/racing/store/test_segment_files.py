"""The form of segment files: bytes in, the same bytes out, or a refusal that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from racing.errors import StoreError
from racing.store.segment_files import (
    FORMAT,
    DamagedSegmentError,
    Header,
    RawEntry,
    read_segment,
    segments_of,
    write_segment,
)


def test_segment_of_a_newer_format_is_refused_by_its_number(tmp_path: Path) -> None:
    header = Header(format=FORMAT + 1, venue="hall-1", after="0-0", last="5-0", epoch=1)
    write_segment(tmp_path, header, None, [[(b"5-0", {b"tick": b"1"})]])
    with pytest.raises(StoreError, match=f"format {FORMAT + 1}, this Saima reads up to {FORMAT}"):
        read_segment(segments_of(tmp_path, "hall-1")[0])


def test_segment_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    header = Header(format=FORMAT, venue="hall-1", after="0-0", last="5-0", epoch=1)
    path = write_segment(tmp_path, header, None, [[(b"5-0", {b"tick": b"1"})]])
    path.rename(path.with_name(path.name.replace("5-", "6-")))
    with pytest.raises(DamagedSegmentError, match="not what it names"):
        read_segment(segments_of(tmp_path, "hall-1")[0])


def test_entries_come_back_byte_for_byte(tmp_path: Path) -> None:
    entries: list[list[RawEntry]] = [
        [(b"5-0", {b"events": b"\x00\xff", b"more": b""}), (b"5-1", {b"tick": b"1"})],
        [(b"7-0", {})],
    ]
    header = Header(format=FORMAT, venue="hall-1", after="4-9", last="7-0", epoch=3)
    write_segment(tmp_path, header, b"checkpoint", entries)
    segment = read_segment(segments_of(tmp_path, "hall-1")[0])
    assert list(segment.batches()) == entries
    assert segment.checkpoint == b"checkpoint"
    assert segment.header == header
