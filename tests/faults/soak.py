"""A soak: load and readers for twenty minutes, and nothing that grows: memory, descriptors, lag.

Slopes are fitted to samples taken after a warm-up, in which frames and ids fill the room that they are given; the short
form is over before that, so it holds only descriptors and lag to account and reports the rest. In the end everything is
counted again from the senders' journal.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from racing.errors import StoreError
from racing.store.client import connect, server_ms
from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from tests.faults.counting import Counted, count_again
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.kills import PRODUCTS, RULE, VENUE
from tests.faults.senders import Journal, Sender
from tests.stack import Stack
from tests.waiting import until

LONG_S, LONG_WARM_UP_S = 1200.0, 720.0
QUICK_S, QUICK_WARM_UP_S = 30.0, 12.0
_EVERY_S = {True: 1.0, False: 5.0}
"""Between two samples, by whether it is the short form."""
_PROCESSES = ("api", "scorer", "server")
_SENDERS = 3
_BREATH_S = 0.1
_READ_EVERY_S = 0.05
_ID_SHARE = 0.02
"""Ids are remembered for 15 minutes: so few that this is no growth to speak of."""
_MB = 1 << 20
_GROWTH_MAX_MB_H = 24.0
"""Fitted growth of a process or of the server's data, once warm."""
_DESCRIPTORS_MORE = 3
_LAG_MORE_MS = 250.0
"""By so much may the median lag of the last third exceed that of the first."""
_WINDOW_S = 120
"""Twice as long must be longer than senders remember ids that they send again, or those come too late to count."""
_SOON_S = 60.0


@dataclass
class Result(Counted):
    """What the soak came to."""

    rounds: int = 0
    quick: bool = False
    reads: int = 0
    failed_reads: int = 0
    samples: int = 0
    mb: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Resident memory of each process, and the server's data, at the first and last sample after the warm-up."""
    mb_per_hour: dict[str, float] = field(default_factory=dict)
    descriptors: dict[str, tuple[int, int]] = field(default_factory=dict)
    lag_ms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept. The window is short: its sums are not the journal's."""
        counted = self.acknowledged and self.verify_clean and not (self.lost or self.doubled or self.troubles)
        flat = all(last <= first + _DESCRIPTORS_MORE for first, last in self.descriptors.values())
        flat &= self.lag_ms["last_third"] <= self.lag_ms["first_third"] + _LAG_MORE_MS
        if not self.quick:
            flat &= all(slope <= _GROWTH_MAX_MB_H for slope in self.mb_per_hour.values())
        return bool(counted and flat and not self.failed_reads)


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    mb: dict[str, float]
    descriptors: dict[str, int]
    lag_ms: float


