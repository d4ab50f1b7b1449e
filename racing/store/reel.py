"""The reel: the boards of a venue, one a second, in files for as long as the venue is.

Redis keeps the frames of some minutes; before they go, the last one of each second is taken to
``venue-<venue>/frames/<period>_<first frame>_<epoch>.frames``, one file for each ten minutes and owner. It is a file of
blocks (racing/store/blocks.py), each with some frames' JSON and, before it, what they span, so that one board is found
by reading a block. A file grows by being written anew under its name: there is never a torn one.

A second without a new frame has none here: the one before it still stood.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from racing.model import START, Frame, Position
from racing.store.blocks import (
    Block,
    DamagedFileError,
    damaged,
    files_in,
    header_of,
    read_blocks_of,
    sound_blocks,
    write_blocks,
    write_whole,
)
from racing.store.client import store_errors
from racing.store.commit import decode_frame, decode_place, placed_in
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.store.segment_files import venue_folder

FORMAT = 1
"""Version of this form; a file of a newer one is refused."""
_MAGIC = b"SAIMAREL"
_FRAMES = b"F"
_WHAT = "kept frames"
_SPAN = struct.Struct("<QQQQ")
"""at_ms of the first and last frame of a block, and their numbers."""
_LEVEL = 6
_PERIOD_MS = 600_000
"""A file is written anew once a minute while it grows: at most ten times, and about 1 MB."""
_READ_MAX = 64
"""Frames of one read: 50 slots are about 20 kB."""
_NAME = re.compile(r"(\d{15})_(\d{12})_(\d+)\.frames")

_encode = msgspec.msgpack.Encoder().encode
_decode_many = msgspec.msgpack.Decoder(list[bytes]).decode


@dataclass(frozen=True, slots=True, order=True)
class ReelName:
    """A file as its name tells it, in the order in which frames came."""

    period_ms: int
    first: int
    epoch: int
    path: Path


def reel_folder(folder: Path, venue: str) -> Path:
    """Where a venue's kept frames lie."""
    return venue_folder(folder, venue) / "frames"


def reels_of(folder: Path, venue: str) -> list[ReelName]:
    """The files of a venue, oldest first. Raises StoreError."""
    found = [(match, path) for path in files_in(reel_folder(folder, venue)) if (match := _NAME.fullmatch(path.name))]
    return sorted(ReelName(int(match[1]), int(match[2]), int(match[3]), path) for match, path in found)


# -- writing -------------------------------------------------------------------------------------------------


class Reel:
    """Takes a venue's frames to files while this process owns it."""

    def __init__(self, client: SyncClient, keys: VenueKeys, folder: Path) -> None:
        self._client = client
        self._keys = keys
        self._folder = folder
        self._last: Position | None = None

    def keep(self, epoch: int, now_ms: int) -> int:
        """Write the last frame of each second that has passed; how many there were.

        Call at least every five minutes, or frames are gone before they are taken. Raises StoreError, OSError; then
        what is missing is written by the next call, by whomever. Cost: the frames since the last call are read once.
        """
        if self._last is None:
            self._last = _last_kept(self._folder, self._keys.venue)
        kept = 0
        for period_ms, frames in _by_period(self._seconds(self._last, now_ms)):
            self._write(period_ms, frames, epoch)
            place = decode_place(frames[-1])
            self._last = Position(place.epoch, place.frame)
            kept += len(frames)
        return kept

    def _seconds(self, after: Position, now_ms: int) -> Iterator[tuple[int, bytes]]:
        """(second, JSON) of the last frame of each second before the present one."""
        held: tuple[int, bytes] | None = None
        for raw in _after(self._client, self._keys, after):
            second = decode_place(raw).at_ms // 1000
            if held is not None and held[0] != second:
                yield held
            held = second, raw
        if held is not None and held[0] < now_ms // 1000:
            yield held

    def _write(self, period_ms: int, frames: list[bytes], epoch: int) -> None:
        mine = [
            name
            for name in reels_of(self._folder, self._keys.venue)
            if (name.period_ms, name.epoch) == (period_ms, epoch)
        ]
        if mine:
            path, before = mine[0].path, [block for block in _sound(mine[0].path) if block[0] == _FRAMES]
        else:
            first = decode_place(frames[0]).frame
            path, before = self._path(f"{period_ms:015d}_{first:012d}_{epoch}.frames"), []
        write_blocks(path, _MAGIC, [header_of(FORMAT), *before, (_FRAMES, _pack(frames))])

    def _path(self, name: str) -> Path:
        home = reel_folder(self._folder, self._keys.venue)
        home.mkdir(parents=True, exist_ok=True)
        return home / name


