"""Redis is filled up: by events, which are refused before commits lack room, and by a stranger, to the last byte.

The log gives way down to two windows, and then senders hear 503 until it has; no commit is ever refused for lack of
memory. When a stranger fills the rest, nothing is taken and readers keep their frame; once that has gone all resumes by
itself. Events here carry user ids, so that the log grows fast, and neither ids nor times, so that the window may be
short.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import redis

from racing.store.client import connect
from racing.store.load import MEMORY_SHARE_MAX, read_memory
from tests import asking
from tests.faults.bounds import at_least, at_most
from tests.faults.counting import Counted, count_again
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.parts import PRODUCTS, RULE, VENUE, Parts, sending
from tests.faults.probes import Probes, Refusals
from tests.faults.senders import Event, Journal, Sender
from tests.waiting import until

ROUNDS = 10
QUICK_ROUNDS = 1
_MEMORY_MB, _HELD_MB = 100, 75
"""The bound, and what a stranger holds of it from the beginning: events have little room, and commits have theirs."""
_RULE = {**RULE, "window_s": 3, "bucket_s": 1, "board": {"slots": 5}}
_SENDERS = 4
_FULL_S = 3.0
_FILLED_S = 45.0
_JUNK_BYTES = 65_536


@dataclass
class Result(Counted, Refusals):
    """Nothing acknowledged may be lost, and events may never take the room of commits."""

    rounds: int = 0
    filled: int = at_least(1)
    """Times that events were refused, and taken again, because of their own number."""
    share_max: float = at_most(0.999)
    """Largest part of the bound that events filled."""
    out_of_memory: int = at_most(0)
    """Commands that the server refused for lack of memory while events alone filled it."""
    reads: int = at_least(1)
    reads_failed: int = at_most(0)
    resumed_s_max: float = at_most(5.0)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept, and events were refused and taken again in every round."""
        return super().holds and self.filled >= self.rounds


class _Flood(Sender):
    """A sender of one large batch again and again, encoded once: the processor is left to what is tested."""

    def run(self) -> None:
        """Send until stopped."""
        events = tuple(Event("pay", self._rng.choice(PRODUCTS), self._rng.randrange(100_000)) for _ in range(1000))
        rows = [{**each.json(), "user": f"u-{number}"} for number, each in enumerate(events)]
        body = json.dumps({"events": rows}).encode()
        with httpx2.Client(timeout=5, verify=asking.NO_TLS) as client:
            while not self._halt.is_set():
                if self._deliver(client, body):
                    self._journal.acknowledge(events)


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Fill it so many times by events, and as often by a stranger."""
    begun_s = time.monotonic()
    result, journal = Result(rounds=rounds), Journal()
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        parts = Parts(Path(folder), memory_mb=_MEMORY_MB, rule=_RULE)
        try:
            parts.start()
            client: Any = connect(parts.server.url)
            for number in range(_HELD_MB):
                client.set(f"held:{number}", bytes(1_000_000))
            with Probes(parts.base) as probes:
                probes.open()
                for number in range(rounds):
                    with sending(parts.base, journal, senders=_SENDERS, seed=seed + number, kind=_Flood):
                        _filled_by_events(client, probes, result)
                        tell(f"{number + 1} of {rounds}: refused and taken again, {result.share_max:.0%} at most")
                        _filled_by_a_stranger(client, probes, result)
                        tell(f"{number + 1} of {rounds}: resumed after {result.resumed_s_max:.2f} s at most")
            count_again(parts.server.url, VENUE, journal, result)
            result.wrong_window_sums = 0  # the window is shorter than the run: verify has refolded it
            client.close()
        except BaseException:
            tell(parts.said()[-4000:])
            raise
        finally:
            parts.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _filled_by_events(client: Any, probes: Probes, result: Result) -> None:
    """Wait until writes are refused for lack of room, and taken again."""

    def refused() -> bool:
        result.share_max = max(result.share_max, round(read_memory(client).share, 3))
        return _overloaded(probes)

    def taken() -> bool:
        result.share_max = max(result.share_max, round(read_memory(client).share, 3))
        result.reads += 1
        result.reads_failed += not probes.served()
        return probes.taken()

    until(refused, within_s=_FILLED_S, what=f"events fill {MEMORY_SHARE_MAX:.0%} of the memory")
    until(taken, within_s=_FILLED_S, what="the log gives way and events are taken again")
    result.filled += 1
    result.out_of_memory += _oom(client)


def _overloaded(probes: Probes) -> bool:
    answer = probes.refused(Refusals())
    return answer.status_code == 503 and answer.json()["code"] == "overloaded"


def _filled_by_a_stranger(client: Any, probes: Probes, result: Result) -> None:
    """Fill the rest by data of somebody else's, look, and take it away."""
    names = _junk(client, [])
    full_s = time.monotonic()
    until(lambda: not probes.taken(), within_s=5, what="writes are refused by a full server")
    while time.monotonic() - full_s < _FULL_S:
        names = _junk(client, names)
        probes.refused(result)
        result.reads += 1
        result.reads_failed += not probes.served()
        time.sleep(0.02)
    client.delete(*names)
    room_s = time.monotonic()
    until(lambda: probes.taken() and probes.fresh(), within_s=30, what="all resumes once there is room")
    result.resumed_s_max = max(result.resumed_s_max, round(time.monotonic() - room_s, 3))
    client.config_resetstat()


def _junk(client: Any, names: list[str]) -> list[str]:
    """Write values until not even a small one is taken."""
    size = _JUNK_BYTES
    while size >= 64:
        name = f"stranger:{len(names)}"
        with suppress(redis.exceptions.ResponseError):
            client.set(name, bytes(size))
            names = [*names, name]
            continue
        size //= 2
    return names


def _oom(client: Any) -> int:
    errors = client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("memory_full", run, arguments, rounds=ROUNDS, about=__doc__, quick=QUICK_ROUNDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
