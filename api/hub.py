"""What the live streams of one subject have in common, be it a venue's board or a merchant's standings.

A subject that is followed has a task. At most so often it looks at what is new, makes one message of it for each group
of clients that are told the same, and writes it to those who have what was told before; who was not done reading gets
what changed since what it has, once it is, or the whole: the latest wins.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from api import sse
from api.stream import STALL_S, Stream
from racing.metrics import METRICS

log = structlog.get_logger("saima.live")

LOOK_S: Final = 1.0
"""A subject in which nothing happens is looked at this often: whether its data is stale, and who may still see it."""
PING_S: Final = 15.0
_TURN: Final = 200
"""Streams written to before others have their turn: some 1.5 ms."""

K = TypeVar("K", bound=Hashable)
"""What tells groups apart: clients of one kind are told the same."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[K]):
    """What is asked of a stream, and by whom: since is what the client has; caller and key as in Stream."""

    kind: K
    since: Any
    caller: str
    key: str


class Group(ABC):
    """Clients that are told the same, as they were told last."""

    def __init__(self) -> None:
        self.streams: set[Stream] = set()
        self.late: set[Stream] = set()
        """Those of them that were not ready for what is new."""
        self.sent_s = time.monotonic()
        """When all of them were last written to."""
        self.version = 0
        self.message = b""
        """What makes this version of the one before."""
        self.told = 0
        """The version that those who were ready have been written."""

    @property
    @abstractmethod
    def place(self) -> Hashable:
        """Names what is told now."""

    @abstractmethod
    def look(self) -> None:
        """Take what is new, if something is: then there is a new version, with its message."""

    @abstractmethod
    def first(self, since: Any) -> bytes:
        """What a client must be told that comes and has this; None: it has nothing."""

    @abstractmethod
    def since(self, place: Any) -> bytes:
        """What a client must be told that was told what has this name: what changed, if that is kept, else all."""


class Followed(ABC, Generic[K]):
    """A subject: makes its groups, and looks at what is new for all of them."""

    label = ""
    """The venue by whose name its streams are counted; empty for those of merchants."""
    every_s = 0.1
    """Between two messages to a client, at least."""

    @property
    def news(self) -> asyncio.Event | None:
        """What is set at the next news; None: nobody can tell, look as often as may be."""
        return None

    @abstractmethod
    def group(self, kind: K) -> Group:
        """A new group, told what there is now."""

    @abstractmethod
    def may(self, kind: K, key: str) -> bool:
        """Whether a key, by its id, or whoever has none (empty) may follow at this moment."""

    async def look(self, kinds: Iterable[K]) -> None:
        """Take what is new for groups of these kinds, where that has to be waited for."""


class Hub(Generic[K]):
    """All streams of one subject, and the task that writes to them while there are any."""

    def __init__(self, followed: Followed[K], left: Callable[[Stream], None]) -> None:
        """left: told of each stream that has ended."""
        self.followed = followed
        self._left = left
        self._groups: dict[K, Group] = {}
        self._looked_s = time.monotonic()
        self._sent_bytes = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """As the subject has it."""
        return self.followed.label

    def group(self, kind: K) -> Group | None:
        """The group of a kind, while it has clients."""
        return self._groups.get(kind)

    def join(self, stream: Stream, asked: Asked[K]) -> None:
        """Write to a stream from now on: first what it lacks of what the others have."""
        group = self._groups.get(asked.kind)
        if group is None:
            group = self._groups[asked.kind] = self.followed.group(asked.kind)
        stream.begin()
        self._write(stream, group, group.first(asked.since))
        group.streams.add(stream)
        if self.task is None:
            self.task = asyncio.create_task(self._follow(), name=f"live-{self.label}")

    def leave(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        for kind, group in list(self._groups.items()):
            group.streams.discard(stream)
            group.late.discard(stream)
            if not group.streams:
                del self._groups[kind]
        self._left(stream)

    async def _follow(self) -> None:
        while self._groups:
            news, begun_s = self.followed.news, time.monotonic()
            try:
                await self.followed.look(tuple(self._groups))
                await self._round(time.monotonic())
            except Exception:
                log.exception("unexpected error while writing to live streams", venue=self.label)
            every_s = self.followed.every_s
            await asyncio.sleep(max(0.0, begun_s + every_s - time.monotonic()))
            if news is not None and not any(group.late for group in self._groups.values()):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S - every_s):  # wait_for may lose a cancellation (Python 3.11)
                        await news.wait()
        self.task = None

    async def _round(self, now_s: float) -> None:
        """Write to every stream what it lacks, some at a time."""
        look = now_s - self._looked_s >= LOOK_S - self.followed.every_s
        if look:
            self._looked_s = now_s
            self._end_forbidden()
        for group in list(self._groups.values()):
            group.look()
            new, group.told = group.version != group.told, group.version
            ping = not new and now_s - group.sent_s >= PING_S - LOOK_S
            if new or ping:
                group.sent_s = now_s
            streams = tuple(group.streams if new or look else group.late)
            for start in range(0, len(streams), _TURN):
                for stream in streams[start : start + _TURN]:
                    self._serve(stream, group, now_s, ping=ping)
                await asyncio.sleep(0)
        METRICS.count("saima_live_bytes_total", self.label, self._sent_bytes)
        self._sent_bytes = 0

    def _end_forbidden(self) -> None:
        """End the streams of those who may no longer follow: keys were revoked, the venue is closed, or it is gone."""
        for kind, group in list(self._groups.items()):
            for key in {stream.key for stream in group.streams}:
                if not self.followed.may(kind, key):
                    for stream in [stream for stream in group.streams if stream.key == key]:
                        stream.end("closed")

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
            METRICS.count("saima_live_dropped_total", self.label)
            stream.transport.abort()