def _last_kept(folder: Path, venue: str) -> Position:
    """The (epoch, frame) up to which frames are kept; a damaged file counts as none, what it held is kept anew."""
    for name in reversed(reels_of(folder, venue)):
        with suppress(DamagedFileError):
            place = decode_place(_unpack(_sound(name.path)[-1][1])[-1])
            return Position(place.epoch, place.frame)
    return START


def _by_period(seconds: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """Frames of each period, in order."""
    period_ms, frames = 0, list[bytes]()
    for second, raw in seconds:
        found_ms = 1000 * second // _PERIOD_MS * _PERIOD_MS
        if frames and found_ms != period_ms:
            yield period_ms, frames
            frames = []
        period_ms = found_ms
        frames.append(raw)
    if frames:
        yield period_ms, frames


def _pack(frames: list[bytes]) -> bytes:
    first, last = decode_place(frames[0]), decode_place(frames[-1])
    span = _SPAN.pack(first.at_ms, last.at_ms, first.frame, last.frame)
    return span + zlib.compress(_encode(frames), _LEVEL)


def reel_bytes(path: Path) -> bytes:
    """A whole file that is right to its last byte. Raises StoreError."""
    _sound(path)
    return path.read_bytes()


def write_reel_file(folder: Path, venue: str, name: str, data: bytes) -> None:
    """A file of reel_bytes under its name. Raises OSError, leaving no such file."""
    home = reel_folder(folder, venue)
    home.mkdir(parents=True, exist_ok=True)
    write_whole(home / name, [data])


# -- reading -------------------------------------------------------------------------------------------------


def frame_kept(
    client: SyncClient, keys: VenueKeys, folder: Path | None, *, at_ms: int | None = None, number: int | None = None
) -> Frame | None:
    """The newest frame that is kept and not after a moment (ms of log time), or not after a number.

    Of the last minutes every frame is kept, before that the last of each second; without a folder only the former.
    None where nothing so old is kept. Raises StoreError, which names a damaged file. Cost: of the last minutes some
    reads of Redis, else one block of one file.
    """
    found = _in_stream(client, keys, _Wanted(at_ms, number))
    if found is None and folder is not None:
        return frame_in_files(folder, keys.venue, at_ms=at_ms, number=number)
    return None if found is None else msgspec.structs.replace(decode_frame(found), venue=keys.venue)


def frame_in_files(folder: Path, venue: str, *, at_ms: int | None = None, number: int | None = None) -> Frame | None:
    """As frame_kept, of what is kept in files alone: of each second the last frame. Cost: one block of one file."""
    found = _in_files(folder, venue, _Wanted(at_ms, number))
    return None if found is None else msgspec.structs.replace(decode_frame(found), venue=venue)


def frames_between(folder: Path, venue: str, from_ms: int, to_ms: int, step_ms: int) -> Iterator[Frame]:
    """The last frame kept in files of each step of log time within [from_ms, to_ms), oldest first.

    Raises StoreError, which names a damaged file. Cost: each block is read once, and one frame of a step decoded.
    """
    held: tuple[int, bytes] | None = None
    for at_ms, raw in _raws_between(folder, venue, from_ms, to_ms):
        if held is not None and held[0] != at_ms // step_ms:
            yield msgspec.structs.replace(decode_frame(held[1]), venue=venue)
        held = at_ms // step_ms, raw
    if held is not None:
        yield msgspec.structs.replace(decode_frame(held[1]), venue=venue)


def _raws_between(folder: Path, venue: str, from_ms: int, to_ms: int) -> Iterator[tuple[int, bytes]]:
    for name in reels_of(folder, venue):
        if not from_ms - _PERIOD_MS < name.period_ms < to_ms:
            continue
        try:
            for data in read_blocks_of(name.path, _MAGIC, _FRAMES):
                first_ms, last_ms, _, _ = _SPAN.unpack_from(data)
                if last_ms < from_ms or first_ms >= to_ms:
                    continue
                placed = ((decode_place(raw).at_ms, raw) for raw in _unpack(data))
                yield from ((at_ms, raw) for at_ms, raw in placed if from_ms <= at_ms < to_ms)
        except DamagedFileError as exc:
            raise damaged(name.path, _WHAT, str(exc)) from exc


def first_kept(client: SyncClient, keys: VenueKeys, folder: Path | None) -> Frame | None:
    """The earliest frame that is kept; None without one. Raises StoreError."""
    names = reels_of(folder, keys.venue) if folder is not None else []
    found = _unpack(_sound(names[0].path)[1][1])[0] if names else next(_after(client, keys, START), None)
    return None if found is None else msgspec.structs.replace(decode_frame(found), venue=keys.venue)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Up to which moment, or which number, a frame is looked for."""

    at_ms: int | None
    number: int | None

    def takes(self, at_ms: int, number: int) -> bool:
        """Whether a frame is not after what is wanted."""
        return (self.at_ms is None or at_ms <= self.at_ms) and (self.number is None or number <= self.number)


def _in_stream(client: SyncClient, keys: VenueKeys, wanted: _Wanted) -> bytes | None:
    with store_errors():
        oldest = client.xrange(keys.frames, count=1)
    place = placed_in(oldest[0][1].get(b"frame", b"")) if oldest else None
    if place is not None and not wanted.takes(place.at_ms, place.frame):
        return None
    last = "+"
    while True:
        with store_errors():
            raws = client.xrevrange(keys.frames, max=last, count=_READ_MAX)
        for _, fields in raws:
            place = placed_in(fields.get(b"frame", b""))
            if place is not None and wanted.takes(place.at_ms, place.frame):
                return bytes(fields[b"frame"])
        if not raws:
            return None
        last = f"({raws[-1][0].decode()}"


def _in_files(folder: Path, venue: str, wanted: _Wanted) -> bytes | None:
    names = reels_of(folder, venue)
    for name in reversed([name for name in names if wanted.takes(name.period_ms, name.first)]):
        try:
            for data in reversed(list(read_blocks_of(name.path, _MAGIC, _FRAMES))):
                first_ms, _, first, _ = _SPAN.unpack_from(data)
                if not wanted.takes(first_ms, first):
                    continue
                places = ((raw, decode_place(raw)) for raw in reversed(_unpack(data)))
                return next(raw for raw, place in places if wanted.takes(place.at_ms, place.frame))
        except DamagedFileError as exc:
            raise damaged(name.path, _WHAT, str(exc)) from exc
    return None


def _after(client: SyncClient, keys: VenueKeys, after: Position) -> Iterator[bytes]:
    """The JSON of the sound frames in Redis after one of them."""
    while True:
        with store_errors():
            raws: list[Any] = client.xrange(keys.frames, min=f"({after}", count=_READ_MAX)
        if not raws:
            return
        after = Position.parse(raws[-1][0])
        yield from (bytes(fields[b"frame"]) for _, fields in raws if placed_in(fields.get(b"frame", b"")) is not None)


def _unpack(data: bytes) -> list[bytes]:
    try:
        return _decode_many(zlib.decompress(data[_SPAN.size :]))
    except (zlib.error, msgspec.MsgspecError) as exc:
        raise DamagedFileError(f"frames that cannot be decoded: {exc}") from exc


def _sound(path: Path) -> list[Block]:
    """The blocks of a file that is right to its last byte. Raises StoreError for a newer form."""
    return sound_blocks(path, _MAGIC, FORMAT, _WHAT)
