"""Three times more events than are worked off: goodput stays, refusals are quick, and readers hardly notice (R11).

Capacity is what is counted in a second of a closed loop; then an open loop offers three times that. Readers are served
by an API process of their own, as docs/operations.md advises; some also read from the one that is overloaded. Senders
and readers here are processes too, which stand on other machines in truth: so what is overloaded (API, scorer and
server) has the first half of the processors, everybody else the other, where senders come last.
How soon a batch is refused is told by a witness that sends few and does not wait for a processor.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil

from racing.errors import StoreError
from racing.store.client import connect
from racing.store.commit import NO_COMMIT, CommitRecord, read_commit
from racing.store.keys import VenueKeys
from tests.faults.bounds import Bounded, at_least, at_most
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.flood import Answers, Plan, flood
from tests.faults.parts import PRODUCTS, VENUE, Parts
from tests.waiting import until

ROUNDS = 5
QUICK_ROUNDS = 1
_TIMES = 3
_EVENTS = 1_000
"""Of a batch."""
_PEAK_CONNECTIONS, _CONNECTIONS, _READERS = 8, 192, 32
"""Each batch that is taken waits some 100 ms in its turn, so fewer connections could not offer three times the peak."""
_READS_PER_S = 200
_SENDERS = 2
"""Processes that send: one could not offer three times the peak."""
_WITNESS_CONNECTIONS, _WITNESSED_PER_S = 8, 25
_READING = 3
"""Processes that read, and the witness."""
_LATER = 10
"""Niceness of the senders: readers beside them come first."""
_CALM_S, _PEAK_S, _OVER_S = 4.0, 6.0, 7.0
_AHEAD_MAX_MS = 2_000
_SETTLED_S = 90.0
_UNKNOWN = "Redis is away"


@dataclass
class Result(Bounded):
    """What came of it, with the bounds of R11; the count must be right to the event."""

    rounds: int = 0
    acknowledged: int = at_least(1)
    unknown: int = 0
    """Events of batches without a key that were answered 503 for want of a reply: they may be counted, and may not."""
    lost: int = at_most(0)
    doubled: int = at_most(0)
    peak_events_per_s: int = 0
    offered_events_per_s: int = 0
    goodput_events_per_s: int = 0
    goodput_share_min: float = at_least(0.9, start=1_000.0)
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    refused_ms_p50: float = 0.0
    refused_ms_p99: float = at_most(50.0)
    without_retry_after: int = at_most(0)
    unanswered: int = at_most(0)
    read_ms_p99_calm: float = 0.0
    read_ms_p99_overload: float = 0.0
    read_times_max: float = at_most(2.0)
    beside_ms_p99_overload: float = at_most(50.0)
    """Of reads from the process that is overloaded."""
    reads_failed: int = at_most(0)
    lag_ms_max: int = 0
    grown_mb_max: float = at_most(128.0)
    """What a process has grown by at the end of the overload: 64 MB of bodies may wait, and their room."""
    others_cpu_share_max: float = 0.0
    """What processes that have nothing to do with this took of the machine: where that is much, times mean little."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept, some were refused, and nobody was answered anything else."""
        return super().holds and "503" in self.statuses and self.statuses.keys() <= {"202", "503"}


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Calm, peak, and three times the peak, so many times; then count."""
    begun_s = time.monotonic()
    result = Result(rounds=rounds)
    served, others = _halves()
    with (
        _on(others),
        tempfile.TemporaryDirectory(prefix="saima-") as folder,
        ProcessPoolExecutor(_READING, get_context("spawn")) as pool,
        ProcessPoolExecutor(_SENDERS, get_context("spawn"), os.nice, (_LATER,)) as senders,
    ):
        parts = Parts(Path(folder), SAIMA_LOG_AHEAD_MAX_MS=str(_AHEAD_MAX_MS))
        try:
            with _on(served):
                parts.start()
            parts.run("readers")
            workers = [pool] * _READING + [senders] * _SENDERS
            wait([each.submit(time.sleep, 0.5) for each in workers])  # they take long to start
            for number in range(rounds):
                _Round(parts, pool, senders, result).run(_batch(seed + number))
                tell(f"{number + 1} of {rounds}: {result}")
            counted = _settled(parts).counts["counted"]
            result.lost = max(0, result.acknowledged - counted)
            result.doubled = max(0, counted - result.acknowledged - result.unknown)
        except BaseException:
            tell(parts.said()[-4000:])
            raise
        finally:
            parts.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


_PINS = hasattr(os, "sched_setaffinity")
"""Whether this system lets a process choose its processors; elsewhere all parts compete."""


def _halves() -> tuple[set[int], set[int]]:
    """The processors of what is overloaded, and those of everybody else; the same where there is only one."""
    here = sorted(os.sched_getaffinity(0)) if _PINS else []
    half = len(here) // 2
    return set(here[:half] or here), set(here[half:])


@contextmanager
def _on(processors: set[int]) -> Iterator[None]:
    """Run on these, with whatever is started meanwhile, for as long as that lives."""
    if not _PINS:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _batch(seed: int) -> bytes:
    """One request, encoded once."""
    rng = np.random.default_rng(seed)
    rows = [{"type": "click", "product": PRODUCTS[number]} for number in rng.integers(0, len(PRODUCTS), _EVENTS)]
    body = json.dumps({"events": rows}).encode()
    head = f"POST /v1/venues/{VENUE}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Round:
    """One round over running parts."""

    def __init__(self, parts: Parts, pool: ProcessPoolExecutor, senders: ProcessPoolExecutor, result: Result) -> None:
        self._parts = parts
        self._pool, self._senders = pool, senders
        self._address = ("127.0.0.1", parts.port)
        self._readers_address = ("127.0.0.1", parts.readers_port)
        self._result = result

    def run(self, batch: bytes) -> None:
        """Calm, peak, overload."""
        result = self._result
        until(self._readers_serve, within_s=_SETTLED_S, what="the readers' API shows the board")
        calm_ms = self._read_ms(self._reads(self._readers_address, _CALM_S))
        counted, _ = self._send(Plan(batch, _PEAK_CONNECTIONS, _PEAK_S))
        peak = max(counted, float(_EVENTS))  # a machine so busy that nothing was counted in time
        _settled(self._parts)
        before_mb = self._resident_mb()
        others = _Others(self._parts)
        reads = self._reads(self._readers_address, _OVER_S)
        beside = self._reads(self._address, _OVER_S)
        witness = self._pool.submit(flood, self._address, Plan(batch, _WITNESS_CONNECTIONS, _OVER_S, _WITNESSED_PER_S))
        goodput, over = self._send(Plan(batch, _CONNECTIONS, _OVER_S, _TIMES * peak / _EVENTS))
        witnessed = witness.result()
        self._take_note(witnessed)
        over_ms, beside_ms = self._read_ms(reads), self._read_ms(beside)
        result.others_cpu_share_max = max(result.others_cpu_share_max, others.share())
        result.beside_ms_p99_overload = max(result.beside_ms_p99_overload, beside_ms)
        grown_mb = max(after - before for after, before in zip(self._resident_mb(), before_mb, strict=True))
        refused_ms = witnessed.of(503) or over.of(503) or [0.0]
        result.refused_ms_p50 = max(result.refused_ms_p50, _percentile(refused_ms, 50))
        result.refused_ms_p99 = max(result.refused_ms_p99, _percentile(refused_ms, 99))
        result.peak_events_per_s, result.goodput_events_per_s = round(peak), round(goodput)
        result.offered_events_per_s = round((len(over.statuses) + len(witnessed.statuses)) * _EVENTS / _OVER_S)
        result.goodput_share_min = min(result.goodput_share_min, round(goodput / peak, 3))
        result.read_ms_p99_calm, result.read_ms_p99_overload = calm_ms, over_ms
        result.read_times_max = max(result.read_times_max, round(over_ms / calm_ms, 2))
        result.grown_mb_max = max(result.grown_mb_max, round(grown_mb, 1))

    def _readers_serve(self) -> bool:
        with suppress(httpx2.HTTPError):
            path = f"/v1/venues/{VENUE}/slots"
            return bool(httpx2.get(f"http://127.0.0.1:{self._parts.readers_port}{path}", timeout=2).status_code == 200)
        return False

    def _reads(self, address: tuple[str, int], seconds: float) -> Future[Answers]:
        request = f"GET /v1/venues/{VENUE}/slots?limit=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        return self._pool.submit(flood, address, Plan(request, _READERS, seconds, _READS_PER_S))

    def _read_ms(self, reads: Future[Answers]) -> float:
        """p99 of reads, from when each was due."""
        answers = reads.result()
        self._result.reads_failed += sum(status != 200 for status in answers.statuses) + answers.unanswered
        return _percentile(answers.since_due_ms, 99)

    def _send(self, plan: Plan) -> tuple[float, Answers]:
        """(events counted in a second, answers)."""
        sending = [self._senders.submit(flood, self._address, part) for part in plan.parts(_SENDERS)]
        goodput = self._goodput(sending, plan.seconds)
        answers = Answers.of_all([each.result() for each in sending])
        self._take_note(answers)
        return goodput, answers

    def _take_note(self, answers: Answers) -> None:
        """Count what was answered to batches."""
        result = self._result
        for status, number in Counter(answers.statuses).items():
            result.statuses[str(status)] = result.statuses.get(str(status), 0) + number
        for reason, number in answers.reasons.items():
            result.reasons[reason] = result.reasons.get(reason, 0) + number
            result.unknown += _EVENTS * number * reason.startswith(_UNKNOWN)
        result.acknowledged += _EVENTS * sum(status == 202 for status in answers.statuses)
        result.unanswered += answers.unanswered
        result.without_retry_after += answers.without_retry_after

    def _goodput(self, sending: Sequence[Future[Answers]], seconds: float) -> float:
        """Events counted in a second while senders send, but for their first and last second."""
        client: Any = connect(self._parts.server.url)
        begun_s = time.monotonic()
        seen: list[tuple[int, float]] = []
        while not any(each.done() for each in sending) and (passed_s := time.monotonic() - begun_s) < seconds - 1:
            commit = _commit(client)
            if passed_s > 1 and commit.epoch:
                seen.append((commit.counts.get("counted", 0), time.monotonic()))
                lag_ms = time.time_ns() // 1_000_000 - commit.as_of_ms
                self._result.lag_ms_max = max(self._result.lag_ms_max, lag_ms)
            time.sleep(0.1)
        client.close()
        if len(seen) < 2:  # a first and a last
            wait(sending)
            sending[0].result()  # says why it ended at once, if it did
            return 0.0
        (first, first_s), (last, last_s) = seen[0], seen[-1]
        return (last - first) / (last_s - first_s)

    def _resident_mb(self) -> list[float]:
        return [psutil.Process(self._parts.pid(name)).memory_info().rss / 1e6 for name in ("api", "scorer")]


class _Others:
    """The share of the machine that others use, from now on."""

    def __init__(self, parts: Parts) -> None:
        self._ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        server = parts.server.pid
        self._ours += [psutil.Process(server)] if server is not None else []
        self._begun = self._spent()

    def _spent(self) -> tuple[float, float, float]:
        """(processor seconds of all, of ours, moment)."""
        whole = psutil.cpu_times()
        busy = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - getattr(whole, "guest", 0.0)
        ours = sum(sum(each.cpu_times()[:2]) for each in set(self._ours) if each.is_running())
        return busy, ours, time.monotonic()

    def share(self) -> float:
        """0 to 1."""
        busy, ours, at_s = (after - before for after, before in zip(self._spent(), self._begun, strict=True))
        return round(max(0.0, busy - ours) / (at_s * (os.cpu_count() or 1)), 2)


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2)


def _commit(client: Any) -> CommitRecord:
    try:
        return read_commit(client, VenueKeys(VENUE))
    except StoreError:
        return NO_COMMIT


def _settled(parts: Parts) -> CommitRecord:
    """The commit once everything in the log is folded."""
    client: Any = connect(parts.server.url)

    def found() -> CommitRecord | None:
        commit = _commit(client)
        last = client.xrevrange(VenueKeys(VENUE).log, count=1)[0][0].decode()
        return commit if commit.position == last else None

    try:
        return until(found, within_s=_SETTLED_S, what="everything is folded")
    finally:
        client.close()


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("overload", run, arguments, rounds=ROUNDS, about=__doc__, quick=QUICK_ROUNDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
