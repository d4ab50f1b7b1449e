"""SIGSTOP of the owner for longer than its lease: another takes over, and the paused one writes nothing any more."""

from __future__ import annotations

import asyncio
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
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis

from racing.entries import EVENTS_FIELD, Runner
from racing.events import EventBatch
from racing.rule import parse_rule
from racing.store.client import connect, connect_async
from racing.store.commit import CommitRecord, decode_commit, read_commit
from racing.store.desk import Desk
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from racing.verify import verify
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.kills import RULE, VENUE
from tests.laws.logs import batch_of
from tests.stack import ROOT
from tests.waiting import until

KEYS = VenueKeys(VENUE)
RUNNERS = 50
LEASE_MS = 1_000
_SOON_S = 20.0
_BATCH = 500
"""Events of one entry: many, so that the owner folds and commits most of the time, and is paused while it does."""


@dataclass
class Result:
    """What a run of pauses came to. It holds if every commit followed the one before it, and nothing was lost."""

    rounds: int
    commits: int = 0
    take_overs: int = 0
    stale_commits: int = 0
    fenced: int = 0
    appended: int = 0
    lost: int = 0
    doubled: int = 0
    take_over_s_max: float = 0.0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        wrong = self.stale_commits or self.lost or self.doubled or self.differences
        return bool(self.commits and self.take_overs > self.rounds and not wrong)


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Pause whoever owns the venue, so many times, while events keep coming."""
    begun_s = time.monotonic()
    result = Result(rounds)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="saima-") as folder, contextlib.ExitStack() as ends:
        server = EmbeddedServer(Path(folder))
        server.start()
        ends.callback(server.stop)
        asyncio.run(_open_venue(server.url))
        client = connect(server.url)
        ends.callback(client.close)
        seen = ends.enter_context(_watched(server.url))
        with _scorers(server.url, Path(folder)) as scorers:
            with _load(server.url, result):
                until(lambda: read_commit(client, KEYS).number > 5, within_s=_SOON_S, what="one of the two races")
                for number in range(rounds):
                    time.sleep(rng.uniform(0.0, 0.3))  # any moment of a commit
                    _pause(client, scorers, seen, result)
                    tell(f"round {number + 1} of {rounds}: epoch {read_commit(client, KEYS).epoch}")
            until(
                lambda: read_commit(client, KEYS).counts.get("counted", 0) >= result.appended,
                within_s=_SOON_S,
                what="everything is counted",
            )
        _judge(client, seen.commits, result)
        result.fenced = sum("fenced" in line for line in (Path(folder) / "scorers.log").read_text().splitlines())
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


async def _open_venue(url: str) -> None:
    client = connect_async(url)
    desk = Desk(client)
    await desk.create(VENUE, "title", parse_rule(RULE), author="a")
    await desk.enrol(VENUE, [Runner(f"p-{index}", "m", "t") for index in range(RUNNERS)])
    await client.aclose()


@dataclass
class Seen:
    """What the server carried out, in its order."""

    commits: list[CommitRecord] = field(default_factory=list)
    leases: Counter[str] = field(default_factory=Counter)  # by process: how often it asked for the lease


def _pause(client: Any, scorers: list[int], seen: Seen, result: Result) -> None:
    """Stop the owner until the other one has committed; let it go on until it has asked for its lease in vain."""
    holder = until(lambda: client.get(KEYS.lease), within_s=_SOON_S, what="someone holds the lease")
    name = holder.decode()
    owner = int(name.rsplit("-", 1)[1])
    assert owner in scorers
    epoch = read_commit(client, KEYS).epoch
    os.kill(owner, signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        until(
            lambda: (record := read_commit(client, KEYS)).epoch > epoch and record.number > 3,
            within_s=_SOON_S,
            what="the other one commits",
        )
        result.take_over_s_max = round(max(result.take_over_s_max, time.monotonic() - stopped_s), 2)
        asked = seen.leases[name]
    finally:
        os.kill(owner, signal.SIGCONT)
    until(
        lambda: seen.leases[name] > asked + 1, within_s=_SOON_S, what="the paused one goes on, and asks for the lease"
    )


@contextlib.contextmanager
def _scorers(url: str, folder: Path) -> Iterator[list[int]]:
    """Process ids of two scorers that run meanwhile."""
    environment = {**os.environ, "SAIMA_REDIS_URL": url, "SAIMA_LEASE_MS": str(LEASE_MS), "SAIMA_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "racing.cli", "scorer"]
    with (folder / "scorers.log").open("wb") as out:
        running = [subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT) for _ in range(2)]
        try:
            yield [process.pid for process in running]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(_SOON_S)


@contextlib.contextmanager
def _load(url: str, result: Result) -> Iterator[None]:
    """Batches of clicks, appended all the while."""
    halt = threading.Event()

    def append() -> None:
        client = connect(url)
        batch: EventBatch = batch_of([{"type": "click", "runner": index % RUNNERS} for index in range(_BATCH)])
        packed = batch.pack()
        while not halt.wait(0.005):
            client.xadd(KEYS.log, {EVENTS_FIELD: packed})
            result.appended += _BATCH
        client.close()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        halt.set()
        thread.join()


@contextlib.contextmanager
def _watched(url: str) -> Iterator[Seen]:
    """Every write of the commit key and every question for the lease, as MONITOR tells them."""
    seen = Seen()
    watcher: Any = redis.Redis.from_url(url, protocol=2)
    with watcher.monitor() as monitor:

        def watch() -> None:
            while not (command := monitor.next_command()["command"]).startswith("ECHO end"):
                if command.startswith(f"SET {KEYS.commit} "):
                    seen.commits.append(decode_commit(command.split(" ", 2)[2].replace("\\", "").encode()))
                elif command.startswith("EVAL ") and f" {KEYS.lease} " in command:
                    seen.leases[command.split(" ")[-2]] += 1

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            client: Any = connect(url)
            client.execute_command("ECHO", "end")
            thread.join(_SOON_S)
            client.close()
    watcher.close()


def _judge(client: Any, commits: list[CommitRecord], result: Result) -> None:
    """Each commit must follow the one before it: its number in its epoch, or the first of a greater epoch."""
    result.commits = len(commits)
    for before, after in pairwise(commits):
        result.take_overs += after.epoch != before.epoch
        follows = (
            after.number == before.number + 1
            if after.epoch == before.epoch
            else after.epoch > before.epoch and after.number == 0
        )
        result.stale_commits += not follows
    result.take_overs += 1
    counted = read_commit(client, KEYS).counts["counted"]
    result.lost, result.doubled = max(0, result.appended - counted), max(0, counted - result.appended)
    total = sum(value for _, value in client.zrange(KEYS.sums("total", "click:count"), 0, -1, withscores=True))
    if total != result.appended:
        result.differences.append(f"totals add up to {total}, appended {result.appended}")
    result.differences += verify(client, VENUE).differences


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("pauses", run, arguments, rounds=20, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
