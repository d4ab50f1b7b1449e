"""Virtual time: an asyncio loop whose clock jumps to what is next, and synchronous processes that share it.

A process (a scorer, say) is plain blocking code. It runs in a greenlet, and whatever would block it (a socket, an
event) hands over to the loop until virtual time has come. So the code under test runs as it is, in one thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVarTuple

import greenlet

_Ts = TypeVarTuple("_Ts")


class Dialled(Protocol):
    """Makes the connections of one API process or another."""

    def __call__(self, protocol: asyncio.Protocol, host: str) -> Awaitable[asyncio.Transport]: ...


class VirtualLoop(asyncio.BaseEventLoop):
    """Callbacks in the order of their moments; those of one moment in the order in which they were asked for.

    Nothing comes from outside, so waiting is a jump to the next timer. asyncio's own round does the same for sockets
    and real time, and was a sixth of a simulation's cost.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._asked = 0
        self.dial: Dialled | None = None
        self.hub = greenlet.getcurrent()  # runs the loop: every thread hands over to it

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now_s

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio has it."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._asked += 1
        heappush(self._timers, (when, self._asked, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio has it."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio has it."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """Run until the loop is stopped: what is ready, then the next timer, for as long as there is one."""
        ready, timers = self._ready, self._timers
        while not self._stopping:
            if ready:
                handle = ready.popleft()
            elif timers:
                when, _, handle = heappop(timers)
                if not handle.cancelled():
                    self._now_s = max(self._now_s, when)
            else:
                raise RuntimeError("the simulation stands still: nothing is scheduled any more")
            if not handle.cancelled():
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its moment comes."""

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """A connection through the simulated network; host names the process that makes it."""
        assert self.dial is not None
        protocol = protocol_factory()
        return await self.dial(protocol, host), protocol

    def _write_to_self(self) -> None:
        """Nobody sleeps."""


class Crash(greenlet.GreenletExit):  # type: ignore[misc]  # greenlet ships no types
    """Thrown into a process that is killed; no handler of Exception sees it."""


class Process:
    """Something that can be killed and paused: its threads are greenlets, its connections die with it."""

    def __init__(self, loop: VirtualLoop, name: str, *, skew_s: float = 0.0, drift: float = 0.0) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.paused_until_s = 0.0
        self.ends: list[Callable[[], None]] = []
        self._skew_s, self._drift = skew_s, drift
        self._threads: list[Thread] = []

    def now_s(self) -> float:
        """What the process takes for the time, s."""
        return self.loop.time() * (1 + self._drift) + self._skew_s

    def begin(self, run: Callable[[], None]) -> Thread:
        """A thread of the process; it starts at once, that is, when the loop comes to it."""
        thread = Thread(self, run)
        self._threads = [each for each in self._threads if not each.dead]
        self._threads.append(thread)
        self.loop.call_soon(thread.resume)
        return thread

    def pause(self, seconds: float) -> None:
        """SIGSTOP: what comes in meanwhile waits."""
        self.paused_until_s = max(self.paused_until_s, self.loop.time() + seconds)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, and nobody is told."""
        if not self.alive:
            return
        self.alive = False
        for thread in self._threads:
            thread.kill()
        for end in self.ends:
            end()
        self.ends.clear()


class Thread(greenlet.greenlet):  # type: ignore[misc]  # greenlet ships no types
    """One thread of a process; to be told apart from others only by what it waits for."""

    def __init__(self, process: Process, run: Callable[[], None]) -> None:
        super().__init__(run, process.loop.hub)
        self.process = process
        self._waits = False

    @staticmethod
    def current() -> Thread | None:
        """The simulated thread that runs just now; None in a coroutine or outside of a simulation."""
        found = greenlet.getcurrent()
        return found if isinstance(found, Thread) else None

    def resume(self) -> None:
        """Go on, unless the process is dead; after its pause if it is paused."""
        process = self.process
        if self.dead or not process.alive:
            return
        if process.loop.time() < process.paused_until_s:
            process.loop.call_at(process.paused_until_s, self.resume)
            return
        self._waits = False
        self.switch()

    def wait(self, seconds: float | None) -> None:
        """Hand over until wake(), or for so long."""
        assert self is greenlet.getcurrent(), "a thread waits for itself only"
        if not self.process.alive:
            raise Crash
        self._waits = True
        timer = None if seconds is None else self.process.loop.call_later(seconds, self._wake_up)
        assert self.parent is not None
        self.parent.switch()
        if timer is not None:
            timer.cancel()
        if not self.process.alive:
            raise Crash

    def wake(self) -> None:
        """End its wait, if it waits."""
        if self._waits:
            self._waits = False
            self.process.loop.call_soon(self.resume)

    _wake_up = wake

    def kill(self) -> None:
        """End it wherever it stands."""
        if not self.dead and self is not greenlet.getcurrent():
            self.throw(Crash)


class Event:
    """threading.Event for simulated threads."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Thread] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for thread in self._waiting:
            thread.wake()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """As threading.Event has it, in virtual time."""
        thread = Thread.current()
        if not self._set and thread is not None and (timeout is None or timeout > 0):
            self._waiting.append(thread)
            thread.wait(timeout)
            self._waiting.remove(thread)
        return self._set
