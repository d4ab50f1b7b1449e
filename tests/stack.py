"""A whole Saima as real processes: `saima serve` in a folder of its own, and its children by name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests import asking
from tests.waiting import free_port, until

ROOT = Path(__file__).parents[1]
START_S = 30.0
STOP_S = 15.0


class Stack:
    """One `saima serve`. Its processes are looked up, never remembered: they come and go."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "SAIMA_LOG_LEVEL": "warning",
            "SAIMA_KEYS": "off",
            **environment,
        }

    @property
    def base(self) -> str:
        """Address of its API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """Folder of its embedded server."""
        return self.folder / "data"

    @property
    def redis_url(self) -> str:
        """Where its embedded server answers."""
        return f"unix://{self.data_dir / 'server.sock'}"

    # -- running -------------------------------------------------------------------------------------

    def command(self, name: str, *options: str) -> list[str]:
        """A command of the command line."""
        return [sys.executable, "-m", "racing.cli", name, *options]

    def serve(self) -> None:
        """Start it; wait_ready() tells when it takes events."""
        options = ("--port", str(self.port), "--data-dir", str(self.data_dir))
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command("serve", *options), stdout=out, stderr=out, env=self._environment, cwd=ROOT
            )

    def wait_ready(self) -> None:
        """Return when the API answers that Redis does."""
        try:
            until(self.ready, within_s=START_S, what=f"{self.base}/readyz says ready")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.said()}") from exc

    def ready(self) -> bool:
        """Whether the API answers that Redis does."""
        return asking.is_ready(self.base)

    def said(self) -> str:
        """The end of what its processes have logged."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def run(self, name: str, *options: str, within_s: float = 30) -> subprocess.CompletedProcess[str]:
        """Run another command of the command line to its end."""
        return subprocess.run(
            self.command(name, *options),
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            env=self._environment,
            cwd=ROOT,
        )

    # -- its processes -------------------------------------------------------------------------------

    def pid(self, name: str) -> int | None:
        """Process id of ``api``, ``scorer`` or ``server``; None while there is none."""
        if name == "server":
            return self._server_pid()
        if self.process is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                    if child.cmdline()[-1] == name and child.status() != psutil.STATUS_ZOMBIE:
                        return int(child.pid)
        return None

    def _server_pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.data_dir / "server.pid").read_text())
            return pid if lives(pid) else None
        return None

    def kill(self, name: str) -> int:
        """Kill a process by its name, as soon as there is one; returns its id."""
        pid = until(lambda: self.pid(name), within_s=START_S, what=f"there is a {name}")
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), within_s=5, what=f"the killed {name} is gone")
        return pid

    def terminate(self, name: str) -> None:
        """Ask a process to end, as soon as there is one; it is started again."""
        os.kill(until(lambda: self.pid(name), within_s=START_S, what=f"there is a {name}"), signal.SIGTERM)

    def kill_all(self) -> None:
        """End every process at once, politely or not: nothing is left of it."""
        pids = [self.pid(name) for name in ("api", "scorer", "server")]
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid in filter(None, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; returns its exit code. What does not end in time is killed, and that is an error."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        finally:
            self.kill_all()

    # -- its API -------------------------------------------------------------------------------------

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """One POST of JSON."""
        return asking.post(f"{self.base}{path}", json=body, headers=headers, timeout=30)

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return asking.get(f"{self.base}{path}", timeout=30).json()


def lives(pid: int) -> bool:
    """Whether a process runs: neither gone nor a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
