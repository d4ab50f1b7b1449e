"""The network between processes and the server: delays, lost requests and replies, partitions, resets.

Bytes of one connection arrive in order, those of different ones in any. What was sent before a connection broke may
still arrive: a server carries out commands that their sender has given up.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from tests.simulation.loop import Crash, Process, Thread, VirtualLoop
from tests.simulation.server import Args, Server, Status, resp

_QUICK_S = (0.0001, 0.0015)
_SLOW_S = (0.02, 1.5)
"""Slow messages are sometimes slower than a client waits for."""

Watch = Callable[["Session", Args, Any], None]


@dataclass
class Weather:
    """How the network is just now, as probabilities a message."""

    slow: float = 0.0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    black_hole: float = 0.5
    """Of the lost ones: how many are not told by a reset."""


class Network:
    """All connections to one server."""

    def __init__(self, loop: VirtualLoop, server: Server, rng: random.Random) -> None:
        self.loop = loop
        self.server = server
        self.rng = rng
        self.weather = Weather()
        self.server_up = True
        self.seen: Watch = lambda _, __, ___: None
        self._cut_until_s: dict[str, float] = {}
        self._open: list[Session] = []
        self._waiting: dict[bytes, list[Session]] = {}
        server.written = self._written

    # -- faults ----------------------------------------------------------------------------------------

    def cut(self, process: str, seconds: float) -> None:
        """A partition: between this process and the server nothing arrives for so long; then all that was sent."""
        self._cut_until_s[process] = self.loop.time() + seconds

    def calm(self) -> None:
        """No faults from now on."""
        self.weather = Weather()
        self._cut_until_s.clear()

    def server_down(self) -> None:
        """The server dies: every connection breaks, no other is made."""
        self.server_up = False
        for session in list(self._open):
            session.link.reset()
            session.close()

    def server_back(self) -> None:
        """The server answers again, with all its data."""
        self.server.restart()
        self.server_up = True

    def delay_s(self, process: str) -> float:
        """How long the next message of a process takes."""
        rng = self.rng
        low, high = _SLOW_S if rng.random() < self.weather.slow else _QUICK_S
        held_s = max(0.0, self._cut_until_s.get(process, 0.0) - self.loop.time())
        return held_s + low + (high - low) * rng.random()

    # -- connections -----------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """The server has taken a connection."""
        link.session = Session(self, link)
        self._open.append(link.session)

    def closed(self, session: Session) -> None:
        """The server has let a connection go."""
        if session in self._open:
            self._open.remove(session)

    def wait_for(self, session: Session, keys: Args) -> None:
        """Look at a session again when one of these keys is written."""
        for key in keys:
            self._waiting.setdefault(key, []).append(session)

    def _written(self, key: bytes) -> None:
        for session in self._waiting.pop(key, ()):
            self.loop.call_soon(session.look_again)


class Session:
    """One connection as the server has it: what it watches, queues and waits for."""

    def __init__(self, network: Network, link: Link) -> None:
        self.network = network
        self.link = link
        self.open = True
        self._server = network.server
        self._reader = hiredis.Reader()
        self._commands: deque[Args] = deque()
        self._watched: dict[bytes, int] = {}
        self._queued: list[Args] | None = None
        self._blocked: tuple[Args, asyncio.TimerHandle] | None = None

    def feed(self, data: bytes) -> None:
        """Commands have come."""
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            self._commands.append(command)
        self._go_on()

    def close(self) -> None:
        """Nothing is watched, queued or waited for any more."""
        self.open = False
        self._commands.clear()
        if self._blocked is not None:
            self._blocked[1].cancel()
            self._blocked = None
        self.network.closed(self)

    def _go_on(self) -> None:
        replies = []
        while self.open and self._commands and self._blocked is None:
            reply = self._carry_out(self._commands.popleft())
            if self._blocked is None:
                replies.append(resp(reply))
        if replies:
            self.link.answer(b"".join(replies))

    def _carry_out(self, command: Args) -> Any:
        name = command[0].upper()
        if self._queued is not None and name not in {b"EXEC", b"DISCARD"}:
            self._queued.append(command)
            return Status("QUEUED")
        match name:
            case b"WATCH":
                for key in command[1:]:
                    self._server.peek(key)
                    self._watched.setdefault(key, self._server.versions.get(key, 0))
                reply: Any = Status("OK")
            case b"UNWATCH":
                self._watched.clear()
                reply = Status("OK")
            case b"MULTI":
                self._queued = []
                reply = Status("OK")
            case b"DISCARD":
                self._queued = None
                self._watched.clear()
                reply = Status("OK")
            case b"EXEC":
                return self._exec()
            case b"XREAD":
                return self._xread(command)
            case _:
                reply = self._server.execute(command)
        self.network.seen(self, command, reply)
        return reply

    def _exec(self) -> Any:
        queued, self._queued = self._queued or [], None
        moved = any(self._server.versions.get(key, 0) != version for key, version in self._watched.items())
        self._watched.clear()
        if moved:
            self.network.seen(self, [b"EXEC"], None)
            return None
        replies = []
        for command in queued:
            replies.append(self._server.execute(command))
            self.network.seen(self, command, replies[-1])
        return replies

    def _xread(self, command: Args) -> Any:
        words = [word.upper() for word in command]
        reply = self._server.execute(command)
        if reply is None and b"BLOCK" in words:
            seconds = int(command[words.index(b"BLOCK") + 1]) / 1000
            self._blocked = (command, self.network.loop.call_later(seconds, self._waited_enough))
            names = command[words.index(b"STREAMS") + 1 :]
            self.network.wait_for(self, names[: len(names) // 2])
            return None
        self.network.seen(self, command, reply)
        return reply

    def look_again(self) -> None:
        """Something was written that this session waits for."""
        if self._blocked is None:
            return
        command, timer = self._blocked
        reply = self._server.execute(command)
        if reply is None:
            names = command[[word.upper() for word in command].index(b"STREAMS") + 1 :]
            self.network.wait_for(self, names[: len(names) // 2])
            return
        timer.cancel()
        self._unblock(command, reply)

    def _waited_enough(self) -> None:
        assert self._blocked is not None
        self._unblock(self._blocked[0], None)

    def _unblock(self, command: Args, reply: Any) -> None:
        self._blocked = None
        self.network.seen(self, command, reply)
        self.link.answer(resp(reply))
        self._go_on()


class Link:
    """One connection as the network has it: two directions, each in order."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.session: Session | None = None
        self.broken = False
        self.got: Callable[[bytes], None] = lambda _: None
        self.hung_up: Callable[[Exception | None], None] = lambda _: None
        self._there_s = self._back_s = 0.0
        self._there: deque[bytes] = deque()  # timers of one moment fire in any order, bytes arrive in theirs
        self._back: deque[bytes] = deque()
        process.ends.append(self.close)

    def send(self, data: bytes) -> None:
        """Bytes of the client on their way."""
        if self.broken:
            return
        network, weather = self.network, self.network.weather
        if network.rng.random() < weather.lost_request:
            self._break()
            return
        self._there_s = max(self._there_s, network.loop.time() + network.delay_s(self.process.name))
        self._there.append(data)
        network.loop.call_at(self._there_s, self._arrive)

    def _arrive(self) -> None:
        data = self._there.popleft()
        if self.session is not None and self.session.open and self.network.server_up:
            self.session.feed(data)

    def answer(self, data: bytes) -> None:
        """Bytes of the server on their way."""
        if self.broken:
            return
        network, weather = self.network, self.network.weather
        if network.rng.random() < weather.lost_reply:
            self._break()
            return
        self._back_s = max(self._back_s, network.loop.time() + network.delay_s(self.process.name))
        self._back.append(data)
        network.loop.call_at(self._back_s, self._deliver)

    def _deliver(self) -> None:
        if self.broken or not self.process.alive:
            return
        loop = self.network.loop
        if loop.time() < self.process.paused_until_s:
            loop.call_at(self.process.paused_until_s, self._deliver)
        else:
            self.got(self._back.popleft())

    def _break(self) -> None:
        """The connection is of no more use; the client hears of it, or waits in vain."""
        network = self.network
        if network.rng.random() < network.weather.black_hole:
            self.broken = True
            self._end_session()
        else:
            self.reset()

    def reset(self) -> None:
        """The connection breaks, and the client is told a moment later."""
        if self.broken:
            return
        self.broken = True
        self._end_session()
        delay_s = self.network.delay_s(self.process.name)
        self.network.loop.call_later(delay_s, self._tell, ConnectionResetError("connection reset by the simulation"))

    def _tell(self, why: Exception | None) -> None:
        if self.process.alive:
            self.hung_up(why)

    def close(self) -> None:
        """The client hangs up: the server hears of it after all that was sent before."""
        if not self.broken:
            self.broken = True
            self._end_session()

    def _end_session(self) -> None:
        loop = self.network.loop
        loop.call_at(max(self._there_s, loop.time() + self.network.delay_s(self.process.name)), self._close_session)

    def _close_session(self) -> None:
        if self.session is not None and self.session.open:
            self.session.close()