class Reader(threading.Thread):
    """A front end that asks for the slots again and again."""

    def __init__(self, base: str) -> None:
        super().__init__(name="reader", daemon=True)
        self._url = f"{base}/v1/venues/{VENUE}/slots"
        self._halt = threading.Event()
        self.reads = self.failed = 0

    def stop(self) -> None:
        """Ask no more."""
        self._halt.set()

    def run(self) -> None:
        """Read until stopped."""
        with httpx2.Client(timeout=5) as client:
            while not self._halt.wait(_READ_EVERY_S):
                self.reads += 1
                try:
                    self.failed += client.get(self._url).status_code != 200
                except httpx2.HTTPError:
                    self.failed += 1


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, quick: bool = False) -> Result:
    """Soak for so many seconds. rounds: seconds."""
    begun_s = time.monotonic()
    result, journal, rng = Result(rounds=1, quick=quick), Journal(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        stack = Stack(Path(folder), SAIMA_LOG_KEEP_S="60", SAIMA_IDEMPOTENCY_MS="60000")
        stack.serve()
        try:
            _open_venue(stack)
            reader = Reader(stack.base)
            senders = [
                Sender(
                    stack.base,
                    VENUE,
                    PRODUCTS,
                    journal,
                    seed=rng.getrandbits(32),
                    refunds=False,
                    breath_s=_BREATH_S,
                    id_share=_ID_SHARE,
                )
                for _ in range(_SENDERS)
            ]
            with _working([reader, *senders]):
                samples = list(_samples(stack, rounds, _EVERY_S[quick], lambda: journal.events, tell))
            count_again(stack.redis_url, VENUE, journal, result)
        finally:
            stack.stop()
    result.reads, result.failed_reads = reader.reads, reader.failed
    _fit(samples, QUICK_WARM_UP_S if quick else min(LONG_WARM_UP_S, 0.6 * rounds), result)
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _open_venue(stack: Stack) -> None:
    stack.wait_ready()
    rule = {**RULE, "window_s": _WINDOW_S}
    assert stack.post("/v1/venues", {"venue": VENUE, "rule": rule}).status_code == 201
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    assert stack.post(f"/v1/venues/{VENUE}/runners/bulk", {"runners": runners}).status_code == 201
    url = f"{stack.base}/v1/venues/{VENUE}/slots"
    until(lambda: httpx2.get(url, timeout=5).status_code == 200, within_s=_SOON_S, what="slots are served")


@contextlib.contextmanager
def _working(threads: Sequence[Reader | Sender]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(_SOON_S)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for an answer that does not come"


# -- samples ---------------------------------------------------------------------------------------------------


def _samples(stack: Stack, for_s: float, every_s: float, events: Callable[[], int], tell: Tell) -> Iterator[_Sample]:
    client: Any = connect(stack.redis_url)
    pids = {name: stack.pid(name) for name in _PROCESSES}
    begun_s = time.monotonic()
    for number in range(1, 1 + int(for_s / every_s)):
        time.sleep(max(0.0, begun_s + number * every_s - time.monotonic()))
        with contextlib.suppress(StoreError):
            sample = _sample(client, pids, time.monotonic() - begun_s)
            tell(f"{sample.at_s:.0f} s: {events()} events, lag {sample.lag_ms} ms, {sample.mb}, {sample.descriptors}")
            yield sample
    assert pids == {name: stack.pid(name) for name in _PROCESSES}, "a process was started anew"
    client.close()


def _sample(client: Any, pids: dict[str, int | None], at_s: float) -> _Sample:
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    mb = {name: round(process.memory_info().rss / _MB, 2) for name, process in processes.items()}
    mb["data"] = round(client.info("memory")["used_memory"] / _MB, 2)
    lag_ms = server_ms(client) - read_commit(client, VenueKeys(VENUE)).as_of_ms
    return _Sample(at_s, mb, {name: process.num_fds() for name, process in processes.items()}, lag_ms)


def _fit(samples: Sequence[_Sample], warm_up_s: float, result: Result) -> None:
    """Slopes and ends of what was sampled after the warm-up."""
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    result.samples = len(samples)
    at_h = [sample.at_s / 3600 for sample in warm]
    for name in warm[0].mb:
        values = [sample.mb[name] for sample in warm]
        result.mb[name] = (values[0], values[-1])
        result.mb_per_hour[name] = round(statistics.linear_regression(at_h, values).slope, 2)
    for name in _PROCESSES:
        third = [sample.descriptors[name] for sample in warm[-max(3, len(warm) // 3) :]]
        result.descriptors[name] = (max(sample.descriptors[name] for sample in warm[:3]), int(statistics.median(third)))
    lags = [sample.lag_ms for sample in warm]
    third_size = max(1, len(lags) // 3)
    result.lag_ms = {
        "first_third": statistics.median(lags[:third_size]),
        "last_third": statistics.median(lags[-third_size:]),
        "max": max(lags),
    }


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; rounds are seconds."""
    quick = "--quick" in arguments

    def soak(rounds: int, *, seed: int, tell: Tell) -> Result:
        return run(rounds, seed=seed, tell=tell, quick=quick)

    return run_from_command_line("soak", soak, arguments, rounds=int(LONG_S), about=__doc__, quick=int(QUICK_S))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
