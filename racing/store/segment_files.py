"""Segment files: a stretch of a venue's log with the state at its start, outliving Redis.

A file of blocks (racing/store/blocks.py): first the header (JSON), then the checkpoint record if the stretch does not
begin with the log itself, then entries (msgpack of (id, fields) pairs, deflated), and last the decisions among them
once more, to be read without the events. Nothing else of a file is given out before its digest was found right.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from racing.entries import DECISION_FIELD
from racing.errors import StoreError
from racing.model import START, Position
from racing.store.blocks import Block, DamagedFileError, files_in, read_blocks, read_blocks_of, write_blocks

FORMAT = 1
"""Version of this form; a file of a newer one is refused."""
_MAGIC = b"SAIMASEG"
_HEADER, _CHECKPOINT, _ENTRIES, _DECISIONS = b"H", b"C", b"E", b"D"
_LEVEL = 3
"""Of deflate: packed columns gain little from more."""
_NAME = re.compile(r"(\d{15})-(\d{10})_(\d{15})-(\d{10})_(\d+)\.seg")

RawEntry = tuple[bytes, dict[bytes, bytes]]
"""A stream id and its fields, as Redis gives them."""


class DamagedSegmentError(DamagedFileError):
    """A segment file that is not what was written: its name is in the message, nothing of it may be used."""


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself. It holds the entries after ``after``, up to and with ``last``."""

    format: int
    venue: str
    after: str
    last: str
    epoch: int


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """A segment as its file name tells it, ordered by where it begins."""

    after: Position
    last: Position
    epoch: int
    path: Path

    @classmethod
    def of(cls, path: Path) -> SegmentName | None:
        """The segment that a path names; None for any other file."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        after_ms, after_seq, last_ms, last_seq, epoch = map(int, match.groups())
        return cls(Position(after_ms, after_seq), Position(last_ms, last_seq), epoch, path)


def venue_folder(folder: Path, venue: str) -> Path:
    """Where the segments of a venue lie. Deleting a venue's past is deleting this folder."""
    return folder / f"venue-{venue}"


def segments_of(folder: Path, venue: str) -> list[SegmentName]:
    """The segments of a venue by name, oldest first; their bytes are not looked at. Raises StoreError."""
    return sorted(name for path in files_in(venue_folder(folder, venue)) if (name := SegmentName.of(path)) is not None)


def archived_until(folder: Path, venue: str) -> Position:
    """The position up to which segments exist; START without any. Raises StoreError."""
    return max((name.last for name in segments_of(folder, venue)), default=START)


# -- writing -------------------------------------------------------------------------------------------------


def write_segment(folder: Path, header: Header, checkpoint: bytes | None, batches: Iterable[list[RawEntry]]) -> Path:
    """Write one segment; when this returns, it is on the disk under its name. Raises OSError, leaving no file.

    Writing the same stretch again replaces an equal file, or stands beside that of another epoch.
    """
    return write_segment_blocks(folder, header, _body(checkpoint, batches))


def write_segment_blocks(folder: Path, header: Header, body: Iterable[Block]) -> Path:
    """write_segment of a body that is in blocks already: those of another segment."""
    home = venue_folder(folder, header.venue)
    home.mkdir(parents=True, exist_ok=True)
    after, last = Position.parse(header.after), Position.parse(header.last)
    path = home / f"{_named(after)}_{_named(last)}_{header.epoch}.seg"
    write_blocks(path, _MAGIC, _with_header(header, body))
    return path


def _named(position: Position) -> str:
    return f"{position.ms:015d}-{position.seq:010d}"


def _with_header(header: Header, body: Iterable[Block]) -> Iterator[Block]:
    yield _HEADER, msgspec.json.encode(header)
    yield from body


def _body(checkpoint: bytes | None, batches: Iterable[list[RawEntry]]) -> Iterator[Block]:
    if checkpoint is not None:
        yield _CHECKPOINT, checkpoint
    decisions: list[RawEntry] = []
    for batch in batches:
        yield _ENTRIES, pack_entries(batch)
        decisions += [entry for entry in batch if DECISION_FIELD in entry[1]]
    yield _DECISIONS, pack_entries(decisions)


