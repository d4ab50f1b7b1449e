"""Import: a venue made from a file, whole or not at all, under its own id or another.

The file is read twice: first to find it sound, then to write. The venue is listed, and raced, only when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from racing.documents import ID_WORDS
from racing.errors import ConflictError, CorruptRecordError, StoreError
from racing.model import ID_PATTERN, START, Position
from racing.store.blocks import Block, DamagedFileError
from racing.store.claim import Claim, claimed
from racing.store.client import server_ms, store_errors
from racing.store.commit import CommitRecord, decode_commit, decode_frame
from racing.store.keys import VENUES, VenueKeys
from racing.store.protocol import SyncClient
from racing.store.reel import write_reel_file
from racing.store.removal import remove_files, remove_keys
from racing.store.segment_files import Header, unpack_entries, venue_folder, write_segment_blocks
from racing.store.venue_file import (
    ANSWER,
    DECISIONS,
    ENTRIES,
    FRAMES,
    OF_SEGMENT,
    REEL,
    ROWS,
    SEGMENT,
    Answer,
    HashRows,
    LogPlace,
    ReelFile,
    VenueHeader,
    read_venue_file,
)
from racing.store.venues import Venue

_AT_ONCE = 64
"""Entries of one round trip: each may have 100 kB."""
_AHEAD_MAX_MS = 60_000
"""A log that ends later than this would let no time pass until the server's clock has come there."""
_decode_rows = msgspec.msgpack.Decoder(HashRows).decode
_decode_reel = msgspec.msgpack.Decoder(ReelFile).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


def import_venue(
    root: SyncClient,
    client_of: Callable[[str], SyncClient],
    path: Path,
    *,
    folder: Path | None,
    venue: str | None = None,
) -> VenueHeader:
    """Make the venue that a file holds, its segments in folder; venue: another id for it. Returns the file's header.

    root: a client of the node of the deployment-wide keys. client_of: makes one of a venue's node.
    Raises ConflictError where anything of such a venue exists, DamagedFileError for a damaged file, StoreError for
    one of a newer form or where its segments have no folder to go to; then nothing is changed. What was written
    before a later error is removed again. Cost: the file is read twice, a segment at a time in memory.
    """
    header, files = _check(path)
    commit = _commit_of(header)
    keys = VenueKeys(header.venue if venue is None else venue)
    _refuse_name(root, keys)
    client = client_of(keys.venue)
    with claimed(client, keys, "import") as claim:
        _refuse(client, keys, header, folder, files=files)
        try:
            _load(client, keys, path, folder, claim)
            _finish(client, keys, header, commit)
        except BaseException:
            with suppress(StoreError):  # the first error is the one to tell
                _undo(client, keys, folder)
            raise
        _list(root, keys, header)
    return header


def _check(path: Path) -> tuple[VenueHeader, int]:
    """(header, how many segments and files of frames) of a file that is sound to its last byte."""
    header, blocks = read_venue_file(path)
    return header, sum(kind in {SEGMENT, REEL} for kind, _ in blocks)


def _commit_of(header: VenueHeader) -> CommitRecord | None:
    """The commit record in a file; None of a venue that never raced. A newer one is refused: its state is newer."""
    try:
        return decode_commit(header.commit.encode()) if header.commit else None
    except CorruptRecordError as exc:
        raise DamagedFileError(f"the venue was exported with a damaged commit record: {exc}") from exc


def _refuse_name(root: SyncClient, keys: VenueKeys) -> None:
    if not re.fullmatch(ID_PATTERN, keys.venue):
        raise StoreError(f"venue id {keys.venue[:80]!r}: {ID_WORDS}")
    with store_errors():
        if root.hexists(VENUES, keys.venue):
            raise ConflictError(f"venue {keys.venue!r} exists already: import it under another id, or delete that one")


def _refuse(client: SyncClient, keys: VenueKeys, header: VenueHeader, folder: Path | None, *, files: int) -> None:
    with store_errors():
        if client.exists(keys.rules) or client.exists(keys.log) or client.exists(keys.commit):
            raise ConflictError(f"venue {keys.venue!r}: keys of a deleted or unfinished one are left: delete it first")
        ahead_ms = Position.parse(header.log.last).ms - server_ms(client)
    if ahead_ms > _AHEAD_MAX_MS:
        raise StoreError(
            f"the log of {header.venue!r} ends {ahead_ms // 1000} s ahead of the server's clock: set the clocks right"
        )
    if folder is None and files:
        raise StoreError(f"{files} files of the venue's past have no folder to go to: set SAIMA_SEGMENTS_DIR")
    if folder is not None and venue_folder(folder, keys.venue).exists():
        raise ConflictError(
            f"{str(venue_folder(folder, keys.venue))!r} holds the past of another venue of this id: move it away"
        )


def _load(client: SyncClient, keys: VenueKeys, path: Path, folder: Path | None, claim: Claim) -> None:
    """Write what the file holds, but for the header."""
    write: dict[bytes, Callable[[bytes], None]] = {
        ROWS: lambda data: _rows(client, keys, _decode_rows(data)),
        FRAMES: lambda data: _frames(client, keys, data),
        ENTRIES: lambda data: _add(client, keys.log, unpack_entries(data)),
        DECISIONS: lambda data: _add(client, keys.decisions, unpack_entries(data)),
        ANSWER: lambda data: _answer(client, keys, _decode_answer(data)),
        REEL: lambda data: _reel(folder, keys.venue, _decode_reel(data)),
    }
    for kind, data, body in _grouped(read_venue_file(path)[1]):
        claim.renew()
        if kind == SEGMENT:
            _segment(folder, keys.venue, msgspec.json.decode(data, type=Header), body)
        else:
            write[kind](data)


