"""Segment files: a stretch of a venue's log with the state at its start, outliving Redis.

``magic 8 bytes | block ...``, a block being ``kind 1 byte | length u32 | crc32 u32 | bytes``, little-endian. The
first block is the header (JSON), then the checkpoint record if the stretch does not begin with the log itself, then
entries (msgpack of (id, fields) pairs, deflated), and last a blake2b of every byte before. Nothing of a file is given
out before that digest was found right. A file appears under its name only when it is complete and on the disk.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from racing.errors import StoreError
from racing.model import START, Position

FORMAT = 1
"""Version of this form; a file of a newer one is refused."""
_MAGIC = b"SAIMASEG"
_BLOCK = struct.Struct("<cII")
_HEADER, _CHECKPOINT, _ENTRIES, _END = b"H", b"C", b"E", b"Z"
_DIGEST_BYTES = 32
_LEVEL = 3
"""Of deflate: packed columns gain little from more."""
_NAME = re.compile(r"(\d{15})-(\d{10})_(\d{15})-(\d{10})_(\d+)\.seg")

RawEntry = tuple[bytes, dict[bytes, bytes]]
"""A stream id and its fields, as Redis gives them."""


class DamagedSegmentError(StoreError):
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
    try:
        paths = list(venue_folder(folder, venue).iterdir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise StoreError(f"segments folder {str(folder)!r} cannot be read: {exc.strerror}") from exc
    return sorted(name for path in paths if (name := SegmentName.of(path)) is not None)


def archived_until(folder: Path, venue: str) -> Position:
    """The position up to which segments exist; START without any. Raises StoreError."""
    return max((name.last for name in segments_of(folder, venue)), default=START)


# -- writing -------------------------------------------------------------------------------------------------


def write_segment(folder: Path, header: Header, checkpoint: bytes | None, batches: Iterable[list[RawEntry]]) -> Path:
    """Write one segment; when this returns, it is on the disk under its name. Raises OSError, leaving no file.

    Writing the same stretch again replaces an equal file, or stands beside that of another epoch.
    """
    home = venue_folder(folder, header.venue)
    home.mkdir(parents=True, exist_ok=True)
    after, last = Position.parse(header.after), Position.parse(header.last)
    path = home / f"{_named(after)}_{_named(last)}_{header.epoch}.seg"
    waiting = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with waiting.open("wb") as file:
            for part in _parts(header, checkpoint, batches):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    except BaseException:
        with suppress(OSError):
            waiting.unlink()
        raise
    _sync_folder(home)
    return path


def _named(position: Position) -> str:
    return f"{position.ms:015d}-{position.seq:010d}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(header: Header, checkpoint: bytes | None, batches: Iterable[list[RawEntry]]) -> Iterator[bytes]:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in _body(header, checkpoint, batches):
        digest.update(part)
        yield part
    yield _block(_END, digest.digest())


def _body(header: Header, checkpoint: bytes | None, batches: Iterable[list[RawEntry]]) -> Iterator[bytes]:
    yield _MAGIC
    yield _block(_HEADER, msgspec.json.encode(header))
    if checkpoint is not None:
        yield _block(_CHECKPOINT, checkpoint)
    for batch in batches:
        rows = [(name, list(fields.items())) for name, fields in batch]
        yield _block(_ENTRIES, zlib.compress(msgspec.msgpack.encode(rows), _LEVEL))


def _block(kind: bytes, data: bytes) -> bytes:
    return _BLOCK.pack(kind, len(data), zlib.crc32(data)) + data


# -- reading -------------------------------------------------------------------------------------------------

_decode_header = msgspec.json.Decoder(Header).decode
_decode_rows = msgspec.msgpack.Decoder(list[tuple[bytes, list[tuple[bytes, bytes]]]]).decode


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was found sound as a whole."""

    name: SegmentName
    header: Header
    checkpoint: bytes | None
    _blocks: list[bytes]

    def batches(self) -> Iterator[list[RawEntry]]:
        """Its entries in log order, a block at a time. Raises DamagedSegmentError."""
        for block in self._blocks:
            try:
                rows = _decode_rows(zlib.decompress(block))
            except (zlib.error, msgspec.MsgspecError) as exc:
                raise _damaged(self.name.path, f"entries that cannot be decoded: {exc}") from exc
            yield [(name, dict(fields)) for name, fields in rows]


def read_segment(name: SegmentName) -> Segment:
    """A segment, checked byte by byte. Raises DamagedSegmentError, and StoreError for a newer form.

    Cost: the file's bytes in memory, one pass over them.
    """
    try:
        data = name.path.read_bytes()
    except OSError as exc:
        raise StoreError(f"segment {str(name.path)!r} cannot be read: {exc.strerror}") from exc
    blocks = _blocks_of(name.path, data)
    if not blocks or blocks[0][0] != _HEADER:
        raise _damaged(name.path, "no header")
    header = _header_of(name.path, blocks[0][1])
    if blocks[-1][0] != _END or blake2b(_before_end(data), digest_size=_DIGEST_BYTES).digest() != blocks[-1][1]:
        raise _damaged(name.path, "its digest does not match its bytes")
    if (header.after, header.last, header.epoch) != (str(name.after), str(name.last), name.epoch):
        raise _damaged(
            name.path, f"it holds {header.after} to {header.last} of epoch {header.epoch}, not what it names"
        )
    middle = blocks[1:-1]
    if any(kind not in {_CHECKPOINT, _ENTRIES} for kind, _ in middle):
        raise _damaged(name.path, "a block of an unknown kind")
    checkpoints = [data for kind, data in middle if kind == _CHECKPOINT]
    return Segment(
        name, header, checkpoints[0] if checkpoints else None, [data for kind, data in middle if kind == _ENTRIES]
    )


def _blocks_of(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    if not data.startswith(_MAGIC):
        raise _damaged(path, "it does not begin as a segment does")
    blocks, offset = [], len(_MAGIC)
    while offset < len(data):
        if offset + _BLOCK.size > len(data):
            raise _damaged(path, f"cut off at byte {len(data)}")
        kind, length, crc = _BLOCK.unpack_from(data, offset)
        block = data[offset + _BLOCK.size : offset + _BLOCK.size + length]
        if len(block) != length or zlib.crc32(block) != crc:
            raise _damaged(path, f"the block at byte {offset} is not what its checksum promises")
        blocks.append((kind, block))
        offset += _BLOCK.size + length
    return blocks


def _before_end(data: bytes) -> bytes:
    return data[: -(_BLOCK.size + _DIGEST_BYTES)]


def _header_of(path: Path, data: bytes) -> Header:
    try:
        found: int = msgspec.json.decode(data)["format"]
        if found > FORMAT:
            raise StoreError(
                f"segment {str(path)!r} has format {found}, this Saima reads up to {FORMAT}: read it with a newer one"
            )
        return _decode_header(data)
    except (msgspec.MsgspecError, KeyError, TypeError) as exc:
        raise _damaged(path, f"a header that cannot be decoded: {exc}") from exc


def _damaged(path: Path, how: str) -> DamagedSegmentError:
    return DamagedSegmentError(
        f"segment {str(path)!r} is damaged ({how}): put back a copy of it, or move it away to go without its entries"
    )
