"""Live streams of a process: who follows which board, and what is written to whom, encoded once for all of them.

A venue that is followed has a task. Ten times a second at most it looks at the current frame, makes one message of what
changed for each group of clients that see the same board, and writes it to those who have the board before; who was
not done reading gets what changed since the frame that it has, once it is, or the whole frame: the latest wins.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

import structlog

from api import sse
from api.boards import board_of, encode, is_due, renewal
from api.changes import Board, changes
from api.errors import ProblemError
from api.frames import Frames
from api.grants import Grants
from api.history import Shown
from api.parts import Sight
from api.stream import STALL_S, Stream
from api.tokens import issued_s
from api.view import VenueView
from racing.metrics import METRICS
from racing.model import Place
from racing.settings import Settings

log = structlog.get_logger("saima.live")

EVERY_S: Final = 0.1
"""Between two messages to a client, at least."""
LOOK_S: Final = 1.0
"""A venue in which nothing happens is looked at this often: whether its data is stale, and who may still see it."""
PING_S: Final = 15.0
_TURN: Final = 200
"""Streams written to before others have their turn: some 1.5 ms."""
_SINCES_MAX: Final = 64
"""Messages kept for clients that have another frame than the one before: after a restart all name few."""
_RETRY_AFTER_S: Final = 5

LIMITS: Final = (10, 20, 50, 100, 200, 500, 1000)
"""Slots of a board that is followed: few different ones, so that many clients share each message."""

May = Callable[[VenueView, str], bool]
"""Whether a key, by its id, or whoever has none (empty) may follow a venue at this moment."""


class Kind(NamedTuple):
    """What the clients of a group see: so many slots; detailed: with scores also where they are not public.

    tokens, segment: as Part has them; there are as many segments as rules declare.
    """

    limit: int
    detailed: bool
    tokens: bool
    segment: str | None = None


class Asked(NamedTuple):
    """What is asked of a stream, and by whom: since is the frame that the client has; caller and key as in Stream."""

    kind: Kind
    since: Place | None
    caller: str
    key: str


class Group:
    """Clients that see the same board, as they were last told of it."""

    def __init__(self, view: VenueView, kind: Kind, lives_s: int) -> None:
        """lives_s: how long tokens of slots are good for."""
        self._view, self._kind, self._lives_s = view, kind, lives_s
        self.streams: set[Stream] = set()
        self.late: set[Stream] = set()
        """Those of them that were not ready for what is new."""
        self.sent_s = time.monotonic()
        """When all of them were last written to."""
        self.version = 0
        self.message = b""
        """What makes the board of this version of the one before."""
        self._take()

    def _take(self) -> None:
        """Make the venue's current board that of the group."""
        view, now_ms = self._view, time.time_ns() // 1_000_000
        self._frame, self._flags = view.frame, self._flags_at(now_ms)
        details, stale, _ = self._flags
        issued = issued_s(view.frame.at_ms, now_ms) if self._kind.tokens else 0
        self._sight = Sight(self._kind.limit, details, stale, self._kind.tokens, issued, self._kind.segment)
        self._board = board_of(view, view.now, self._sight)
        self._full: bytes | None = None
        self._since: dict[Place, bytes] = {}

    def _flags_at(self, now_ms: int) -> tuple[bool, bool, int]:
        """Besides the frame all that a board is made of: whether with details, stale, and when tokens were due."""
        view, kind = self._view, self._kind
        due = renewal(now_ms // 1000, self._lives_s) if kind.tokens else 0
        return kind.detailed or view.public_details, view.stale(), due

    @property
    def place(self) -> Place:
        """Where the frame of its board stands."""
        return self._frame.place

    def look(self) -> bool:
        """Take what is new: a frame, that its data is stale or no longer so, more to see of it, or due tokens."""
        if self._view.frame is self._frame and self._flags_at(time.time_ns() // 1_000_000) == self._flags:
            return False
        before, (details, _, due) = self._board, self._flags
        self._take()
        renew = due != self._flags[-1]
        self.message = self._changes(before, renew=renew) if details == self._flags[0] else self.full()
        self.version += 1
        return True

    def full(self) -> bytes:
        """The event that carries the whole board."""
        if self._full is None:
            self._full = sse.event(b"frame", encode(self._board), name=self._frame.name)
        return self._full

    def since(self, place: Place) -> bytes:
        """What a client must be told that has the board of a frame: what changed, if that is kept, else the board."""
        known = self._since.get(place)
        if known is None:
            if len(self._since) >= _SINCES_MAX:
                self._since.clear()
            old = self._view.history.find(place) if place <= self.place else None
            known = self._since[place] = self.full() if old is None else self._changes_since(old)
        return known

    def _changes_since(self, old: Shown) -> bytes:
        board = board_of(self._view, old, self._sight)
        return self._changes(board, renew=is_due(old, self._sight, self._lives_s))

    def _changes(self, old: Board, *, renew: bool) -> bytes:
        return sse.event(b"changes", encode(changes(old, self._board, renew=renew)), name=self._frame.name)


class Hub:
    """All streams of one venue, and the task that writes to them while there are any."""

    def __init__(self, view: VenueView, lives_s: int, may: May, left: Callable[[Stream], None]) -> None:
        """lives_s: as Group has it. left: told of each stream that has ended."""
        self.view, self._lives_s = view, lives_s
        self._may, self._left = may, left
        self._name = view.venue.venue
        self._groups: dict[Kind, Group] = {}
        self._looked_s = time.monotonic()
        self._sent_bytes = 0
        self.task: asyncio.Task[None] | None = None

    def join(self, stream: Stream, asked: Asked) -> None:
        """Write to a stream from now on: first what it lacks of the board that the others have."""
        kind, since = asked.kind, asked.since
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(self.view, kind, self._lives_s)
        if since is not None and since > group.place:
            group.look()
        stream.begin()
        self._write(stream, group, group.full() if since is None else group.since(since))
        group.streams.add(stream)
        self._tell()
        if self.task is None:
            self.task = asyncio.create_task(self._follow(), name=f"live-{self._name}")

    def leave(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        for key, group in list(self._groups.items()):
            group.streams.discard(stream)
            group.late.discard(stream)
            if not group.streams:
                del self._groups[key]
        self._left(stream)
        self._tell()

    def end(self, reason: str, key: str) -> None:
        """Say good-bye to the streams of one key, or of none."""
        for stream in self._all():
            if stream.key == key:
                stream.end(reason)

    def _all(self) -> list[Stream]:
        return [stream for group in self._groups.values() for stream in group.streams]

    def _tell(self) -> None:
        METRICS.set("saima_live_streams", self._name, sum(len(group.streams) for group in self._groups.values()))

    async def _follow(self) -> None:
        while self._groups:
            shown, begun_s = self.view.shown, time.monotonic()
            try:
                await self._round(begun_s)
            except Exception:
                log.exception("unexpected error while writing to live streams", venue=self._name)
            await asyncio.sleep(max(0.0, begun_s + EVERY_S - time.monotonic()))
            if not any(group.late for group in self._groups.values()):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S - EVERY_S):  # wait_for may lose a cancellation (Python 3.11)
                        await shown.wait()
        self.task = None

    async def _round(self, now_s: float) -> None:
        """Write to every stream what it lacks, some at a time."""
        look = now_s - self._looked_s >= LOOK_S - EVERY_S
        if look:
            self._looked_s = now_s
            self._end_forbidden()
        for group in list(self._groups.values()):
            new = group.look()
            ping = not new and now_s - group.sent_s >= PING_S - LOOK_S
            if new or ping:
                group.sent_s = now_s
            streams = tuple(group.streams if new or look else group.late)
            for start in range(0, len(streams), _TURN):
                for stream in streams[start : start + _TURN]:
                    self._serve(stream, group, now_s, ping=ping)
                await asyncio.sleep(0)
        METRICS.count("saima_live_bytes_total", self._name, self._sent_bytes)
        self._sent_bytes = 0

    def _end_forbidden(self) -> None:
        """End the streams of those who may no longer follow: keys were revoked, the venue is closed, or it is gone."""
        for key in {stream.key for stream in self._all()}:
            if not self._may(self.view, key):
                self.end("closed", key)

    def _serve(self, stream: Stream, group: Group, now_s: float, *, ping: bool) -> None:
        """Write to a stream what it lacks, if it has taken all that it was written before; else the next round does."""
        transport = stream.transport
        if transport.is_closing():
            return
        behind = group.version - stream.version
        if transport.get_write_buffer_size():
            self._wait(stream, now_s)
            if behind:
                group.late.add(stream)
            return
        stream.waits_s = 0.0
        group.late.discard(stream)
        if behind:
            self._write(stream, group, group.message if behind == 1 else group.since(stream.place))
        elif ping:
            transport.write(sse.PING)

    def _write(self, stream: Stream, group: Group, message: bytes) -> None:
        stream.transport.write(message)
        stream.version, stream.place = group.version, group.place
        self._sent_bytes += len(message)

    def _wait(self, stream: Stream, now_s: float) -> None:
        """Wait for a client to read, but not for ever."""
        if not stream.waits_s:
            stream.waits_s = now_s
        elif now_s - stream.waits_s > STALL_S:
            METRICS.count("saima_live_dropped_total", self._name)
            stream.transport.abort()


class Live:
    """All live streams of a process, within their bounds."""

    def __init__(self, settings: Settings, frames: Frames, grants: Grants | None) -> None:
        self._most, self._most_each = settings.live_streams_max, settings.live_streams_per_caller
        self._lives_s = settings.token_lives_s
        self._frames = frames
        self._grants = grants if settings.keys == "on" else None
        self._hubs: WeakValueDictionary[str, Hub] = WeakValueDictionary()  # held by their streams
        self._streams = 0
        self._callers: Counter[str] = Counter()

    def check_room(self, venue: str, caller: str) -> None:
        """Raise ProblemError where there is no room for one more stream: 429 of this caller, 503 in this process."""
        retry = {"Retry-After": str(_RETRY_AFTER_S)}
        if self._most_each and self._callers[caller] >= self._most_each:
            METRICS.count("saima_live_refused_total", venue, reason="caller")
            told = f"{self._most_each} live streams of {caller} are open: close some, or read changes instead"
            raise ProblemError("too_many_requests", told, headers=retry)
        if self._streams >= self._most:
            METRICS.count("saima_live_refused_total", venue, reason="process")
            told = f"{self._most} live streams are open, as many as this process keeps: read changes instead"
            raise ProblemError("overloaded", told, headers=retry)

    def open(self, view: VenueView, asked: Asked, transport: asyncio.Transport, connections: set[Any]) -> None:
        """Make a stream of a connection, whose answer has begun, and write to it from now on."""
        name = view.venue.venue
        hub = self._hubs.get(name)
        if hub is None or hub.view is not view:
            hub = self._hubs[name] = Hub(view, self._lives_s, self._may, self._left)
        self._streams += 1
        self._callers[asked.caller] += 1
        stream = Stream(hub, asked.caller, asked.key)
        stream.take_over(transport, connections)
        hub.join(stream, asked)

    def _left(self, stream: Stream) -> None:
        self._streams -= 1
        self._callers[stream.caller] -= 1
        if not self._callers[stream.caller]:
            del self._callers[stream.caller]

    def _may(self, view: VenueView, key: str) -> bool:
        name = view.venue.venue
        if self._frames.views.get(name) is not view:
            return False
        is_open = name in self._frames.open_views
        if not key or self._grants is None:
            return is_open
        grant = self._grants.by_id(key)
        return grant is not None and (is_open or grant.reaches(name))

    async def stop(self) -> None:
        """End the tasks."""
        tasks = [hub.task for hub in self._hubs.values() if hub.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
