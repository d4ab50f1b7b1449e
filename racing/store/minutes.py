"""Standings by the minute and by ten seconds: where the first 10,000 runners of a venue stood, in files.

Beside the frames that are kept (racing/store/reel.py), in ``frames/<hour>_<epoch>.minutes``: one file for each hour and
owner, a block for each whole minute, written once in the first look after it, for as long as the venue is. In
``.tens`` likewise, two minutes to a file, those of ten seconds, for an hour. A record is what a commit had written: the
board's slots, and the first runners of the standings with their scores, deflated. A record of watched runners
(racing/store/watched.py) follows where there are any.

A minute in which no owner looked, or in which the disk was full, has none.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from racing.model import FloatArray, IntArray
from racing.store.blocks import (
    HEADER,
    Block,
    DamagedFileError,
    damaged,
    files_in,
    header_of,
    read_blocks_of,
    sound_blocks,
    write_blocks,
)
from racing.store.client import store_errors
from racing.store.commit import CommitRecord, decode_commit, decode_frame, placed_in, read_commit
from racing.store.keys import VenueKeys, member
from racing.store.planes import columns, planes
from racing.store.protocol import SyncClient
from racing.store.reel import reel_folder
from racing.store.watched import Point, Watched, pack_watched, point_in, watched_at

MINUTE_MS = 60_000
KEPT_MAX = 10_000
"""Standings of one record, two hundred pages of 50: 2 to 3 MB an hour."""
_MAGIC = b"SAIMAMIN"
_MINUTE, _WATCHED = b"M", b"W"
_WHAT = "kept standings"
_FORMAT = 1
"""Version of this form; a file of a newer one is refused."""
_LEVEL = 6
_HEAD = struct.Struct("<QIII")
"""Moment (ms, log time), runners in the standings, slots of the board, standings that are kept."""
_MOMENT = struct.Struct("<Q")
"""What records of either kind begin with."""
_NAME = re.compile(r"(\d{15})_(\d+)\.(minutes|tens)")


class Pace(NamedTuple):
    """How often standings are kept: a record for each step, a file for each period, removed when so old."""

    step_ms: int
    period_ms: int
    suffix: str
    lives_ms: int | None


BY_MINUTE = Pace(MINUTE_MS, 3_600_000, "minutes", None)
BY_TENS = Pace(10_000, 120_000, "tens", 3_720_000)
"""Short files: each is written anew with every record."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The standings as a commit wrote them. board: runners by slot. runners, score: from the first standing on.

    watched: where those stood that are kept wherever they stand.
    """

    at_ms: int
    field: int
    board: IntArray
    runners: IntArray
    score: FloatArray
    watched: Watched = ()

    def point(self, runner: int) -> Point | None:
        """Where a runner stood; None where it was not among those kept. Cost: O(kept)."""
        found = np.flatnonzero(self.runners == runner)
        return self.stood(runner, int(found[0]), float(self.score[found[0]])) if len(found) else None

    def stood(self, runner: int, rank: int, score: float) -> Point:
        """The point of a runner of this rank, from 0, and score."""
        slots = np.flatnonzero(self.board == runner)
        return int(slots[0]) + 1 if len(slots) else None, rank + 1, float(f"{score:.7g}")


# -- the form ------------------------------------------------------------------------------------------------


def pack(minute: Minute) -> bytes:
    """A record. Scores fall, so what is written of them is how far their bits (float32) lie apart."""
    bits = _turned(minute.score.astype(np.float32).view(np.int32))
    wide = np.concatenate([np.zeros(1, np.int64), bits.astype(np.int64)])
    apart = wide[:-1] - wide[1:]
    head = _HEAD.pack(minute.at_ms, minute.field, len(minute.board), len(minute.runners))
    return head + zlib.compress(b"".join(map(planes, (minute.board, minute.runners, apart))), _LEVEL)


def unpack(data: bytes) -> Minute:
    """The record, without who is watched. Raises DamagedFileError."""
    try:
        at_ms, field, slots, kept = _HEAD.unpack_from(data)
        board, runners, apart = columns(zlib.decompress(data[_HEAD.size :]), slots, kept, kept)
    except (struct.error, zlib.error, ValueError) as exc:
        raise DamagedFileError(f"a minute that cannot be decoded: {exc}") from exc
    bits = _turned((-np.cumsum(apart)).astype(np.uint32).view(np.int32))  # sums wrap around as the differences did
    return Minute(at_ms, field, board, runners, bits.view(np.float32).astype(np.float64))


def _turned(bits: np.ndarray[tuple[int], np.dtype[np.int32]]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Bits of floats as whole numbers in the order of the floats, and back."""
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int32)


