"""One simulated deployment: API processes, scorers, senders and an operator, around one server, by one plan.

Saima's own code runs as it is: scorers from ``racing.crew.Scorer.run`` on, API processes from ``api.sending.send`` on,
both over redis-py. Replaced are only its clock, its threads, its chance and what redis-py connects to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from hashlib import blake2b
from typing import Any
from unittest import mock

import redis
import structlog

from api.frames import Frames
from api.service import Service
from racing.crew import Scorer
from racing.settings import Settings
from racing.store import checkpoints
from racing.store.client import connect_async
from racing.store.desk import Desk
from racing.store.line import line_over
from tests.simulation import network as net
from tests.simulation.loop import Event, Process, Thread, VirtualLoop
from tests.simulation.network import Network, Session, SimSocket, SimTransport, Weather
from tests.simulation.plan import Plan
from tests.simulation.server import Args, Server
from tests.untold import untold

BEGIN_MS = 1_800_000_000_000
"""The server's clock at the beginning of every run."""
VENUE = "hall-1"
LEASE_MS = 500
_JOIN_POLL_S = 0.01

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.server_clock_ms = float(BEGIN_MS)  # plus what has passed
        self.server = Server(lambda: self.server_clock_ms + self.loop.time() * 1000)
        self.network = Network(self.loop, self.server, self.rng("network"))
        self.network.seen = self._seen
        self.loop.dial = self._dial
        self.watchers: list[Callable[[str, Args, Any], None]] = []
        self.processes: dict[str, Process] = {}
        self.errors: list[str] = []
        self.lines = 0
        self._trace = blake2b(digest_size=16)
        self._tell = tell
        self._born = 0
        self._random = self.rng("world")
        self.loop.set_exception_handler(lambda _, context: self.errors.append(repr(context)))

    def rng(self, name: str) -> random.Random:
        """Chance of its own for each part, so that one part's draws do not shift another's."""
        return random.Random(f"{name} {self.plan.seed}")

    @property
    def trace(self) -> str:
        """Names all that has happened so far: equal for equal runs."""
        return self._trace.hexdigest()

    def note(self, who: str, what: bytes) -> None:
        """One line of the trace."""
        self.lines += 1
        line = b"%.6f %s %s" % (self.loop.time(), who.encode(), what)
        self._trace.update(line)
        if self._tell is not None:
            self._tell(repr(line[:300])[2:-1])

    def _seen(self, session: Session, command: Args, reply: Any) -> None:
        who = session.link.process.name
        self.note(who, b" ".join(command))
        for watcher in self.watchers:
            watcher(who, command, reply)

    async def _dial(self, protocol: asyncio.BaseProtocol, host: str) -> SimTransport:
        return await net.transport_of(self.network, self.processes[host], protocol)

    # -- processes -------------------------------------------------------------------------------------

    def process(self, name: str) -> Process:
        """A new process under a name that no other ever had: its clock goes wrong in its own way."""
        self._born += 1
        rng, plan = self._random, self.plan
        skew_s, drift = rng.uniform(-plan.skew_s, plan.skew_s), rng.uniform(-1e-4, 1e-4)
        made = Process(self.loop, f"{name}.{self._born}", skew_s=BEGIN_MS / 1000 + skew_s, drift=drift)
        self.processes[made.name] = made
        self.note(made.name, b"begins")
        return made

    def settings(self) -> Settings:
        """What every process is set to."""
        return _settings(self.plan.frame_ms)

    def scorer(self, name: str) -> Process:
        """A scorer process, as the command line runs one."""
        process = self.process(name)
        scorer = Scorer(f"redis://{process.name}", process.name, self.settings())
        process.begin(lambda: scorer.run(Event()))  # type: ignore[arg-type]  # stands in for threading.Event
        return process

    def begin_weather(self) -> None:
        """The network as the plan has it, for the time of the run."""
        plan = self.plan
        self.network.weather = Weather(plan.slow, plan.lost / 2, plan.lost, plan.black_hole)

    async def run_faults(self, named: dict[str, Any]) -> None:
        """Let the plan's faults happen; named: who bears each name just now (scorers and Api)."""
        async with asyncio.TaskGroup() as group:
            for fault in self.plan.faults:
                await asyncio.sleep(max(0.0, fault.at_s - self.loop.time()))
                self.note(fault.who, f"{fault.what} {fault.for_s}".encode())
                match fault.what:
                    case "kill_scorer":
                        named[fault.who].kill()
                        group.create_task(self._born_again(named, fault.who, fault.for_s))
                    case "pause_scorer":
                        named[fault.who].pause(fault.for_s)
                    case "kill_api":
                        named[fault.who].kill()
                        group.create_task(self._api_again(named, fault.who, fault.for_s))
                    case "cut":
                        who = named[fault.who]
                        self.network.cut(who.name, fault.for_s)
                    case "set_server_clock":
                        self.server_clock_ms += 1000 * fault.for_s
                    case "restart_server":
                        self.network.server_down()
                        group.create_task(self._server_again(fault.for_s))

    async def _born_again(self, named: dict[str, Any], who: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if not named[who].alive:
            named[who] = self.scorer(who)

    async def _api_again(self, named: dict[str, Any], who: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if not named[who].alive:
            named[who] = Api(self, who)

    async def _server_again(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if not self.network.server_up:
            self.network.server_back()


@cache
def _settings(frame_ms: int) -> Settings:
    settings = Settings(redis_url="redis://server", lease_ms=LEASE_MS, frame_ms=frame_ms)
    return settings.model_copy(update={"log_keep_s": 1})


class Api:
    """An API process less its HTTP: the service and the task that follows the frames."""

    def __init__(self, world: World, name: str) -> None:
        self.process = world.process(name)
        self.name = self.process.name
        url = f"redis://{self.name}"
        client, reader = connect_async(url), connect_async(url, block_ms=200)
        desk = Desk(client, line_over(client))
        self.service = Service(world.settings(), desk, Frames(desk, client, reader))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._world = world
        self._following = self.spawn(self.service.frames._follow())
        self.process.ends.append(self._end)

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return self.process.alive

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def pause(self, seconds: float) -> None:
        """SIGSTOP."""
        self.process.pause(seconds)

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """A task that runs in this process, by its clock, and dies with it."""
        token = _process.set(self.process)
        task = self._world.loop.create_task(coroutine)
        _process.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who waited for it has seen it, or has gone

    def _end(self) -> None:
        for task in sorted(self._tasks, key=lambda each: each.get_name()):
            task.cancel()


# -- what is replaced --------------------------------------------------------------------------------------


class _Time:
    """The module time as a process sees it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _now_s(self) -> float:
        thread = Thread.current()
        process = _process.get() if thread is None else thread.process
        return BEGIN_MS / 1000 + self._world.loop.time() if process is None else process.now_s()

    def monotonic(self) -> float:
        return self._now_s()

    perf_counter = time = monotonic

    def time_ns(self) -> int:
        return int(self._now_s() * 1e9)

    def sleep(self, seconds: float) -> None:
        thread = Thread.current()
        assert thread is not None
        thread.wait(seconds)


class _Threading:
    """The module threading; its events wait in virtual time."""

    Event = Event

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class _Secrets:
    """The module secrets without secrets, so that runs are equal."""

    def __init__(self, world: World) -> None:
        self._random = world.rng("secrets")

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def token_hex(self, count: int) -> str:
        return self.token_bytes(count).hex()


class _Os:
    """The module os; every process has the same number, so that runs are equal."""

    def getpid(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class _Socket:
    """The module socket, on a host of the same name everywhere."""

    def gethostname(self) -> str:
        return "simulated"

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


@contextlib.contextmanager
def simulated(world: World) -> Iterator[list[Any]]:
    """While this holds, Saima's modules and redis-py live in the world; gives what Saima logs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(untold())
        for target, attribute, replacement in (*_modules(world), *_threads(), *_connections(world)):
            stack.enter_context(mock.patch.object(target, attribute, replacement))
        yield stack.enter_context(structlog.testing.capture_logs())


def _modules(world: World) -> Iterator[tuple[Any, str, Any]]:
    """Wherever Saima has imported a module of time, threads or chance: (its importer, its name, what replaces it)."""
    replacements = {
        "time": (time, _Time(world)),
        "threading": (threading, _Threading()),
        "secrets": (secrets, _Secrets(world)),
        "os": (os, _Os()),
        "socket": (socket, _Socket()),
    }
    for importer, module in sorted(sys.modules.items()):
        if importer.startswith(("racing.", "api.")):
            for name, (real, replacement) in replacements.items():
                if getattr(module, name, None) is real:
                    yield module, name, replacement


def _threads() -> Iterator[tuple[Any, str, Any]]:
    """Threads that simulated processes start are simulated too; others are as ever."""
    real_start, real_join = threading.Thread.start, threading.Thread.join
    real_is_alive = threading.Thread.is_alive

    def start(thread: threading.Thread) -> None:
        current = Thread.current()
        if current is None:
            real_start(thread)
        else:
            vars(thread)["simulated"] = current.process.begin(thread.run)

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        current = Thread.current()
        if current is None:
            real_join(thread, timeout)
            return
        until_s = current.process.loop.time() + (1e9 if timeout is None else timeout)
        while not vars(thread)["simulated"].dead and current.process.loop.time() < until_s:
            current.wait(_JOIN_POLL_S)

    def is_alive(thread: threading.Thread) -> bool:
        simulated = vars(thread).get("simulated")
        return real_is_alive(thread) if simulated is None else not simulated.dead

    yield threading.Thread, "is_alive", is_alive
    yield threading.Thread, "start", start
    yield threading.Thread, "join", join


def _connections(world: World) -> Iterator[tuple[Any, str, Any]]:
    """redis-py's synchronous connections; its asynchronous ones ask the loop, which is simulated."""

    def connect(connection: Any) -> SimSocket:
        process = world.processes[connection.host]
        sock = SimSocket.connected(world.network, process, connection.socket_connect_timeout)
        sock.settimeout(connection.socket_timeout)
        return sock

    parser: Any = sys.modules["redis._parsers.hiredis"]
    yield redis.connection.Connection, "_connect", connect
    yield parser, "_socket_can_read", net.socket_can_read
    yield parser, "_socket_is_closed", net.socket_is_closed
    if world.plan.small_checkpoints:
        yield checkpoints, "_OUTWEIGHED_BYTES_MIN", 300  # full records, and trims of the log, within a short run
    # two more round trips for each connection, and it reads its package's metadata: a third of a run's time
    yield redis.utils, "get_lib_version", lambda: ""
    yield redis.driver_info.DriverInfo, "formatted_name", ""
