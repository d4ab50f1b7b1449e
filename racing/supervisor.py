"""serve: embedded server, scorer and API as separate processes, watched and restarted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from racing import admin_key
from racing.errors import RacingError, StoreError
from racing.safety import refuse_unsafe
from racing.settings import Settings
from racing.store.client import connect
from racing.store.embedded import EmbeddedServer

log = structlog.get_logger("saima.serve")

PARENT_VARIABLE = "SAIMA_PARENT_PID"
_WATCH_S = 0.1
_STOP_S = 5.0
_CALM_S = 3.0
_BACKOFF_MAX_S = 2.0


class AlreadyServingError(RacingError):
    """Another process serves this data folder or this port."""


@dataclass
class Child:
    """One supervised process: started, and started again when it ends, ever more slowly if it keeps ending."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    backoff_s: float = 0.0
    restarts: int = field(default=-1)

    def watch(self, now_s: float) -> None:
        """Start the process if it does not run and its backoff has passed."""
        if self.process is not None:
            if self.process.poll() is None:
                return
            log.warning("process ended, restarting", process=self.name, code=self.process.returncode)
            calm = now_s - self.started_s > _CALM_S
            self.backoff_s = 0.0 if calm else min(max(0.2, 2 * self.backoff_s), _BACKOFF_MAX_S)
            self.process, self.started_s = None, now_s
        if now_s - self.started_s >= self.backoff_s or self.restarts < 0:
            self.process = subprocess.Popen(self.command, env=self.environment)  # our own program
            self.started_s = now_s
            self.restarts += 1

    def stop(self) -> None:
        """Ask the process to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, until_s: float) -> None:
        """Wait for its end until then; kill it after."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.05, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("process did not end in time, killed", process=self.name)
            self.process.kill()
            self.process.wait()


def serve(settings: Settings, halt: threading.Event, *, tell: Callable[[str], None] = lambda _: None) -> None:
    """Run everything until halt is set, then end it in order: API, scorer, server. Raises RacingError if it cannot.

    tell: hears where the admin key is.
    """
    check_port(settings.host, settings.port)
    if settings.redis_url is None:
        refuse_unsafe(settings, "unix://")  # a server of our own is on a socket: nothing is started for nothing
    with _data_folder(settings) as server:
        url = settings.redis_url or (server.url if server else "")
        refuse_unsafe(settings, url)
        if settings.keys == "on":
            tell(_admin_key(settings, url))
        children = [_child("scorer", settings, url), _child("api", settings, url)]
        try:
            while not halt.wait(_WATCH_S):
                if server is not None and not server.alive():
                    log.warning("embedded server ended, restarting")
                    _start_again(server)
                for child in children:
                    child.watch(time.monotonic())
        finally:
            until_s = time.monotonic() + _STOP_S
            for child in reversed(children):
                child.stop()
            for child in reversed(children):
                child.wait(until_s)


def _admin_key(settings: Settings, url: str) -> str:
    """Where the admin key is, in words: one is made for an embedded server, never for a Redis that others may share."""
    now_ms = time.time_ns() // 1_000_000
    client = connect(url)
    path = None
    try:
        if settings.redis_url is None:
            path = admin_key.ensure(client, settings.data_dir, now_ms=now_ms)
        elif not admin_key.exists(client, now_ms=now_ms):
            return "requests need API keys, and there is no admin key yet: saima key create admin --role admin"
    except StoreError as exc:
        if settings.redis_url is None:
            raise
        return f"requests need API keys; nobody can tell now which there are: {exc}"
    finally:
        client.close()
    if path is None:
        return "requests need API keys: saima key list shows those that there are"
    return f"requests need API keys; the admin key is in {path}, and commands in this folder find it there"


def _start_again(server: EmbeddedServer) -> None:
    try:
        server.start()
    except StoreError as exc:
        log.warning("embedded server does not start, trying again", reason=str(exc))


def _child(name: str, settings: Settings, url: str) -> Child:
    environment = {**environment_of(settings, url), PARENT_VARIABLE: str(os.getpid())}
    return Child(name, command_of(name), environment)


def command_of(name: str) -> list[str]:
    """A command of the command line, run by this Python."""
    return [sys.executable, "-m", "racing.cli", name]


def environment_of(settings: Settings, url: str) -> dict[str, str]:
    """The environment of a process that is to have these settings, over this Redis."""
    return {
        **os.environ,
        **{f"SAIMA_{key.upper()}": str(value) for key, value in settings.model_dump(exclude_none=True).items()},
        "SAIMA_REDIS_URL": url,
        **({"SAIMA_SEGMENTS_DIR": str(settings.segments_folder)} if settings.segments_folder else {}),
    }


def check_port(host: str, port: int) -> None:
    """Raise AlreadyServingError if something listens on the port, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise AlreadyServingError(
                f"cannot listen on {host}:{port}: {exc.strerror}; choose another with --port or SAIMA_PORT"
            ) from exc


@contextlib.contextmanager
def _data_folder(settings: Settings) -> Iterator[EmbeddedServer | None]:
    """The embedded server, running, with its folder held by this process alone; None with a real Redis."""
    if settings.redis_url:
        yield None
        return
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "serve.lock").open("a+") as lock:
        _hold(lock.fileno(), folder)
        server = EmbeddedServer(folder, appendfsync=settings.embedded_appendfsync, memory_mb=settings.memory_mb)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _hold(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise AlreadyServingError(
            f"another saima serves the data folder {str(folder)!r}: stop it, or choose one with --data-dir"
        ) from exc


def halt_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    halt = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        halt.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return halt


def end_with_parent() -> None:
    """In a supervised process: end politely when the supervisor is gone, so that a new one can take over."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
