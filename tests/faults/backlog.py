"""A backlog of a million events, and more all the while: a scorer that starts now drains it with no wrong board.

The score is the number of clicks, so the board of any log position is a count and a sort of the journal: every frame
that the scorer publishes on its way is held against that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis

from racing.columns import Array
from racing.entries import EVENTS_FIELD, Runner
from racing.events import NO_TIME_MS, EventBatch
from racing.model import Frame, Position
from racing.rule import Rule
from racing.store.client import connect_async
from racing.store.commit import decode_frame, read_commit
from racing.store.desk import Desk
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.stack import ROOT
from tests.waiting import until

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
EVENTS, QUICK_EVENTS = 1_000_000, 100_000
STEADY_PER_S = 5_000
"""Events appended all the while, from before the scorer starts until it has caught up."""
RUNNERS = 1_000
_BATCH = 500
_RULE = {
    "window_s": 3600,
    "bucket_s": 5,
    "metrics": {"click": {"event": "click"}},
    "terms": [{"metric": "click", "signal": "level", "weight": 1}],
    "board": {"slots": 50},
}
_FASTER_MIN = 3.0
_CAUGHT_UP_MS = 1_000
_DRAINED_S = 600.0
_PATIENT_S = 60.0


@dataclass
class Result:
    """What the backlog came to."""

    rounds: int = 1
    acknowledged: int = 0
    backlog: int = 0
    drained_s: float = 0.0
    drained_per_s: float = 0.0
    times_steady: float = 0.0
    frames: int = 0
    wrong_boards: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        wrong = self.lost or self.doubled or self.wrong_boards
        return bool(self.acknowledged and self.frames and self.times_steady >= _FASTER_MIN and not wrong)


class Journal:
    """What was appended: the position of each entry and its runners."""

    def __init__(self, client: Any, seed: int) -> None:
        self._client = client
        self._rng = np.random.default_rng(seed)
        self.entries: list[tuple[Position, Array]] = []

    def append(self) -> None:
        """One entry of clicks, some runners far more often than others."""
        runners = np.minimum(self._rng.exponential(RUNNERS / 8, _BATCH).astype(np.int64), RUNNERS - 1)
        batch = EventBatch(
            kinds=("click",),
            kind=np.zeros(_BATCH, np.int64),
            runner=runners,
            time_ms=np.full(_BATCH, NO_TIME_MS),
            amount=None,
            id_hash=None,
        )
        name = self._client.xadd(KEYS.log, {EVENTS_FIELD: batch.pack()})
        self.entries.append((Position.parse(name), runners))

    @property
    def events(self) -> int:
        """How many events were appended."""
        return _BATCH * len(self.entries)


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Drain so many events. rounds: events."""
    begun_s = time.monotonic()
    result = Result()
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        server = EmbeddedServer(Path(name) / "data")
        server.start()
        client: Any = redis.Redis.from_url(server.url, protocol=2, socket_timeout=_PATIENT_S)
        try:
            asyncio.run(_open_venue(server.url))
            journal = Journal(client, seed)
            while journal.events < rounds:
                journal.append()
            result.backlog = journal.events
            tell(f"{result.backlog} events wait")
            with _steady(journal), _scorer(server.url, Path(name)):
                until(lambda: client.get(KEYS.lease), within_s=_PATIENT_S, what="the scorer has the lease")
                _drain(client, journal, result)
            tell(f"{journal.events} events drained in {result.drained_s} s")
            frames = [decode_frame(fields[b"frame"]) for _, fields in client.xrange(KEYS.frames)]
            result.frames = len(frames)
            result.wrong_boards = _wrong_boards(frames, journal)
            _count(client, journal, result)
        finally:
            client.close()
            server.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


async def _open_venue(url: str) -> None:
    client = connect_async(url)
    desk = Desk(client)
    await desk.venues.create(VENUE, "Hall 1", Rule.model_validate(_RULE), author="t")
    await desk.runners.enrol(VENUE, [Runner(f"p-{number}", "m", "t") for number in range(RUNNERS)])
    await client.aclose()


@contextlib.contextmanager
def _steady(journal: Journal) -> Iterator[None]:
    """Events at a steady rate, on a schedule: what is late is made up for."""
    halt = threading.Event()

    def append() -> None:
        begun_s = time.monotonic()
        sent = 0
        while not halt.wait(0.01):
            while sent < (time.monotonic() - begun_s) * STEADY_PER_S:
                journal.append()
                sent += _BATCH

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        halt.set()
        thread.join()


@contextlib.contextmanager
def _scorer(url: str, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "SAIMA_REDIS_URL": url, "SAIMA_LOG_LEVEL": "warning"}
    with (folder / "scorer.log").open("wb") as out:
        command = [sys.executable, "-m", "racing.cli", "scorer"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(_PATIENT_S)


def _drain(client: Any, journal: Journal, result: Result) -> None:
    """Wait until the scorer is less than a second behind; the time counts from its lease."""
    begun_s = time.monotonic()

    def caught_up() -> bool:
        folded = Position.parse(read_commit(client, KEYS).position)
        return journal.entries[-1][0].ms - folded.ms < _CAUGHT_UP_MS

    until(caught_up, within_s=_DRAINED_S, what="the backlog is drained")
    result.drained_s = round(time.monotonic() - begun_s, 2)
    result.drained_per_s = round(journal.events / max(result.drained_s, 0.01))
    result.times_steady = round(result.drained_per_s / STEADY_PER_S, 1)


def _wrong_boards(frames: Sequence[Frame], journal: Journal) -> int:
    """Frames that are not the plain sort of the clicks counted up to their position."""
    counts = np.zeros(RUNNERS, np.int64)
    wrong = folded = 0
    for frame in frames:
        position = Position.parse(frame.position)
        while folded < len(journal.entries) and journal.entries[folded][0] <= position:
            counts += np.bincount(journal.entries[folded][1], minlength=RUNNERS)
            folded += 1
        enrolled = frame.runners
        order = sorted(range(enrolled), key=lambda runner: (-counts[runner], runner))[:50]
        shown = [(slot.runner, slot.score) for slot in frame.slots]
        wrong += shown != [(runner, float(counts[runner])) for runner in order]
    return wrong


def _count(client: Any, journal: Journal, result: Result) -> None:
    """Totals of the log's last position against the journal; the scorer, which has ended, folded up to its commit."""
    commit = read_commit(client, KEYS)
    folded = Position.parse(commit.position)
    expected = sum(len(runners) for position, runners in journal.entries if position <= folded)
    result.acknowledged = expected
    result.lost = max(0, expected - commit.counts["counted"])
    result.doubled = max(0, commit.counts["counted"] - expected)


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; rounds are events."""
    return run_from_command_line("backlog", run, arguments, rounds=EVENTS, about=__doc__, quick=QUICK_EVENTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
