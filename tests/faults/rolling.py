"""A rolling restart under load: old and new scorers and API processes side by side on one Redis.

Each round replaces every scorer and every API process, one after the other, as docs/operations.md says under
Upgrading, while senders send and readers read: no read may fail, and nothing acknowledged be lost or counted twice.
With SAIMA_OLD set to a folder with another version's sources, the first processes are of that version.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from racing.store.crew import read_reports
from racing.store.embedded import EmbeddedServer
from tests import asking
from tests.faults.counting import Counted, count_again
from tests.faults.crews import patient
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.kills import PRODUCTS, RULE, VENUE
from tests.faults.senders import Journal, Sender
from tests.stack import ROOT
from tests.waiting import free_port, until

SCORERS, APIS = 2, 2
_SENDERS, _READERS = 3, 2
_SOON_S = 60.0
_CLEAN = {"scorer 0", "api 0", f"api {-signal.SIGTERM}"}
_READ_EVERY_S = 0.01
_TOLD_MAX = 5


@dataclass
class Result(Counted):
    """What the rounds came to. It holds if no read failed, nothing was lost, and every process ended as asked."""

    rounds: int = 0
    replaced: dict[str, int] = field(default_factory=lambda: {"scorer": 0, "api": 0})
    reads: int = 0
    read_errors: int = 0
    stale_reads: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    """How often a process ended with which code: -15 is how uvicorn ends after SIGTERM."""
    stop_s_max: dict[str, float] = field(default_factory=lambda: {"scorer": 0.0, "api": 0.0})
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return self.right and bool(self.reads) and not self.read_errors and self.exits.keys() <= _CLEAN


class Front:
    """What spreads requests over API processes, as a load balancer does: one that is to end first gets no new ones."""

    def __init__(self) -> None:
        self._bases: list[str] = []
        self._open: Counter[str] = Counter()
        self._turn = 0
        self._lock = threading.Lock()

    def add(self, base: str) -> None:
        """Send requests there too."""
        with self._lock:
            self._bases.append(base)

    def drain(self, base: str) -> None:
        """Send no more requests there; returns when the open reads are answered."""
        with self._lock:
            self._bases.remove(base)
        until(lambda: not self._open[base], within_s=_SOON_S, what=f"{base} has answered its reads")

    def base(self) -> str:
        """The next address."""
        with self._lock:
            self._turn += 1
            return self._bases[self._turn % len(self._bases)]

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """The next address, which is not ended while a request is under way."""
        with self._lock:
            self._turn += 1
            base = self._bases[self._turn % len(self._bases)]
            self._open[base] += 1
        try:
            yield base
        finally:
            with self._lock:
                self._open[base] -= 1


class Reader(threading.Thread):
    """A front end that reads the slots again and again, from whichever API process it is given."""

    def __init__(self, front: Front) -> None:
        super().__init__(name="reader", daemon=True)
        self._front = front
        self._halt = threading.Event()
        self.reads = self.stale = 0
        self.errors: list[str] = []

    def stop(self) -> None:
        """Read no more."""
        self._halt.set()

    def run(self) -> None:
        """Read until stopped."""
        with httpx2.Client(timeout=5, verify=asking.NO_TLS) as client:
            while not self._halt.wait(_READ_EVERY_S):
                self.reads += 1
                with self._front.lent() as base:
                    try:
                        answer = client.get(f"{base}/v1/venues/{VENUE}/slots")
                    except httpx2.HTTPError as exc:
                        self.errors.append(f"{base}: {exc!r}")
                        continue
                if answer.status_code != 200 or answer.json()["venue"] != VENUE:
                    self.errors.append(f"{base}: {answer.status_code} {answer.text[:200]}")
                self.stale += answer.headers.get("saima-stale") == "true"


@dataclass
class Member:
    """A process of the fleet; base: its address if it is an API."""

    kind: str
    process: subprocess.Popen[bytes]
    base: str = ""


class Fleet:
    """Scorers and API processes over one server, replaced one by one."""

    def __init__(self, url: str, folder: Path, front: Front, result: Result) -> None:
        self._url = url
        self._folder = folder
        self._front = front
        self._result = result
        self.members: list[Member] = []

    def start(self, kind: str, *, sources: Path = ROOT) -> Member:
        """Start a process from these sources; joined() tells when it takes part."""
        port = free_port()
        options = ("--port", str(port)) if kind == "api" else ()
        environment = {
            **os.environ,
            "SAIMA_REDIS_URL": self._url,
            "SAIMA_SEGMENTS_DIR": str(self._folder / "segments"),
            "SAIMA_KEYS": "off",
            "SAIMA_LEASE_MS": "2000",
            "SAIMA_LOG_LEVEL": "warning",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with (self._folder / "fleet.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "racing.cli", kind, *options],
                env=environment,
                stdout=out,
                stderr=out,
                cwd=sources,
            )
        member = Member(kind, process, f"http://127.0.0.1:{port}" if kind == "api" else "")
        self.members.append(member)
        return member

    def joined(self, member: Member) -> None:
        """Return when a process takes part: an API is ready, a scorer has told the others of itself."""
        if member.kind == "api":
            until(lambda: asking.is_ready(member.base), within_s=_SOON_S, what=f"{member.base} is ready")
            self._front.add(member.base)
        else:
            until(lambda: self._told(member), within_s=_SOON_S, what="a new scorer has told of itself")

    def _told(self, member: Member) -> bool:
        client = patient(self._url)
        try:
            return any(report.pid == member.process.pid for report in read_reports(client))
        finally:
            client.close()

    def replace(self, member: Member) -> None:
        """Start a new one, then end the old one as an operator does."""
        self.joined(self.start(member.kind))
        if member.kind == "api":
            self._front.drain(member.base)
        begun_s = time.monotonic()
        member.process.terminate()
        code = member.process.wait(_SOON_S)
        self.members.remove(member)
        result = self._result
        took_s = round(time.monotonic() - begun_s, 2)
        result.stop_s_max[member.kind] = max(result.stop_s_max[member.kind], took_s)
        ended = f"{member.kind} {code}"
        result.exits[ended] = result.exits.get(ended, 0) + 1
        result.replaced[member.kind] += 1

    def close(self) -> None:
        """End all that still run."""
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            member.process.wait(_SOON_S)

    def said(self) -> str:
        """The end of what they have logged."""
        return (self._folder / "fleet.log").read_text(errors="replace")[-4000:]


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Replace everything so many times while senders send and readers read; then count again."""
    begun_s = time.monotonic()
    result = Result(rounds=rounds)
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        folder, front = Path(name), Front()
        server = EmbeddedServer(folder / "data")
        server.start()
        fleet = Fleet(server.url, folder, front, result)
        try:
            old = Path(os.environ.get("SAIMA_OLD", ROOT))
            for member in [fleet.start(kind, sources=old) for kind in ["scorer"] * SCORERS + ["api"] * APIS]:
                if member.kind == "api":  # an old scorer may not know how to tell of itself
                    fleet.joined(member)
            _open_venue(front)
            journal = _roll(fleet, front, result, random.Random(seed), tell)
            count_again(server.url, VENUE, journal, result)
        except BaseException:
            tell(fleet.said())
            raise
        finally:
            fleet.close()
            server.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _open_venue(front: Front) -> None:
    base = front.base()
    assert asking.post(f"{base}/v1/venues", json={"venue": VENUE, "rule": RULE}, timeout=5).status_code == 201
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    made = asking.post(f"{base}/v1/venues/{VENUE}/runners/bulk", json={"runners": runners}, timeout=5)
    assert made.status_code == 201
    for _ in range(2 * APIS):
        until(lambda: _shows(front.base()), within_s=_SOON_S, what="every API process shows the venue")


