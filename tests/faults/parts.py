"""Server, scorer and API as processes of their own, each to be stopped, killed or paused alone; and a venue on them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from racing.store.embedded import EmbeddedServer
from tests import asking
from tests.faults.senders import Journal, Sender
from tests.stack import ROOT, lives
from tests.waiting import free_port, until

Name = Literal["api", "scorer", "readers"]
"""readers: a second API process, on a port of its own."""

VENUE = "hall-1"
PRODUCTS = [f"p-{index}" for index in range(40)]
RULE: dict[str, Any] = {
    "window_s": 3600,
    "bucket_s": 5,
    "metrics": {"click": {"event": "click"}, "pay_amount": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1},
        {"metric": "pay_amount", "signal": "root", "weight": 1},
    ],
}
"""A window longer than any run, so that its sums are what was ever sent; a checkpoint every 5 s."""
SOON_S = 90.0


class Parts:
    """A deployment over a server that no supervisor starts again. Nothing is retried for the caller."""

    def __init__(
        self, folder: Path, *, memory_mb: int = 0, rule: dict[str, Any] | None = None, **environment: str
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.server = EmbeddedServer(self.data_dir, memory_mb=memory_mb)
        self.port, self.readers_port = free_port(), free_port()
        self._rule = rule or RULE
        self.log = folder / "parts.log"
        self._environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "SAIMA_LOG_LEVEL": "warning",
            "SAIMA_REDIS_URL": self.server.url,
            "SAIMA_KEYS": "off",
            "SAIMA_SEGMENTS_DIR": str(folder / "segments"),
            "SAIMA_PORT": str(self.port),
            "SAIMA_LEASE_MS": "1000",
            **environment,
        }
        self._running: dict[Name, subprocess.Popen[bytes]] = {}

    @property
    def base(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start all, with an open venue."""
        self.server.start()
        self.run("api")
        self.run("scorer")
        until(self.ready, within_s=SOON_S, what="the API is ready")
        open_venue(self.base, self._rule)

    def run(self, name: Name) -> None:
        """Start one."""
        command, environment = ("api" if name == "readers" else name), dict(self._environment)
        if name == "readers":
            environment["SAIMA_PORT"] = str(self.readers_port)
        with self.log.open("ab") as out:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "racing.cli", command], stdout=out, stderr=out, env=environment, cwd=ROOT
            )

    def pid(self, name: Name) -> int:
        """The process id of one."""
        return self._running[name].pid

    def runs(self, name: Name) -> bool:
        """Whether it has not ended."""
        return self._running[name].poll() is None

    def ended(self, name: Name, within_s: float) -> int:
        """The exit code, once it has ended."""
        return self._running[name].wait(within_s)

    def signal(self, name: Name | Literal["server"], number: int) -> None:
        """Send a signal."""
        pid = self.server.pid if name == "server" else self.pid(name)
        assert pid is not None
        os.kill(pid, number)

    def kill_server(self) -> None:
        """kill -9; nothing starts it again."""
        pid = self.server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), within_s=5, what="the killed server is gone")
        until(lambda: not self.server.alive(), within_s=5, what="the killed server is noticed")

    def ready(self) -> bool:
        """Whether the API says so."""
        return asking.is_ready(self.base)

    def said(self) -> str:
        """What the processes have logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """End all, paused or not."""
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.server.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.server.pid, signal.SIGCONT)
        self.server.stop()


def open_venue(base: str, rule: dict[str, Any] = RULE) -> None:
    """Make the venue, with all products enrolled."""
    made = asking.post(f"{base}/v1/venues", json={"venue": VENUE, "rule": rule}, timeout=5)
    assert made.status_code == 201, made.text
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    enrolled = asking.post(f"{base}/v1/venues/{VENUE}/runners/bulk", json={"runners": runners}, timeout=5)
    assert enrolled.status_code == 201, enrolled.text


@contextlib.contextmanager
def sending(base: str, journal: Journal, *, senders: int, seed: int, kind: type[Sender] = Sender) -> Iterator[None]:
    """Senders at work, each of which delivers its last batch before the end."""
    made = [kind(base, VENUE, PRODUCTS, journal, seed=seed * 1000 + index) for index in range(senders)]
    for sender in made:
        sender.start()
    try:
        yield
    finally:
        for sender in made:
            sender.stop()
        for sender in made:
            sender.join(SOON_S)
    assert not any(sender.is_alive() for sender in made), "a sender waits for an answer that does not come"
