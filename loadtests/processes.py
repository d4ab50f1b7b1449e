"""Every process that a bench starts, ended when the bench ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from loadtests.worker import Go, Job

ROOT = Path(__file__).resolve().parent.parent
READY_S = 20.0
_ANSWER_S = 20.0
_POLITE_S = 4.0


class BenchError(Exception):
    """A measurement could not be made; the text says why, for the one who ran it."""


class OutOfTimeError(Exception):
    """The time of this run is over."""


def cpu_s(pid: int) -> float:
    """User and system seconds that a process has used, its ended children included. Raises BenchError if it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess as exc:
        raise BenchError(f"process {pid} ended while it was measured: see its log") from exc
    return float(times.user + times.system + times.children_user + times.children_system)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(psutil.Process(pid).memory_info().rss)


class Processes:
    """The processes of one run, with a folder for their data and logs."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="saima-bench-"))
        self._started: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "loadtests.guard"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard must not end it first
        )
        self._to_guard(f"folder {self.folder}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._started):
            self.end(process)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def _to_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.write(line.encode() + b"\n")
            self._guard.stdin.flush()

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, talks: bool = False
    ) -> subprocess.Popen[bytes]:
        """A running process, its output in the folder; talks: its standard input and output are pipes."""
        log = self.folder / f"{name}-{len(self._logs)}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=out,
            )
        self._started.append(process)
        self._logs[process.pid] = log
        self.adopt(process.pid)
        return process

    def adopt(self, pid: int) -> None:
        """Have the guard end this process too, should the bench be killed."""
        self._to_guard(f"+ {pid}")

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process: politely, then by force. Harmless when it has ended."""
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_POLITE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._to_guard(f"- {process.pid}")

    def last_words(self, process: subprocess.Popen[bytes]) -> str:
        """The end of what a process logged."""
        return self._logs[process.pid].read_text(errors="replace")[-800:].strip()

    def check(self, process: subprocess.Popen[bytes], name: str) -> None:
        """Raise BenchError if a process that should run has ended."""
        if process.poll() is not None:
            raise BenchError(f"{name} ended with code {process.returncode}: {self.last_words(process)}")


class Worker:
    """A load-making process as its parent sees it: prepared at construction, ready after ready()."""

    def __init__(self, processes: Processes, job: Job) -> None:
        self._processes = processes
        self._name = f"worker-{job.role}"
        self._process = processes.start(self._name, [sys.executable, "-m", "loadtests.worker"], talks=True)
        self._tell(job)

    def _tell(self, message: msgspec.Struct) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._processes.check(self._process, self._name)

    def _hear(self, within_s: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], within_s)[0]:
            raise BenchError(f"{self._name} said nothing for {within_s:g} s")
        line = out.readline()
        if not line:
            self._process.wait(_POLITE_S)
            self._processes.check(self._process, self._name)
        heard: dict[str, Any] = msgspec.json.decode(line)
        return heard

    def ready(self, within_s: float = READY_S) -> Self:
        """Wait until it has prepared its requests and connected."""
        self._hear(within_s)
        return self

    def go(self, seconds: float, *, rate_per_s: float | None = None, rows: bool = False) -> None:
        """Begin a run; result() waits for its end."""
        self._seconds = seconds
        self._tell(Go(seconds, rate_per_s, rows))

    def result(self) -> dict[str, Any]:
        """The figures of the run under way."""
        return self._hear(self._seconds + _ANSWER_S)

    def run(self, seconds: float, *, rate_per_s: float | None = None, rows: bool = False) -> dict[str, Any]:
        """One whole run."""
        self.go(seconds, rate_per_s=rate_per_s, rows=rows)
        return self.result()

    def close(self) -> None:
        """End it."""
        self._processes.end(self._process)


def wait_until(true: Any, *, within_s: float, what: str) -> None:
    """Return when true() is; raises BenchError after within_s."""
    until_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until_s:
            raise BenchError(f"not within {within_s:g} s: {what}")
        time.sleep(0.01)