def _shows(base: str) -> bool:
    return bool(asking.get(f"{base}/v1/venues/{VENUE}/slots", timeout=5).status_code == 200)


def _roll(fleet: Fleet, front: Front, result: Result, rng: random.Random, tell: Tell) -> Journal:
    """The journal of senders that sent all the while; reads and replacements are counted in result."""
    journal = Journal()
    senders = [Sender(front.base, VENUE, PRODUCTS, journal, seed=rng.getrandbits(32)) for _ in range(_SENDERS)]
    readers = [Reader(front) for _ in range(_READERS)]
    for thread in (*senders, *readers):
        thread.start()
    try:
        for number in range(result.rounds):
            members = fleet.members[:]
            for member in sorted(members, key=lambda each: each.kind, reverse=True):  # scorers first
                acknowledged = len(journal.acknowledged)
                until(
                    lambda before=acknowledged: len(journal.acknowledged) > before + 10,  # type: ignore[misc]  # binds
                    within_s=_SOON_S,
                    what="batches are acknowledged",
                )
                fleet.replace(member)
            tell(f"round {number + 1} of {result.rounds}: {journal.events} events acknowledged")
    finally:
        for reader in readers:
            reader.stop()
        for sender in senders:
            sender.stop()
        for thread in (*readers, *senders):
            thread.join(_SOON_S)
    errors = [error for reader in readers for error in reader.errors]
    result.reads, result.read_errors = sum(reader.reads for reader in readers), len(errors)
    result.stale_reads = sum(reader.stale for reader in readers)
    result.troubles = errors[:_TOLD_MAX]
    return journal


# -- command line --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("rolling", run, arguments, rounds=20, about=__doc__, quick=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
