"""Three times more events than are worked off: goodput stays, refusals are quick, and readers hardly notice.

The peak is what is counted in a second of a closed loop of so many connections that none is refused, more would be a
flood already, while readers read as they do in the flood. Then an open loop offers three times that, and a witness some
more, so that it is three times what is worked off also where the peak was measured in a bad moment; over connections
that are made as they are needed, so that new ones come in the flood too. Events are whole ones, as a shop's own server
sends them: a batch of them costs the service's processor 2 to 3 ms, a refusal some 50 us. (A thousand events that name
nothing but kind and product cost 0.8 ms: to refuse twice as many leaves 80 to 87 % of their peak.)

Readers are served by an API process of their own, as docs/operations.md advises; some also read from the one that is
overloaded. Senders and readers here are processes too, which stand on other machines in truth: so what is overloaded
(API, scorer and server) has the first half of the processors, everybody else the other, where senders come last.
Peaks and floods are short, in turn, and each flood is held against the peaks before and after it: a machine that others
share, unseen from here, gets faster or slower by half within seconds.
How soon a batch is refused is told by a witness that sends few and does not wait for a processor. Rounds are taken
together: a percentile is that of all their answers, a share the median of all floods.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

import httpx2
import numpy as np
import psutil

from racing.errors import StoreError
from racing.store.client import connect
from racing.store.commit import NO_COMMIT, CommitRecord, read_commit
from racing.store.keys import VenueKeys
from tests import asking
from tests.faults.bounds import Bounded, at_least, at_most
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.flood import Answers, Plan, flood
from tests.faults.parts import PRODUCTS, VENUE, Parts
from tests.faults.processors import Others, halves, on
from tests.waiting import until

ROUNDS = 24
QUICK_ROUNDS = 8
"""Floods."""
_TIMES, _OFFERED = 3, 3.1
"""What is to be offered, and what is planned: as little more as one second of the machine differs from the next."""
_EVENTS = 500
"""Of a batch: with kind, product, user, entrance and slot each, as a shop's own server tells of clicks."""
_USERS, _SLOTS = 100_000, 50
_PEAK_CONNECTIONS, _CONNECTIONS, _READERS = 20, 1_024, 32
"""20: enough that the service is never idle; from 32 on the last in the queue would wait for 100 ms: some are refused.
1,024: each batch that is taken waits its turn, so with 192 no more than 1.1 times the peak could be offered."""
_READS_PER_S = 200
_SENDERS = 2
"""Processes that send: one could not offer three times the peak."""
_WITNESS_CONNECTIONS, _WITNESSED_PER_S = 64, 100
_READING = 3
"""Processes that read, and the witness."""
_LATER = 10
"""Niceness of the senders: readers beside them come first."""
_CALM_S, _PEAK_S, _OVER_S = 4.0, 1.5, 2.0
_BEGIN_S, _END_S = 0.4, 0.2
"""Of a phase, not looked at: connections are made, and what was read is yet to be folded."""
_AHEAD_MAX_MS = 2_000
_SETTLED_S = 90.0
_UNKNOWN = "Redis is away"


@dataclass
class Result(Bounded):
    """What came of it, with its bounds; the count must be right to the event."""

    rounds: int = 0
    acknowledged: int = at_least(1)
    unknown: int = 0
    """Events of batches without a key that were answered 503 for want of a reply: they may be counted, and may not."""
    lost: int = at_most(0)
    doubled: int = at_most(0)
    peak_events_per_s: int = 0
    offered_events_per_s: int = 0
    offered_times: float = at_least(_TIMES)
    """How many times the peak was offered, or the goodput where that is more: with less it was no such overload."""
    goodput_events_per_s: int = 0
    goodput_share: float = at_least(0.9)
    """Of the peaks just before and after: the median of all floods."""
    goodput_shares: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    refused_ms_p50: float = 0.0
    refused_ms_p99: float = at_most(50.0)
    without_retry_after: int = at_most(0)
    unanswered: int = at_most(0)
    read_ms_p99_calm: float = 0.0
    read_ms_p99_overload: float = 0.0
    read_times: float = at_most(2.0)
    beside_ms_p99_overload: float = at_most(50.0)
    """Of reads from the process that is overloaded: refusals are bound so, and both wait for the same loop."""
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
    served, others = halves()
    with (
        on(others),
        tempfile.TemporaryDirectory(prefix="saima-") as folder,
        ProcessPoolExecutor(_READING, get_context("spawn")) as pool,
        ProcessPoolExecutor(_SENDERS, get_context("spawn"), os.nice, (_LATER,)) as senders,
    ):
        parts = Parts(Path(folder), SAIMA_LOG_AHEAD_MAX_MS=str(_AHEAD_MAX_MS))
        seen = _Seen()
        workers = [pool] * _READING + [senders] * _SENDERS
        begun = [each.submit(time.sleep, 0.5) for each in workers]  # all take long to start, so they start at once
        try:
            with on(served):
                parts.server.start()
            parts.run("readers")
            with on(served):
                parts.start()
            wait(begun)
            phases = _Phases(parts, pool, senders, result, seen)
            phases.calm()
            phases.peak(_batch(seed))
            for number in range(rounds):
                phases.overload(_batch(seed + number))
                phases.peak(_batch(seed + number))
                seen.sum_up(result)
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