# -- writing -------------------------------------------------------------------------------------------------


class MinuteBook:
    """Keeps a venue's standings of each minute, or of another step, while this process owns it."""

    def __init__(self, client: SyncClient, keys: VenueKeys, folder: Path, pace: Pace = BY_MINUTE) -> None:
        self._client = client
        self._keys = keys
        self._folder = folder
        self._pace = pace
        self._last_ms: int | None = None
        self._read: tuple[CommitRecord, list[int], Minute] | None = None

    def keep(self, epoch: int, now_ms: int) -> bool:
        """Write the standings of the present step if none of them are kept; whether they were written.

        Call soon after each whole step. Raises StoreError, OSError; then the next call does it. Cost: one read of
        KEPT_MAX members where something was folded since, a rank and a score of the server for each that is watched,
        and the file of the period written anew, 3 MB at most; none while the step lasts. Of a venue all of whose
        runners are on the board steps of less than a minute are not kept.
        """
        if self._last_ms is None:
            self._last_ms = self._last_kept()
        step_ms = self._pace.step_ms
        if now_ms // step_ms <= self._last_ms // step_ms:
            return False
        found = self._present(now_ms)
        if found is None or found.at_ms // step_ms <= self._last_ms // step_ms:
            return False
        self._last_ms = found.at_ms
        if step_ms < MINUTE_MS and found.field <= len(found.board):
            return False
        write_minute(self._folder, self._keys.venue, found, epoch, self._pace)
        self._remove_old(found.at_ms)
        return True

    def _remove_old(self, now_ms: int) -> None:
        """Remove files of which nothing is young enough."""
        if self._pace.lives_ms is not None:
            oldest_ms = now_ms - self._pace.lives_ms - self._pace.period_ms
            for name in minute_files(self._folder, self._keys.venue, self._pace):
                if name.period_ms < oldest_ms:
                    name.path.unlink(missing_ok=True)

    def _last_kept(self) -> int:
        """The moment of the newest record; 0 without one. A damaged file counts as none."""
        for name in reversed(minute_files(self._folder, self._keys.venue, self._pace)):
            with suppress(DamagedFileError):
                return max(unpack(data).at_ms for kind, data in _sound(name.path) if kind == _MINUTE)
        return 0

    def _present(self, now_ms: int) -> Minute | None:
        """The board and the standings, of one moment; None before the first commit and frame."""
        commit, wanted = read_commit(self._client, self._keys), watched_at(self._client, self._keys, now_ms)
        if self._read is not None and self._read[1] == wanted and _same(self._read[0], commit):
            return replace(self._read[2], at_ms=commit.as_of_ms)
        pipe = self._client.pipeline(transaction=True)
        pipe.get(self._keys.commit)
        pipe.execute_command("ZCARD", self._keys.standings)
        pipe.xrevrange(self._keys.frames, count=1)
        pipe.zrange(self._keys.standings, 0, KEPT_MAX - 1, withscores=True)
        for runner in wanted:
            pipe.execute_command("ZRANK", self._keys.standings, member(runner))
            pipe.execute_command("ZSCORE", self._keys.standings, member(runner))
        with store_errors():
            raw_commit, field, frames, rows, *places = pipe.execute()
        raw = frames[0][1].get(b"frame", b"") if frames else b""
        if not raw_commit or placed_in(raw) is None:
            return None
        commit = decode_commit(raw_commit)
        board = np.array([slot.runner for slot in decode_frame(raw).slots], np.int64)
        runners = np.array([int(name) for name, _ in rows], np.int64)
        scores = 0.0 - np.array([score for _, score in rows], np.float64)
        found = Minute(commit.as_of_ms, int(field), board, runners, scores)
        stand = [each for each in zip(wanted, places[0::2], places[1::2], strict=True) if None not in each]
        found = replace(found, watched=tuple([(n, found.stood(n, rank, 0.0 - score)) for n, rank, score in stand]))
        self._read = commit, wanted, found
        return found


