"""Export: a venue read whole into one file, also while it races; what is committed later is not in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import redis

from racing.errors import NotFoundError, StoreError
from racing.model import START, Position
from racing.store import reads
from racing.store.answers import within
from racing.store.blocks import Block, write_blocks
from racing.store.client import as_text, store_errors
from racing.store.keys import VENUES, VenueKeys
from racing.store.log import raw_between
from racing.store.minutes import minute_bytes, minute_files
from racing.store.protocol import SyncClient
from racing.store.reel import reel_bytes, reels_of
from racing.store.segment_files import pack_entries, read_segment, segments_of
from racing.store.venue_file import (
    DECISIONS,
    ENTRIES,
    FORMAT,
    FRAMES,
    HEADER,
    MAGIC,
    REEL,
    ROWS,
    SEGMENT,
    HashRows,
    LogPlace,
    ReelFile,
    VenueHeader,
)

_TRIES = 5
_ROWS_AT_ONCE = 1_000
_encode = msgspec.msgpack.Encoder().encode


class _MovedError(StoreError):
    """The venue changed in a way that makes what was read so far of no use."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a venue was at one moment: small things by value, the rest by name and place, which do not change."""

    header: VenueHeader
    tables: dict[str, list[tuple[bytes, bytes]]]
    checkpoints: list[str]
    last_frame: Position


def export_venue(root: SyncClient, client: SyncClient, venue: str, path: Path, *, folder: Path | None) -> VenueHeader:
    """Write a venue to a file, with its segments in folder. The venue may race meanwhile.

    root, client: of the node of the deployment-wide keys, and of the venue's. Raises NotFoundError,
    DamagedSegmentError, and StoreError where the file cannot be written, or enrolments and rules never stand still
    while they are read. Cost: all of it is read once, in pieces that hold the server for a millisecond or so; a segment
    at a time is in memory, and the tables of runners.
    """
    about = _about(root, venue)
    keys = VenueKeys(venue)
    for _ in range(_TRIES):
        try:
            snapshot = _snapshot(client, keys, about)
            write_blocks(path, MAGIC, _blocks(client, keys, snapshot, folder))
        except _MovedError:
            continue
        except OSError as exc:
            raise StoreError(f"venue file {str(path)!r} cannot be written: {exc.strerror}") from exc
        return snapshot.header
    raise StoreError(f"venue {venue}: it changed each of {_TRIES} times that it was read: enrol nothing meanwhile")


def _about(root: SyncClient, venue: str) -> str:
    with store_errors():
        raw = root.hget(VENUES, venue)
    if raw is None:
        raise NotFoundError(f"there is no venue {venue!r}")
    return as_text(raw)


def _snapshot(client: SyncClient, keys: VenueKeys, about: str) -> _Snapshot:
    """Tables first, then where all else stands, in one MULTI that is void if a table changed meanwhile."""
    pipe = client.pipeline(transaction=True)
    with store_errors():
        pipe.watch(keys.rules, keys.products, keys.runners, keys.roll, keys.orders, keys.plans)
        tables = {
            name: list(client.hscan_iter(key, count=_ROWS_AT_ONCE))
            for name, key in (
                ("rules", keys.rules),
                ("products", keys.products),
                ("runners", keys.runners),
                ("orders", keys.orders),
                ("entry", keys.entry),
                ("applications", keys.applications),
                ("applied", keys.applied),
                ("plans", keys.plans),
            )
        }
        roll = client.get(keys.roll)
        tables["roll"] = [] if roll is None else [(b"roll", roll)]
        watched = client.zrange(keys.watched, 0, -1, withscores=True)
        tables["watched"] = [(name, b"%d" % until_ms) for name, until_ms in watched]
        pipe.multi()
        pipe.get(keys.commit)
        pipe.hkeys(keys.checkpoints)
        pipe.xinfo_stream(keys.log)
        pipe.xrevrange(keys.frames, count=1)
        try:
            commit, checkpoints, log, frames = pipe.execute()
        except redis.exceptions.WatchError as exc:
            raise _MovedError(f"venue {keys.venue}: runners, rules, orders or plans changed") from exc
    return _Snapshot(
        VenueHeader(FORMAT, keys.venue, about, as_text(commit or b""), _place(log)),
        tables,
        sorted(map(as_text, checkpoints)),
        Position.parse(frames[0][0]) if frames else START,
    )


def _place(log: dict[str, Any]) -> LogPlace:
    length = int(log["length"])
    return LogPlace(
        last=as_text(log["last-generated-id"]),
        length=length,
        added=int(log.get("entries-added", length)),
        deleted=as_text(log.get("max-deleted-entry-id", b"0-0")),
    )


def _blocks(client: SyncClient, keys: VenueKeys, snapshot: _Snapshot, folder: Path | None) -> Iterator[Block]:
    yield HEADER, msgspec.json.encode(snapshot.header)
    for name, rows in snapshot.tables.items():
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            yield ROWS, _encode(HashRows(name, rows[first : first + _ROWS_AT_ONCE]))
    for name in snapshot.checkpoints:
        yield ROWS, _encode(HashRows("checkpoints", [(name.encode(), _checkpoint(client, keys, name))]))
    for batch in raw_between(client, keys, START, snapshot.last_frame, stream=keys.frames):
        yield FRAMES, pack_entries(batch)
    yield from _log(client, keys, snapshot.header.log)
    for batch in raw_between(client, keys, START, Position.parse(snapshot.header.log.last), stream=keys.decisions):
        yield DECISIONS, pack_entries(batch)
    yield from _answers(client, keys, Position.parse(snapshot.header.log.last))
    if folder is not None:
        for reel in reels_of(folder, keys.venue):
            yield REEL, _encode(ReelFile(reel.path.name, reel_bytes(reel.path)))
        for minutes in minute_files(folder, keys.venue):
            yield REEL, _encode(ReelFile(minutes.path.name, minute_bytes(minutes.path)))
        yield from _segments(keys, folder, Position.parse(snapshot.header.log.last))


def _checkpoint(client: SyncClient, keys: VenueKeys, name: str) -> bytes:
    record = reads.checkpoint(client, keys, name)
    if record is None:
        raise _MovedError(f"venue {keys.venue}: checkpoint {name} has gone")
    return record


def _log(client: SyncClient, keys: VenueKeys, place: LogPlace) -> Iterator[Block]:
    found = 0
    for batch in raw_between(client, keys, START, Position.parse(place.last)):
        found += len(batch)
        yield ENTRIES, pack_entries(batch)
    if found != place.length:
        raise _MovedError(f"venue {keys.venue}: the log was trimmed")


def _answers(client: SyncClient, keys: VenueKeys, last: Position) -> Iterator[Block]:
    """Those that a sender may still ask for again: without them a batch under a known key would count twice.

    Not those of batches after the log as it was: these are not in the file, and must count where it is read.
    """
    with store_errors():
        for key in (keys.answers_before, keys.answers):
            fields = client.hscan_iter(key, count=_ROWS_AT_ONCE)
            while rows := list(islice(fields, _ROWS_AT_ONCE)):
                yield ROWS, _encode(HashRows("answers", [row for row in rows if within(row[1], last)]))


def _segments(keys: VenueKeys, folder: Path, last: Position) -> Iterator[Block]:
    """Those of this log as it was: a segment written since then may go beyond it."""
    for name in segments_of(folder, keys.venue):
        if name.last > last:
            continue
        segment = read_segment(name)
        yield SEGMENT, msgspec.json.encode(segment.header)
        for kind, data in segment.body:
            yield kind.lower(), data
