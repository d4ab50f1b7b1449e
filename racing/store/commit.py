"""The fenced commit: what one owner writes after folding, all or nothing, and only while it is the owner.

Safety rests on one watched key. A commit is (epoch, number): epochs never repeat, numbers count up within
one, and a digest tells the owner's own commit, whose reply was lost, from anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
import redis

from racing.errors import CorruptRecordError, FencedError, StoreUnavailableError
from racing.formats import FORMAT, format_of, refuse_newer
from racing.model import START, Frame, Place, Position
from racing.store.client import away, server_ms, store_errors
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient

FRAMES_MAX = 3_000
"""Frames kept: 5 minutes at one per 100 ms."""
_CURSORS_LIVE_MS = 60_000


def frames_kept(frame_ms: int) -> int:
    """Frames to keep where one is published at most every frame_ms: those of a minute at least, for cursors."""
    return max(FRAMES_MAX, -(-_CURSORS_LIVE_MS // max(frame_ms, 1)))


class CommitRecord(msgspec.Struct, frozen=True):
    """What the commit key holds, as JSON.

    position: all entries up to it are folded and in frame. sets_position: the sorted sets are
    complete up to it. as_of_ms: server time at which nothing folded was missing. counts: what became
    of every event so far. log_sum: checksum of all entries folded, None where it is not known. damaged: how often a new
    owner found the log to be other than what had been committed. compare: the sorted sets are to be compared with the
    race, whatever is known of them: somebody asked for it.
    format: of the whole state (racing/formats.py), so that a newer one is refused before anything is written.
    answers_ms: the age of the hash of answers (racing/store/answers.py).
    """

    epoch: int
    number: int
    position: str
    sets_position: str
    frame: int
    as_of_ms: int
    counts: dict[str, int] = {}
    digest: str = ""
    log_sum: int | None = None
    damaged: int = 0
    compare: bool = False
    format: int = 1
    answers_ms: int = 0


NO_COMMIT = CommitRecord(epoch=0, number=0, position=str(START), sets_position=str(START), frame=0, as_of_ms=0)


class FramePlace(msgspec.Struct, frozen=True):
    """Where a frame stands: all that is read of it while it is looked for."""

    epoch: int
    frame: int
    at_ms: int

    @property
    def place(self) -> Place:
        """As Frame has it."""
        return self.epoch, self.frame


_encode = msgspec.json.Encoder().encode
_decode_commit = msgspec.json.Decoder(CommitRecord).decode
decode_frame = msgspec.json.Decoder(Frame).decode
decode_place = msgspec.json.Decoder(FramePlace).decode


def placed_in(raw: bytes) -> FramePlace | None:
    """Where a frame stands; None for a damaged one, whose place the next one has taken."""
    try:
        return decode_place(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def encode_commit(record: CommitRecord) -> bytes:
    """A commit record as it is kept."""
    return _encode(record)


def decode_commit(raw: bytes) -> CommitRecord:
    """The commit record in its JSON. Raises CorruptRecordError on what is none, NewerFormatError on a newer one."""
    try:
        record = _decode_commit(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            refuse_newer("the commit record", format_of(raw))
        raise CorruptRecordError(f"the commit record cannot be decoded ({exc}): {raw!r:.200}") from exc
    refuse_newer("the commit record", record.format)
    for position in (record.position, record.sets_position):
        try:
            Position.parse(position)
        except ValueError as exc:
            raise CorruptRecordError(f"the commit record names {position!r:.100}, which is no position") from exc
    return record


def log_damage(position: Position, log_sum: int | None, record: CommitRecord) -> str | None:
    """How a log that was folded up to the commit is other than what was committed; None where it is the same."""
    committed = Position.parse(record.position)
    if position < committed:
        return f"it ends at {position}, but {committed} was committed"
    if position > committed or None in {log_sum, record.log_sum} or log_sum == record.log_sum:
        return None
    return f"its entries up to {position} have checksum {log_sum:08x}, but {record.log_sum:08x} was committed"


@dataclass(slots=True)
class Batch:
    """All that one commit writes."""

    position: Position
    sets_position: Position
    as_of_ms: int
    log_sum: int | None = None
    damaged: bool = False
    compared: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    frame: Frame | None = None
    checkpoint: tuple[str, bytes] | None = None
    gone: Sequence[str | bytes] = ()
    trim_ms: int | None = None
    answers_ms: int = 0
    set_commands: Sequence[tuple[Any, ...]] = field(default_factory=list)


def read_commit(client: SyncClient, keys: VenueKeys) -> CommitRecord:
    """The last commit of a venue; NO_COMMIT before the first."""
    with store_errors():
        raw = client.get(keys.commit)
    return decode_commit(raw) if raw else NO_COMMIT


class Committer:
    """The commits of one owner under its own epoch. After FencedError it is of no more use.

    Its client has one connection to the venue's node; every error on the way is resolved by reading
    the commit key again.
    """

    def __init__(self, client: SyncClient, keys: VenueKeys, *, frames_max: int = FRAMES_MAX) -> None:
        """frames_max: how many frames are kept."""
        self._frames_max = frames_max
        self._client = client
        self._keys = keys
        self._pipe = client.pipeline(transaction=True)
        self.last = NO_COMMIT

    def take_over(self, *, compare: bool = False) -> CommitRecord:
        """Become the owner: a new epoch in the commit key, so that any other owner's EXEC is refused.

        compare: ask the owner that restores next to compare the sorted sets. Returns the record from which to go on.
        Raises FencedError where two take over at once.
        """
        with store_errors():
            self._pipe.reset()
            self._pipe.watch(self._keys.commit)
            raw = self._pipe.get(self._keys.commit)
            before = decode_commit(raw) if raw else NO_COMMIT
            now_ms = server_ms(self._client)
            epoch, asked = max(before.epoch + 1, now_ms), before.compare or compare
            record = msgspec.structs.replace(before, epoch=epoch, number=0, digest="", compare=asked)
            self._execute([("SET", self._keys.commit, _encode(record))])
        self.last = record
        return record

    def begin(self) -> None:
        """Watch the commit key before folding. Raises FencedError when it is not as this owner left it."""
        with store_errors():
            self._pipe.reset()
            self._pipe.watch(self._keys.commit)
            raw = self._pipe.get(self._keys.commit)
        if raw is None or decode_commit(raw) != self.last:
            raise FencedError(f"venue {self._keys.venue}: another owner has committed")

    def close(self) -> None:
        """Watch nothing any more. What still watches says so when it is collected, in whichever thread that happens."""
        with suppress(redis.exceptions.RedisError, OSError):
            self._pipe.reset()

    def commit(self, batch: Batch) -> CommitRecord:
        """Write a batch, all or nothing, if nobody has committed since begin(). Returns the new record.

        Raises FencedError when nothing was written because the key moved, or when it can't be told;
        a commit whose reply was lost is recognised by its number and digest.
        """
        record, commands = self._commands(batch)
        try:
            with store_errors():
                self._execute(commands)
        except StoreUnavailableError:
            self._resolve(record)
        self.last = record
        return record

    def _resolve(self, record: CommitRecord) -> None:
        """After a lost reply: quiet if the commit is there, else FencedError."""
        try:
            with store_errors():
                self._pipe.reset()  # asks the server too, which may not answer
            found = read_commit(self._client, self._keys)
        except StoreUnavailableError as exc:
            raise FencedError(f"venue {self._keys.venue}: a commit's reply was lost and Redis is away") from exc
        if found != record:
            raise FencedError(f"venue {self._keys.venue}: a commit was lost")

    def _execute(self, commands: Sequence[tuple[Any, ...]]) -> None:
        self._pipe.multi()
        for command in commands:
            self._pipe.execute_command(*command)
        try:
            self._pipe.execute()
        except redis.exceptions.WatchError as exc:
            if away(exc):
                raise
            raise FencedError(f"venue {self._keys.venue}: another owner has committed") from exc

    def _commands(self, batch: Batch) -> tuple[CommitRecord, list[tuple[Any, ...]]]:
        """The next record, and the commands that write a commit: record first, then frame, checkpoint and sets."""
        keys, last = self._keys, self.last
        body: list[tuple[Any, ...]] = []
        frame = last.frame
        if batch.frame is not None:
            frame = batch.frame.frame
            body.append(
                (
                    "XADD",
                    keys.frames,
                    "MAXLEN",
                    "~",
                    self._frames_max,
                    batch.frame.name,
                    "frame",
                    _encode(batch.frame),
                )
            )
        if batch.checkpoint is not None:
            body.append(("HSET", keys.checkpoints, *batch.checkpoint))
        if batch.gone:
            body.append(("HDEL", keys.checkpoints, *batch.gone))
        if batch.trim_ms is not None:
            body.append(("XTRIM", keys.log, "MINID", "~", batch.trim_ms))
        body += batch.set_commands
        record = CommitRecord(
            epoch=last.epoch,
            number=last.number + 1,
            position=str(batch.position),
            sets_position=str(batch.sets_position),
            frame=frame,
            as_of_ms=batch.as_of_ms,
            counts=batch.counts,
            digest=_digest(body),
            log_sum=batch.log_sum,
            damaged=last.damaged + batch.damaged,
            compare=last.compare and not batch.compared,
            format=FORMAT,
            answers_ms=batch.answers_ms,
        )
        return record, [("SET", keys.commit, _encode(record)), *body]


def _digest(commands: Sequence[tuple[Any, ...]]) -> str:
    """Names what a commit writes: its frame and checkpoint by content, its set members by number."""
    hashed = blake2b(digest_size=8)
    for command in commands:
        parts = command if command[0] in {"XADD", "HSET"} else (command[0], command[1], len(command))
        for part in parts:
            hashed.update(part if isinstance(part, bytes) else str(part).encode())
    return hashed.hexdigest()


def last_frame(client: SyncClient, keys: VenueKeys) -> Frame | None:
    """The current frame; None before the first, and for a damaged one. Raises StoreUnavailableError."""
    with store_errors():
        raws = client.xrevrange(keys.frames, count=1)
    try:
        return decode_frame(raws[0][1][b"frame"]) if raws else None
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return None  # its place is taken by a new one, with the next number
