"""The form of an exported venue: one file of blocks that holds all of it, whatever server it came from.

First the header (JSON). Then, each as often as it takes: rows of a hash, frames, log entries and, since format 2,
decisions (all msgpack of (id, fields) pairs, deflated), and segments, each a header followed by its own blocks. Answers
to Idempotency-Keys are rows of a hash since format 3, before that blocks of their own; whose history is kept on request
is told since format 4. Not in it are the race's sorted sets, which the next owner writes anew, and the lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from racing.errors import StoreError
from racing.store.blocks import Block, DamagedFileError, read_blocks

FORMAT = 4
"""Version of this form; a file of a newer one is refused."""
MAGIC = b"SAIMAVEN"

HEADER, ROWS, FRAMES, ENTRIES, DECISIONS, ANSWER, REEL, SEGMENT = b"H", b"R", b"F", b"E", b"T", b"A", b"P", b"S"
OF_SEGMENT = {b"c", b"e", b"d"}
"""The kinds of a segment's own blocks, which follow its header, in small letters."""
KINDS = {HEADER, ROWS, FRAMES, ENTRIES, DECISIONS, ANSWER, REEL, SEGMENT, *OF_SEGMENT}


class LogPlace(msgspec.Struct, frozen=True):
    """Where a log stands: its last entry, how many it holds, and how many it ever held."""

    last: str
    length: int
    added: int
    deleted: str


class VenueHeader(msgspec.Struct, frozen=True):
    """What a file says of itself. about: the venue's own data. commit: its commit record; empty if never raced."""

    format: int
    venue: str
    about: str
    commit: str
    log: LogPlace


class HashRows(msgspec.Struct, frozen=True, array_like=True):
    """Some fields of a hash: rules, products, runners, orders, plans, checkpoints, answers; or the string roll.

    Of watched, a sorted set, members with their scores.
    """

    name: str
    rows: list[tuple[bytes, bytes]]


class ReelFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of kept frames (racing/store/reel.py) or of standings by the minute (minutes.py), byte for byte."""

    name: str
    data: bytes


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What was answered to an Idempotency-Key, in a file of format 2 or older."""

    name: str
    keep_ms: int
    fields: list[tuple[bytes, bytes]]


def read_venue_file(path: Path) -> tuple[VenueHeader, Iterator[Block]]:
    """The header of a file and its other blocks. Nothing is to be used before the last block came.

    Raises StoreError for a newer form, DamagedFileError, which names the file, for a damaged one; the blocks
    raise DamagedFileError too.
    """
    blocks = _named(path, read_blocks(path, MAGIC))
    kind, data = next(blocks, (b"", b""))
    if kind != HEADER:
        raise _damaged(path, "no header")
    return _header_of(path, data), blocks


def _named(path: Path, blocks: Iterator[Block]) -> Iterator[Block]:
    try:
        yield from _known(blocks)
    except DamagedFileError as exc:
        raise _damaged(path, str(exc)) from exc


def _known(blocks: Iterator[Block]) -> Iterator[Block]:
    for kind, data in blocks:
        if kind not in KINDS:
            raise DamagedFileError(f"a block of unknown kind {kind!r}")
        yield kind, data


def _header_of(path: Path, data: bytes) -> VenueHeader:
    try:
        found: Any = msgspec.json.decode(data)["format"]
        if found > FORMAT:
            raise StoreError(
                f"venue file {str(path)!r} has format {found}, this Saima reads up to {FORMAT}:"
                " import it with a newer one"
            )
        return msgspec.json.decode(data, type=VenueHeader)
    except (msgspec.MsgspecError, KeyError, TypeError) as exc:
        raise _damaged(path, f"a header that cannot be decoded: {exc}") from exc


def _damaged(path: Path, how: str) -> DamagedFileError:
    return DamagedFileError(f"venue file {str(path)!r} is damaged ({how}): copy or export it again")