def _grouped(blocks: Iterator[Block]) -> Iterator[tuple[bytes, bytes, list[Block]]]:
    """Blocks, each with the blocks of its own that follow it: those of a segment."""
    held: tuple[bytes, bytes, list[Block]] | None = None
    for kind, data in blocks:
        if held is not None and kind in OF_SEGMENT:
            held[2].append((kind.upper(), data))
            continue
        if held is not None:
            yield held
        held = kind, data, []
    if held is not None:
        yield held


def _rows(client: SyncClient, keys: VenueKeys, rows: HashRows) -> None:
    if rows.name == "roll":
        _send(client, [("SET", keys.roll, rows.rows[0][1])])
        return
    if rows.name == "watched":
        _send(client, [("ZADD", keys.watched, *(part for name, until in rows.rows for part in (until, name)))])
        return
    key = {
        "rules": keys.rules,
        "products": keys.products,
        "runners": keys.runners,
        "orders": keys.orders,
        "entry": keys.entry,
        "applications": keys.applications,
        "applied": keys.applied,
        "plans": keys.plans,
        "answers": keys.answers,
        "checkpoints": keys.checkpoints,
    }[rows.name]
    if rows.rows:
        _send(client, [("HSET", key, *(part for row in rows.rows for part in row))])


def _add(client: SyncClient, stream: str, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Append entries under the ids that they had; those that are there already are refused by the server."""
    rest: Iterator[tuple[bytes, dict[bytes, bytes]]] = iter(entries)
    while some := list(islice(rest, _AT_ONCE)):
        _send(
            client,
            [("XADD", stream, name, *(part for pair in fields.items() for part in pair)) for name, fields in some],
        )


def _frames(client: SyncClient, keys: VenueKeys, data: bytes) -> None:
    _add(client, keys.frames, [(name, _frame(fields, keys.venue)) for name, fields in unpack_entries(data)])


def _frame(fields: dict[bytes, bytes], venue: str) -> dict[bytes, bytes]:
    """A frame names its venue. A damaged one stays as it is: it is followed by a right one."""
    try:
        frame = decode_frame(fields[b"frame"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return fields
    return {**fields, b"frame": _encode(msgspec.structs.replace(frame, venue=venue))}


def _answer(client: SyncClient, keys: VenueKeys, answer: Answer) -> None:
    """One of a file of format 2."""
    kept = dict(answer.fields)
    _send(
        client,
        [("HSET", keys.answers, answer.name, b" ".join(kept[part] for part in (b"digest", b"entry", b"answer")))],
    )


def _reel(folder: Path | None, venue: str, reel: ReelFile) -> None:
    assert folder is not None, "_refuse has seen to it"
    try:
        write_reel_file(folder, venue, reel.name, reel.data)
    except OSError as exc:
        raise StoreError(f"frames of {venue!r} cannot be written to {str(folder)!r}: {exc.strerror}") from exc


def _segment(folder: Path | None, venue: str, header: Header, body: list[Block]) -> None:
    assert folder is not None, "_refuse has seen to it"
    try:
        write_segment_blocks(folder, msgspec.structs.replace(header, venue=venue), body)
    except OSError as exc:
        raise StoreError(f"segments of {venue!r} cannot be written to {str(folder)!r}: {exc.strerror}") from exc


def _finish(client: SyncClient, keys: VenueKeys, header: VenueHeader, commit: CommitRecord | None) -> None:
    """The log's counters, so that it is known what was trimmed; the commit, whose sets are still to be written."""
    commands: list[tuple[Any, ...]] = [_log_place(keys, header.log)]
    if commit is not None:
        commands.append(("SET", keys.commit, _encode(msgspec.structs.replace(commit, sets_position=str(START)))))
    _send(client, commands)


def _list(root: SyncClient, keys: VenueKeys, header: VenueHeader) -> None:
    """From here on the venue is raced."""
    about = msgspec.structs.replace(msgspec.json.decode(header.about, type=Venue), venue=keys.venue)
    with store_errors():
        if not root.hsetnx(VENUES, keys.venue, _encode(about)):
            raise ConflictError(f"venue {keys.venue!r} was made by another while it was imported")


def _log_place(keys: VenueKeys, place: LogPlace) -> tuple[Any, ...]:
    return ("XSETID", keys.log, place.last, "ENTRIESADDED", place.added, "MAXDELETEDID", place.deleted)


def _send(client: SyncClient, commands: Sequence[tuple[Any, ...]]) -> None:
    """Execute commands in one round trip. Raises StoreError where one is refused."""
    pipe = client.pipeline(transaction=True)
    for command in commands:
        pipe.execute_command(*command)
    with store_errors():
        pipe.execute()


def _undo(client: SyncClient, keys: VenueKeys, folder: Path | None) -> None:
    remove_keys(client, keys)
    if folder is not None:
        remove_files(folder, keys.venue)
