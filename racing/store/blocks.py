"""Files of checksummed blocks: how segments and exported venues lie on a disk.

``magic 8 bytes | block ...``, a block being ``kind 1 byte | length u32 | crc32 u32 | bytes``, little-endian. The last
block is a blake2b of every byte before it. A file appears under its name only when it is complete and on the disk.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import msgspec

from racing.errors import StoreError

Block = tuple[bytes, bytes]
"""The kind, one byte, and the bytes."""

HEADER = b"H"
_BLOCK = struct.Struct("<cII")
_END = b"Z"
_DIGEST_BYTES = 32


class DamagedFileError(StoreError):
    """A file that is not what was written: nothing of it may be used."""


def write_blocks(path: Path, magic: bytes, blocks: Iterable[Block]) -> None:
    """Write a file; when this returns, it is on the disk under its name. Raises OSError, leaving no file.

    What the blocks raise while they are made is raised on, and leaves no file either.
    """
    write_whole(path, _parts(magic, blocks))


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """write_blocks of bytes that are those of a file already."""
    waiting = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with waiting.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    except BaseException:
        with suppress(OSError):
            waiting.unlink()
        raise
    _sync_folder(path.parent)


def _parts(magic: bytes, blocks: Iterable[Block]) -> Iterator[bytes]:
    digest = blake2b(magic, digest_size=_DIGEST_BYTES)
    yield magic
    for kind, data in blocks:
        part = _BLOCK.pack(kind, len(data), zlib.crc32(data)) + data
        digest.update(part)
        yield part
    end = digest.digest()
    yield _BLOCK.pack(_END, len(end), zlib.crc32(end)) + end


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_blocks(path: Path, magic: bytes) -> Iterator[Block]:
    """The blocks of a file, each found sound by its own checksum; the digest over all is checked after the last.

    Who must not use a part of a damaged file uses nothing before the end. Raises DamagedFileError, which tells how
    it is damaged, and StoreError where the file cannot be read. Cost: a block in memory.
    """
    try:
        with path.open("rb") as file:
            yield from _blocks_of(file, magic, path.stat().st_size)
    except OSError as exc:
        raise StoreError(f"{str(path)!r} cannot be read: {exc.strerror}") from exc


def _blocks_of(file: BinaryIO, magic: bytes, size: int) -> Iterator[Block]:
    """The blocks of an open file, each as its checksum promises. Raises DamagedFileError, at the latest at its end."""
    if file.read(len(magic)) != magic:
        raise DamagedFileError("it does not begin as such a file does")
    digest, offset = blake2b(magic, digest_size=_DIGEST_BYTES), len(magic)
    while offset < size:
        head = file.read(_BLOCK.size)
        if len(head) < _BLOCK.size:
            break
        kind, length, crc = _BLOCK.unpack(head)
        data = file.read(length) if length <= size - offset - _BLOCK.size else b""
        if len(data) != length or zlib.crc32(data) != crc:
            raise DamagedFileError(f"the block at byte {offset} is not what its checksum promises")
        offset += _BLOCK.size + length
        if kind == _END:
            if data != digest.digest() or offset != size:
                raise DamagedFileError("its digest does not match its bytes")
            return
        digest.update(head)
        digest.update(data)
        yield kind, data
    raise DamagedFileError(f"cut off at byte {size}")


def header_of(newest: int) -> Block:
    """The first block of a file that tells its format and nothing else."""
    return HEADER, msgspec.json.encode({"format": newest})


def sound_blocks(path: Path, magic: bytes, newest: int, what: str) -> list[Block]:
    """All blocks of a file that is right to its last byte, the first one header_of.

    newest: the format that this Saima writes; a file of a newer one is refused. what: such files in words. Raises
    DamagedFileError, which names the file, and StoreError.
    """
    try:
        blocks = list(read_blocks(path, magic))
        found = msgspec.json.decode(blocks[0][1])["format"]
    except (DamagedFileError, msgspec.MsgspecError, LookupError) as exc:
        raise damaged(path, what, str(exc)) from exc
    if found > newest:
        raise StoreError(f"{str(path)!r} has format {found}, this Saima reads up to {newest}: read it with a newer one")
    return blocks


def damaged(path: Path, what: str, how: str) -> DamagedFileError:
    """The error that names a damaged file and says what to do."""
    return DamagedFileError(f"{what} {str(path)!r} are damaged ({how}): put back a copy, or move the file away")


def files_in(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none. Raises StoreError."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise StoreError(f"{str(folder)!r} cannot be read: {exc.strerror}") from exc


def read_blocks_of(path: Path, magic: bytes, wanted: bytes) -> Iterator[bytes]:
    """The blocks of one kind, each found sound by its own checksum; the others are passed over unread.

    Raises DamagedFileError and StoreError. Cost: a seek for each block passed over.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(magic)) != magic:
                raise DamagedFileError("it does not begin as such a file does")
            while head := file.read(_BLOCK.size):
                if len(head) < _BLOCK.size:
                    raise DamagedFileError("it is cut off")
                kind, length, crc = _BLOCK.unpack(head)
                if kind != wanted:
                    file.seek(length, os.SEEK_CUR)
                    continue
                data = file.read(length)
                if len(data) != length or zlib.crc32(data) != crc:
                    raise DamagedFileError(f"a block {wanted.decode()} is not what its checksum promises")
                yield data
    except OSError as exc:
        raise StoreError(f"{str(path)!r} cannot be read: {exc.strerror}") from exc
