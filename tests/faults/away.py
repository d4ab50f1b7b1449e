"""Redis goes away and comes back, killed or paused: readers keep their frame, writers hear of it, all resumes.

And processes that are asked to end do so: not ready at once, gone within 5 s, nothing acknowledged lost.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx2

from tests.faults.bounds import at_least, at_most
from tests.faults.counting import Counted, count_again
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.parts import VENUE, Name, Parts, sending
from tests.faults.probes import Probes, Refusals
from tests.faults.senders import Journal
from tests.waiting import until

ROUNDS = 10
QUICK_ROUNDS = 2
LONG_GONE_S = 600.0
"""The last outage of the long form."""
_GONE_S = 4.5
_STALE_AFTER_S = 3.0 + 0.5
"""Data older than 3 s is marked; its age is counted from the last commit, which was at most half a second old."""
_SENDERS = 3
_TOLD_MAX = 3
"""Tracebacks told whole."""

Way = Literal["killed", "paused"]


@dataclass
class Result(Counted, Refusals):
    """What readers and writers saw. Every read must be served."""

    rounds: int = 0
    outages: dict[str, int] = field(default_factory=dict)
    reads: int = at_least(1)
    reads_failed: int = at_most(0)
    reads_not_marked: int = at_most(0)
    reads_changed: int = at_most(0)
    """Reads during an outage that showed another frame than the one before it."""
    resumed_s_max: float = at_most(5.0)
    restarts: int = at_most(0)
    ends: dict[str, int] = field(default_factory=dict)
    ended_s_max: float = at_most(5.0)
    unready_s_max: float = at_most(0.3)
    tracebacks: int = at_most(0)
    seconds: float = 0.0


@dataclass
class _Read:
    at_s: float
    status: int
    stale: bool
    frame: tuple[int, int]
    age_ms: int


class _Reader(threading.Thread):
    """Reads the slots a hundred times a second, on one connection."""

    def __init__(self, base: str) -> None:
        super().__init__(name="reader", daemon=True)
        self._base = base
        self._halt = threading.Event()
        self.reads: list[_Read] = []

    def run(self) -> None:
        with httpx2.Client(base_url=self._base, timeout=5) as client:
            while not self._halt.wait(0.01):
                self.reads.append(self._read(client))

    def _read(self, client: httpx2.Client) -> _Read:
        asked_s = time.monotonic()
        try:
            answer = client.get(f"/v1/venues/{VENUE}/slots?limit=5")
        except httpx2.HTTPError:
            return _Read(asked_s, 0, stale=False, frame=(0, 0), age_ms=0)
        board = answer.json() if answer.status_code == 200 else {}
        stale = board.get("stale") is True and answer.headers.get("saima-stale") == "true"
        frame = (board.get("epoch", 0), board.get("frame", 0))
        return _Read(asked_s, answer.status_code, stale, frame, int(answer.headers.get("saima-age-ms", 0)))

    def stop(self) -> list[_Read]:
        self._halt.set()
        self.join(10)
        return self.reads


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, last_gone_s: float = _GONE_S) -> Result:
    """Take Redis away so many times, killed and paused in turn; then end each process by SIGTERM; then count again."""
    begun_s = time.monotonic()
    result = Result(rounds=rounds)
    journal = Journal()
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        parts = Parts(Path(folder))
        try:
            parts.start()
            with Probes(parts.base) as probes:
                probes.open()
            pids = (parts.pid("api"), parts.pid("scorer"))
            with sending(parts.base, journal, senders=_SENDERS, seed=seed):
                until(lambda: len(journal.acknowledged) > 20, within_s=30, what="batches are acknowledged")
                for number in range(rounds):
                    way: Way = "paused" if number % 2 else "killed"
                    gone_s = last_gone_s if number == rounds - 1 else _GONE_S
                    tell(f"Redis is {way} for {gone_s:g} s")
                    _outage(parts, way, gone_s, result)
                    result.outages[way] = result.outages.get(way, 0) + 1
                    tell(f"outage {number + 1} of {rounds} ({way}): resumed after {result.resumed_s_max:.2f} s at most")
                result.restarts = sum(not parts.runs(name) for name in ("api", "scorer"))
                result.restarts += pids != (parts.pid("api"), parts.pid("scorer"))
                for name in ("api", "scorer", "api"):
                    _end(parts, name, result)
                    tell(f"{name} ended within {result.ended_s_max:.2f} s")
            count_again(parts.server.url, VENUE, journal, result)
            result.tracebacks = parts.said().count("Traceback")
            result.troubles += [part[:1500] for part in parts.said().split("Traceback")[1:]][:_TOLD_MAX]
        except BaseException:
            tell(parts.said()[-4000:])
            raise
        finally:
            parts.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


# -- outages -------------------------------------------------------------------------------------------------


def _outage(parts: Parts, way: Way, gone_s: float, result: Result) -> None:
    reader = _Reader(parts.base)
    with Probes(parts.base) as probes:
        until(probes.fresh, within_s=30, what="the board moves before the outage")
        reader.start()
        _take_away(parts, way)
        gone_at_s = time.monotonic()
        while time.monotonic() - gone_at_s < gone_s:
            probes.refused(result)
            time.sleep(0.02)
        back_at_s = time.monotonic()
        _give_back(parts, way)
        until(lambda: probes.taken() and probes.fresh(), within_s=30, what=f"all resumes after Redis was {way}")
    result.resumed_s_max = max(result.resumed_s_max, round(time.monotonic() - back_at_s, 3))
    _judge(reader.stop(), gone_at_s, back_at_s, result)


def _take_away(parts: Parts, way: Way) -> None:
    if way == "killed":
        parts.kill_server()
    else:
        parts.signal("server", signal.SIGSTOP)


def _give_back(parts: Parts, way: Way) -> None:
    if way == "killed":
        parts.server.start()
    else:
        parts.signal("server", signal.SIGCONT)


def _judge(reads: list[_Read], gone_at_s: float, back_at_s: float, result: Result) -> None:
    """Every read is served; while Redis is away the frame stays, and is marked with its age when it is old enough."""
    result.reads += len(reads)
    result.reads_failed += sum(each.status != 200 for each in reads)
    during = [each for each in reads if gone_at_s < each.at_s < back_at_s]
    shown = during[-1].frame if during else None
    for each in during:
        gone_s = each.at_s - gone_at_s
        result.reads_changed += gone_s > 1.0 and each.frame != shown
        if gone_s > _STALE_AFTER_S:
            result.reads_not_marked += not each.stale or each.age_ms < 1000 * gone_s - 500


# -- ends ----------------------------------------------------------------------------------------------------


def _end(parts: Parts, name: Name, result: Result) -> None:
    """SIGTERM under load, and a new process in its place."""
    with httpx2.Client(base_url=parts.base, timeout=2) as client:
        client.get("/readyz")  # connected before: what is measured is the answer
        asked_s = time.monotonic()
        parts.signal(name, signal.SIGTERM)
        if name == "api":
            result.unready_s_max = max(result.unready_s_max, _last_ready_s(client, asked_s))
    parts.ended(name, within_s=20)
    result.ended_s_max = max(result.ended_s_max, round(time.monotonic() - asked_s, 3))
    result.ends[name] = result.ends.get(name, 0) + 1
    parts.run(name)
    until(parts.ready, within_s=90, what=f"the API is ready after {name} was ended")


def _last_ready_s(client: httpx2.Client, asked_s: float) -> float:
    """How long after the signal /readyz still said ready, s, until nobody answers any more."""
    last_s = 0.0
    with contextlib.suppress(httpx2.HTTPError):
        while True:
            began_s = time.monotonic()
            if client.get("/readyz").status_code == 200:
                last_s = began_s - asked_s
    return round(last_s, 3)


# -- command line --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; the long form ends with an outage of ten minutes."""

    def chosen(rounds: int, *, seed: int, tell: Tell) -> Result:
        long = "--quick" not in arguments
        return run(rounds, seed=seed, tell=tell, last_gone_s=LONG_GONE_S if long else _GONE_S)

    return run_from_command_line("away", chosen, arguments, rounds=ROUNDS, about=__doc__, quick=QUICK_ROUNDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