# -- how clients see it ----------------------------------------------------------------------------------


class SimSocket:
    """A connected socket for a simulated thread."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inbox = bytearray()
        self._end: Exception | bool = False
        self._timeout_s: float | None = None
        self._reader: Thread | None = None
        link.got, link.hung_up = self._got, self._hung_up

    @classmethod
    def connected(cls, network: Network, process: Process, timeout_s: float | None) -> SimSocket:
        """A socket, once the server has taken the connection. Raises OSError."""
        thread = Thread.current()
        assert thread is not None
        delay_s = 2 * network.delay_s(process.name)
        if timeout_s is not None and delay_s > timeout_s:
            thread.wait(timeout_s)
            raise TimeoutError("timed out")
        thread.wait(delay_s)
        if not network.server_up:
            raise ConnectionRefusedError("connection refused by the simulation")
        link = Link(network, process)
        network.opened(link)
        return cls(link)

    def _got(self, data: bytes) -> None:
        self._inbox += data
        if self._reader is not None:
            self._reader.wake()

    def _hung_up(self, why: Exception | None) -> None:
        self._end = why or True
        if self._reader is not None:
            self._reader.wake()

    @property
    def readable(self) -> bool:
        """Whether reading would not wait."""
        return bool(self._inbox) or self._end is not False

    @property
    def at_end(self) -> bool:
        """Whether the other side has hung up, and nothing is left to read."""
        return not self._inbox and self._end is not False

    def settimeout(self, seconds: float | None) -> None:
        self._timeout_s = seconds

    def gettimeout(self) -> float | None:
        return self._timeout_s

    def sendall(self, data: bytes) -> None:
        self._check()
        if isinstance(self._end, Exception):
            raise self._end
        self._link.send(bytes(data))

    def recv_into(self, buffer: bytearray) -> int:
        self._check()
        thread = Thread.current()
        assert thread is not None
        if not self.readable:
            if self._timeout_s == 0:
                raise BlockingIOError
            self._reader = thread
            try:
                thread.wait(self._timeout_s)
            except Crash:  # may have met it in a __del__ of redis-py's; whatever it waits for next is its end
                raise ConnectionResetError("the process is dead") from None
            self._reader = None
        if self._inbox:
            count = min(len(self._inbox), len(buffer))
            buffer[:count] = self._inbox[:count]
            del self._inbox[:count]
            return count
        if isinstance(self._end, Exception):
            raise self._end
        if self._end:
            return 0
        raise TimeoutError("timed out")

    def _check(self) -> None:
        """What of a killed process is being cleared away speaks to nobody."""
        if not self._link.process.alive:
            raise ConnectionResetError("the process is dead")

    def shutdown(self, how: int) -> None:
        self._link.close()

    def close(self) -> None:
        self._link.close()


class SimTransport(asyncio.Transport):
    """A connection for coroutines."""

    def __init__(self, link: Link, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._link = link
        self._protocol: Any = protocol
        self._lost = False
        link.got, link.hung_up = self._got, self._hung_up
        link.network.loop.call_soon(protocol.connection_made, self)

    def _got(self, data: bytes) -> None:
        if not self._lost:
            self._protocol.data_received(data)

    def _hung_up(self, why: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(why)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._link.send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._lost or not self._link.process.alive

    def close(self) -> None:
        self._link.close()
        self._link.network.loop.call_soon(self._hung_up, None)

    def abort(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Replies are small here: nobody falls behind."""

    def resume_reading(self) -> None:
        """As pause_reading."""


async def transport_of(network: Network, process: Process, protocol: asyncio.BaseProtocol) -> SimTransport:
    """A connection of a process, once the server has taken it. Raises OSError."""
    await asyncio.sleep(2 * network.delay_s(process.name))
    if not process.alive:
        await asyncio.Event().wait()
    if not network.server_up:
        raise ConnectionRefusedError("connection refused by the simulation")
    link = Link(network, process)
    network.opened(link)
    return SimTransport(link, protocol)


def socket_can_read(sock: SimSocket, timeout: float) -> bool:
    """In redis-py's place."""
    return sock.readable


def socket_is_closed(sock: SimSocket) -> bool:
    """In redis-py's place."""
    return sock.at_end