def pack_entries(batch: list[RawEntry]) -> bytes:
    """Raw entries as the bytes of a block."""
    rows = [(name, list(fields.items())) for name, fields in batch]
    return zlib.compress(msgspec.msgpack.encode(rows), _LEVEL)


# -- reading -------------------------------------------------------------------------------------------------

_decode_header = msgspec.json.Decoder(Header).decode
_decode_rows = msgspec.msgpack.Decoder(list[tuple[bytes, list[tuple[bytes, bytes]]]]).decode


def unpack_entries(block: bytes) -> list[RawEntry]:
    """What pack_entries took. Raises DamagedFileError, which names no file."""
    try:
        return [(name, dict(fields)) for name, fields in _decode_rows(zlib.decompress(block))]
    except (zlib.error, msgspec.MsgspecError) as exc:
        raise DamagedFileError(f"entries that cannot be decoded: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was found sound as a whole."""

    name: SegmentName
    header: Header
    body: list[Block]

    @property
    def checkpoint(self) -> bytes | None:
        """The state at its start; None where it begins with the log itself."""
        return next((data for kind, data in self.body if kind == _CHECKPOINT), None)

    def batches(self) -> Iterator[list[RawEntry]]:
        """Its entries in log order, a block at a time. Raises DamagedSegmentError."""
        for kind, block in self.body:
            if kind == _ENTRIES:
                try:
                    yield unpack_entries(block)
                except DamagedFileError as exc:
                    raise _damaged(self.name.path, str(exc)) from exc


def read_segment(name: SegmentName) -> Segment:
    """A segment, checked byte by byte. Raises DamagedSegmentError, and StoreError for a newer form.

    Cost: the file's bytes in memory, one pass over them.
    """
    path = name.path
    try:
        header, body = _sound(path)
    except DamagedFileError as exc:
        raise _damaged(path, str(exc)) from exc
    if (header.after, header.last, header.epoch) != (str(name.after), str(name.last), name.epoch):
        raise _damaged(path, f"it holds {header.after} to {header.last} of epoch {header.epoch}, not what it names")
    return Segment(name, header, body)


def decisions_of(name: SegmentName) -> list[RawEntry]:
    """The decisions of a segment; its events are passed over unread. Raises DamagedSegmentError.

    Cost: a seek for each 512 entries, and the decisions in memory. A file that has no such block is read whole.
    """
    try:
        blocks = list(read_blocks_of(name.path, _MAGIC, _DECISIONS))
        if blocks:
            return [entry for block in blocks for entry in unpack_entries(block)]
    except DamagedFileError as exc:
        raise _damaged(name.path, str(exc)) from exc
    batches = read_segment(name).batches()
    return [entry for batch in batches for entry in batch if DECISION_FIELD in entry[1]]


def _sound(path: Path) -> tuple[Header, list[Block]]:
    """The header and the other blocks of a file that is right to its last byte. Raises DamagedFileError."""
    blocks = read_blocks(path, _MAGIC)
    kind, data = next(blocks, (b"", b""))
    if kind != _HEADER:
        raise DamagedFileError("no header")
    header = _header_of(path, data)
    body = list(blocks)
    if any(kind not in {_CHECKPOINT, _ENTRIES, _DECISIONS} for kind, _ in body):
        raise DamagedFileError("a block of an unknown kind")
    return header, body


def _header_of(path: Path, data: bytes) -> Header:
    try:
        found: int = msgspec.json.decode(data)["format"]
        if found > FORMAT:
            raise StoreError(
                f"segment {str(path)!r} has format {found}, this Saima reads up to {FORMAT}: read it with a newer one"
            )
        return _decode_header(data)
    except (msgspec.MsgspecError, KeyError, TypeError) as exc:
        raise DamagedFileError(f"a header that cannot be decoded: {exc}") from exc


def _damaged(path: Path, how: str) -> DamagedSegmentError:
    return DamagedSegmentError(
        f"segment {str(path)!r} is damaged ({how}): put back a copy of it, or move it away to go without its entries"
    )