def _same(old: CommitRecord, new: CommitRecord) -> bool:
    """Whether neither board nor standings have changed from one commit to another."""
    return (old.epoch, old.frame, old.position, old.sets_position) == (
        new.epoch,
        new.frame,
        new.position,
        new.sets_position,
    )


def write_minute(folder: Path, venue: str, minute: Minute, epoch: int, pace: Pace = BY_MINUTE) -> None:
    """Put a record into the file of its period and owner. Raises StoreError where that is damaged, OSError."""
    home = reel_folder(folder, venue)
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{minute.at_ms // pace.period_ms * pace.period_ms:015d}_{epoch}.{pace.suffix}"
    before = [block for block in _sound(path) if block[0] != HEADER] if path.exists() else []
    watched = [(_WATCHED, pack_watched(minute.at_ms, minute.watched))] if minute.watched else []
    write_blocks(path, _MAGIC, [header_of(_FORMAT), *before, (_MINUTE, pack(minute)), *watched])


# -- reading -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class MinuteFile:
    """A file as its name tells it."""

    period_ms: int
    epoch: int
    path: Path


def minute_files(folder: Path, venue: str, pace: Pace = BY_MINUTE) -> list[MinuteFile]:
    """The files of a venue, oldest first. Raises StoreError."""
    found = [(match, path) for path in files_in(reel_folder(folder, venue)) if (match := _NAME.fullmatch(path.name))]
    return sorted(MinuteFile(int(match[1]), int(match[2]), path) for match, path in found if match[3] == pace.suffix)


def minute_bytes(path: Path) -> bytes:
    """A whole file that is right to its last byte. Raises StoreError."""
    _sound(path)
    return path.read_bytes()


def points_between(
    folder: Path, venue: str, runner: int, from_ms: int, to_ms: int, pace: Pace = BY_MINUTE
) -> dict[int, Point | None]:
    """Where a runner stood, by the whole step, within [from_ms, to_ms); None: not among those kept.

    Steps of which there is no record are left out. Raises StoreError, which names a damaged file. Cost: some 1 ms for
    each record of 10,000, less where it was watched.
    """
    points: dict[int, Point | None] = {}
    for name in minute_files(folder, venue, pace):
        if from_ms - pace.period_ms < name.period_ms < to_ms:
            try:
                points |= _points_in(name.path, runner, range(from_ms, to_ms), pace.step_ms)
            except DamagedFileError as exc:
                raise damaged(name.path, _WHAT, str(exc)) from exc
    return dict(sorted(points.items()))


def _points_in(path: Path, runner: int, within: range, step_ms: int) -> dict[int, Point | None]:
    """Where a runner stood by a file, by the whole step: as it was watched, else among the first."""
    found: dict[int, Point | None] = {}
    for step, data in _records(path, _MINUTE, within, step_ms):
        found[step] = unpack(data).point(runner)
    for step, data in _records(path, _WATCHED, within, step_ms):  # read last: the file may be written anew in between
        if (stood := point_in(data, runner)) is not None:
            found[step] = stood
    return found


def _records(path: Path, kind: bytes, within: range, step_ms: int) -> Iterator[tuple[int, bytes]]:
    """Records of a kind, each with the whole step that it is of. Raises DamagedFileError, StoreError."""
    for data in read_blocks_of(path, _MAGIC, kind):
        (at_ms,) = _MOMENT.unpack_from(data)
        step = at_ms // step_ms * step_ms
        if step in within:
            yield step, data


def _sound(path: Path) -> list[Block]:
    """The blocks of a file that is right to its last byte. Raises StoreError for a newer form."""
    return sound_blocks(path, _MAGIC, _FORMAT, _WHAT)
