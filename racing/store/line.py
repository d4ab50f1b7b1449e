"""One connection for commands that many wait for: written in one go, packed and read by hiredis alone.

redis-py's pipeline costs 100 us of CPU a round trip, this 6 (an entry of 3.6 KB, measured side by side). redis-py still
makes the connection, with all that a URL can ask for; then its transport is taken over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import hiredis
import redis

from racing.errors import NotDurableError
from racing.store.client import SOCKET_TIMEOUT_S, store_errors, wrapped
from racing.store.cluster import Seeking, elsewhere, key_of, venue_of
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient

Command = tuple[Any, ...]


class Asking(Protocol):
    """What a desk appends through."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in order, a StoreError in the place of one that is an error.

        Raises StoreUnavailableError where they did not all come in time: what was done is then not known.
        """
        ...


class ClosableAsking(Asking, Protocol):
    """One with connections of its own."""

    def close(self) -> None:
        """Hang up; who waits is told that Redis is away."""


class Pipeline:
    """Asks by redis-py's pipeline: for tools and tests, over any client."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As Asking has it."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return [_told(reply) for reply in await pipe.execute(raise_on_error=False)]


class Line:
    """Asks over one connection, made when it is first needed and again after it broke; never repeats a command.

    Bound: what its callers wait for. Each waits for its own replies, at most SOCKET_TIMEOUT_S.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._wire: _Wire | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As Asking has it."""
        with store_errors():
            wire = self._wire
            if wire is None or wire.broken is not None:
                wire = await self._connected()
            return await wire.ask(commands)

    async def _connected(self) -> _Wire:
        async with self._connecting:
            if self._wire is None or self._wire.broken is not None:
                connection = self._client.connection_pool.make_connection()
                await connection.connect()
                self._wire = _Wire(connection)
            return self._wire

    def doubt(self) -> None:
        """Hang up, and look on a cluster for the node anew: this one may have been replaced."""
        if self._wire is not None:
            self._wire.doubt()

    def close(self) -> None:
        """Hang up; who waits is told that Redis is away."""
        if self._wire is not None:
            self._wire.break_off(redis.exceptions.ConnectionError("the connection was closed"))


Promise = Callable[[Asking], Asking]
"""Makes of a line one that promises more; it must hold for one connection, so it stands on the line of one node."""


class RoutedLine:
    """Asks over a line of its own for each venue of a cluster; all commands of one call have keys of one venue.

    Each is made when it is first needed. Bound: as many as there are venues.
    """

    def __init__(self, client: RoutedClient, promise: Promise | None) -> None:
        self._client = client
        self._promise = promise
        self._lines: dict[str, tuple[Line, Asking]] = {}

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As Asking has it."""
        key = key_of(commands[0])
        found = self._lines.get(venue_of(key))
        if found is None:
            line = Line(self._client.at(key))
            found = self._lines[venue_of(key)] = line, (line if self._promise is None else self._promise(line))
        try:
            return await found[1].ask(commands)
        except NotDurableError:
            found[0].doubt()  # a primary without replicas may have been replaced by one of them, and not know
            raise

    def close(self) -> None:
        """Hang up; who waits is told that Redis is away."""
        for line, _ in self._lines.values():
            line.close()


class _Promised:
    def __init__(self, line: Line, promise: Promise) -> None:
        self.ask = promise(line).ask
        self.close = line.close


def line_over(client: AsyncClient, promise: Promise | None = None) -> ClosableAsking:
    """A line over a client: on a cluster one for each venue."""
    if isinstance(client, RoutedClient):
        return RoutedLine(client, promise)
    line = Line(client)
    return line if promise is None else _Promised(line, promise)


@dataclass(slots=True)
class _Asked:
    wanted: int
    done: asyncio.Future[list[Any]]
    timer: asyncio.TimerHandle
    replies: list[Any] = field(default_factory=list)


class _Wire(asyncio.Protocol):
    """A connection of redis-py's whose transport speaks to us instead."""

    def __init__(self, connection: Any) -> None:
        self.broken: Exception | None = None
        self._asked: deque[_Asked] = deque()
        self._reader = hiredis.Reader(replyError=redis.exceptions.ResponseError)
        self._loop = asyncio.get_running_loop()
        self._seeking = connection if isinstance(connection, Seeking) else None
        # redis-py has no public names for these; it is left a connection that is closed, and speaks no more
        self._writer: asyncio.StreamWriter = connection._writer  # noqa: SLF001  # see above; its end would be ours
        connection._reader = connection._writer = None  # noqa: SLF001  # see above
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in order. Raises what broke the connection."""
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        timer = self._loop.call_later(SOCKET_TIMEOUT_S, self._late)
        self._asked.append(_Asked(len(commands), done, timer))
        try:
            self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        except RuntimeError as exc:  # uvloop's word for a connection that the server closed a moment before
            self.break_off(redis.exceptions.ConnectionError(f"the connection was lost: {exc}"))
        return [self._told(reply) for reply in await done]

    def _told(self, reply: Any) -> Any:
        """A reply, or the StoreError that an error reply stands for; one that the slot is elsewhere ends the wire."""
        if not isinstance(reply, redis.exceptions.RedisError):
            return reply
        if elsewhere(reply):
            reply = self._seeking.elsewhere(reply) if self._seeking is not None else reply
            self.break_off(reply)
        return wrapped(reply)

    def doubt(self) -> None:
        """As Line has it."""
        if self._seeking is not None:
            self._seeking.doubt()
        self.break_off(redis.exceptions.ConnectionError("the server is in doubt"))

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are whole."""
        self._reader.feed(data)
        try:
            while self._asked and (reply := self._reader.gets()) is not False:
                first = self._asked[0]
                first.replies.append(reply)
                if len(first.replies) == first.wanted:
                    self._asked.popleft()
                    first.timer.cancel()
                    if not first.done.done():  # else its asker has gone
                        first.done.set_result(first.replies)
        except hiredis.ProtocolError as exc:
            self.break_off(redis.exceptions.ConnectionError(f"no reply of a Redis server: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.break_off(redis.exceptions.ConnectionError(f"the connection was lost: {exc or 'closed by the server'}"))

    def _late(self) -> None:
        self.break_off(redis.exceptions.TimeoutError(f"no reply within {SOCKET_TIMEOUT_S} s"))

    def break_off(self, why: Exception) -> None:
        """End the connection: replies that come later belong to nobody."""
        if self.broken is not None:
            return
        self.broken = why
        self._transport.abort()
        while self._asked:
            waiting = self._asked.popleft()
            waiting.timer.cancel()
            if not waiting.done.done():
                waiting.done.set_exception(why)


def _told(reply: Any) -> Any:
    """A reply, or the StoreError that an error reply stands for."""
    return wrapped(reply) if isinstance(reply, redis.exceptions.RedisError) else reply