def _batch(seed: int) -> bytes:
    """One request, encoded once."""
    rng = np.random.default_rng(seed)
    drawn = zip(*(rng.integers(0, most, _EVENTS).tolist() for most in (len(PRODUCTS), _USERS, _SLOTS)), strict=True)
    rows = [
        {"type": "click", "product": PRODUCTS[product], "user": f"u-{user}", "source": "search", "slot": 1 + slot}
        for product, user, slot in drawn
    ]
    body = json.dumps({"events": rows}, separators=(",", ":")).encode()
    head = f"POST /v1/venues/{VENUE}/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class _Seen:
    """What all rounds have seen: rates a round, waits an answer."""

    peak_per_s: list[float] = field(default_factory=list)
    goodput_per_s: list[float] = field(default_factory=list)
    offered_per_s: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    calm_ms: list[float] = field(default_factory=list)
    over_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)

    def sum_up(self, result: Result) -> None:
        """Put the figures of all rounds together into the result."""
        peak, goodput, offered = map(fmean, (self.peak_per_s, self.goodput_per_s, self.offered_per_s))
        result.peak_events_per_s, result.goodput_events_per_s = round(peak), round(goodput)
        result.offered_events_per_s = round(offered)
        result.offered_times = round(offered / max(peak, goodput), 2)
        around = zip(self.goodput_per_s, self.peak_per_s, self.peak_per_s[1:], strict=False)
        result.goodput_shares = [round(2 * flood / (before + after), 3) for flood, before, after in around]
        result.goodput_share = median(result.goodput_shares)
        result.refused_ms_p50, result.refused_ms_p99 = (
            _percentile(self.refused_ms or [0.0], each) for each in (50, 99)
        )
        result.read_ms_p99_calm, result.read_ms_p99_overload = (
            _percentile(self.calm_ms, 99),
            _percentile(self.over_ms, 99),
        )
        result.read_times = round(result.read_ms_p99_overload / result.read_ms_p99_calm, 2)
        result.beside_ms_p99_overload = _percentile(self.beside_ms, 99)


class _Phases:
    """What is done to the running parts."""

    def __init__(
        self,
        parts: Parts,
        pool: ProcessPoolExecutor,
        senders: ProcessPoolExecutor,
        result: Result,
        seen: _Seen,
    ) -> None:
        self._parts = parts
        self._seen = seen
        self._pool, self._senders = pool, senders
        self._address = ("127.0.0.1", parts.port)
        self._readers_address = ("127.0.0.1", parts.readers_port)
        self._result = result

    def calm(self) -> None:
        """Readers alone."""
        until(self._readers_serve, within_s=_SETTLED_S, what="the readers' API shows the board")
        self._seen.calm_ms += self._read_ms(self._reads(self._readers_address, _CALM_S))

    def peak(self, batch: bytes) -> None:
        """As many events as are worked off."""
        reads = [self._reads(each, _PEAK_S) for each in (self._readers_address, self._address)]
        plan = Plan(batch, _PEAK_CONNECTIONS, _PEAK_S)
        counted, _ = self._sent([self._pool.submit(flood, self._address, plan)], plan)  # comes not last, as senders do
        for each in reads:
            self._read_ms(each)
        self._seen.peak_per_s.append(max(counted, float(_EVENTS)))  # a machine so busy that none was counted in time
        _settled(self._parts)

    def overload(self, batch: bytes) -> None:
        """Three times as many, and what that costs."""
        result, before_mb, others = self._result, self._resident_mb(), Others(self._parts)
        self._flood(batch)
        result.others_cpu_share_max = max(result.others_cpu_share_max, others.share())
        grown_mb = max(after - before for after, before in zip(self._resident_mb(), before_mb, strict=True))
        result.grown_mb_max = max(result.grown_mb_max, round(grown_mb, 1))
        _settled(self._parts)

    def _flood(self, batch: bytes) -> None:
        seen = self._seen
        reads = self._reads(self._readers_address, _OVER_S)
        beside = self._reads(self._address, _OVER_S)
        witness = self._pool.submit(flood, self._address, Plan(batch, _WITNESS_CONNECTIONS, _OVER_S, _WITNESSED_PER_S))
        plan = Plan(batch, _CONNECTIONS, _OVER_S, _OFFERED * seen.peak_per_s[-1] / _EVENTS)
        goodput, over = self._sent(
            [self._senders.submit(flood, self._address, part) for part in plan.parts(_SENDERS)], plan
        )
        witnessed = witness.result()
        self._take_note(witnessed)
        seen.over_ms += self._read_ms(reads)
        seen.beside_ms += self._read_ms(beside)
        seen.refused_ms += witnessed.of(503) or over.of(503)
        seen.goodput_per_s.append(goodput)
        seen.offered_per_s.append((len(over.statuses) + len(witnessed.statuses)) * _EVENTS / _OVER_S)

    def _readers_serve(self) -> bool:
        with suppress(httpx2.HTTPError):
            path = f"/v1/venues/{VENUE}/slots"
            return bool(asking.get(f"http://127.0.0.1:{self._parts.readers_port}{path}", timeout=2).status_code == 200)
        return False

    def _reads(self, address: tuple[str, int], seconds: float) -> Future[Answers]:
        request = f"GET /v1/venues/{VENUE}/slots?limit=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        return self._pool.submit(flood, address, Plan(request, _READERS, seconds, _READS_PER_S))

    def _read_ms(self, reads: Future[Answers]) -> list[float]:
        """What reads took, from when each was due."""
        answers = reads.result()
        self._result.reads_failed += sum(status != 200 for status in answers.statuses) + answers.unanswered
        return answers.since_due_ms

    def _sent(self, sending: Sequence[Future[Answers]], plan: Plan) -> tuple[float, Answers]:
        """(events counted in a second, answers)."""
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
        """Events counted in a second while senders send, but for begin and end."""
        client: Any = connect(self._parts.server.url)
        begun_s = time.monotonic()
        seen: list[tuple[int, float]] = []
        while not any(each.done() for each in sending) and (passed_s := time.monotonic() - begun_s) < seconds - _END_S:
            commit = _commit(client)
            if passed_s > _BEGIN_S and commit.epoch:
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
