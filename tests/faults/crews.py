"""Scorers as real processes that share a few venues; each is paused, killed or started by its name."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from racing.entries import EVENTS_FIELD, Runner
from racing.events import EventBatch
from racing.rule import parse_rule
from racing.store.client import connect, connect_async
from racing.store.commit import read_commit
from racing.store.crew import read_reports
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from tests.faults.kills import RULE
from tests.laws.logs import batch_of
from tests.stack import ROOT
from tests.waiting import until

RUNNERS = 50
SOON_S = 30.0
_SETTLED_S = 120.0
"""Nothing that is promised: a process that starts on a crowded machine has its imports to do first."""
_END_S = 10.0
_TRIES, _LOOKS, _LOOK_S = 40, 4, 0.004


def patient(url: str) -> SyncClient:
    """A client that waits for its answer: on a busy machine a server may stand still for longer than a scorer waits."""
    return connect(url, block_ms=int(1000 * SOON_S))


class Crew:
    """Some scorers of one server, all with the same lease."""

    def __init__(self, url: str, folder: Path, *, lease_ms: int, seed: int) -> None:
        self._rng = random.Random(seed)
        self.log = folder / "scorers.log"
        self._environment = {
            **os.environ,
            "SAIMA_REDIS_URL": url,
            "SAIMA_LEASE_MS": str(lease_ms),
            "SAIMA_LOG_LEVEL": "warning",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._client: Any = patient(url)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> int:
        """Start one more scorer; returns its process id."""
        command = [sys.executable, "-m", "racing.cli", "scorer"]
        with self.log.open("ab") as out:
            process = subprocess.Popen(command, env=self._environment, stdout=out, stderr=out, cwd=ROOT)
        self._processes[process.pid] = process
        return process.pid

    def pause(self, pid: int) -> tuple[float, bool]:
        """Stop one between the WATCH and the EXEC of a commit, where that can be met within _TRIES.

        Returns when it was stopped (s since 1970) and whether it was met.
        """
        for _ in range(_TRIES):
            os.kill(pid, signal.SIGSTOP)
            at_s = time.time()
            if self._in_a_commit():
                return at_s, True
            self.go_on(pid)
            time.sleep(self._rng.uniform(0.0, 0.05))
        os.kill(pid, signal.SIGSTOP)
        return time.time(), False

    def _in_a_commit(self) -> bool:
        """Whether a connection watches a key and stays at that: its process stands still, whatever the others do."""
        watching: set[tuple[str, str]] | None = None
        for _ in range(_LOOKS):
            listed = {
                (each["id"], each["tot-cmds"])
                for each in self._client.execute_command("CLIENT LIST")
                if int(each.get("watch", 0))
            }
            watching = listed if watching is None else watching & listed
            if not watching:
                return False
            time.sleep(_LOOK_S)
        return True

    def go_on(self, pid: int) -> None:
        """Let a paused one go on as if nothing had been."""
        os.kill(pid, signal.SIGCONT)

    def kill(self, pid: int) -> tuple[float, bool]:
        """End one without a word; returns when (s since 1970), and False as pause() does."""
        process = self._processes.pop(pid)
        at_s = time.time()
        process.kill()
        process.wait()
        return at_s, False

    def end(self, pid: int) -> int:
        """Ask one to end, and wait for it; returns its exit code."""
        process = self._processes.pop(pid)
        process.terminate()
        return process.wait(_END_S)

    def close(self) -> None:
        """End all that still run."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._client.close()

    def owners(self, venues: Sequence[str]) -> dict[str, int]:
        """The process that holds each venue's lease; those without are left out."""
        pids = {report.name: report.pid for report in read_reports(self._client)}
        held = {venue: self._client.get(VenueKeys(venue).lease) for venue in venues}
        return {venue: pids[name.decode()] for venue, name in held.items() if name and name.decode() in pids}

    def settled(self, venues: Sequence[str]) -> dict[str, int]:
        """The owners, once every venue has one, they share evenly, and each has committed."""

        def even() -> dict[str, int] | None:
            owners = self.owners(venues)
            sizes = Counter(dict.fromkeys(self._processes, 0))
            sizes.update(owners.values())
            if len(owners) < len(venues) or sizes.keys() != self._processes.keys():
                return None
            raced = all(read_commit(self._client, VenueKeys(venue)).number > 1 for venue in venues)
            return owners if raced and max(sizes.values()) - min(sizes.values()) <= 1 else None

        return until(
            even, within_s=_SETTLED_S, what=f"{len(self._processes)} scorers share {len(venues)} venues evenly"
        )


@contextlib.contextmanager
def crew(url: str, folder: Path, *, scorers: int, lease_ms: int, seed: int) -> Iterator[Crew]:
    """So many scorers, which run meanwhile."""
    made = Crew(url, folder, lease_ms=lease_ms, seed=seed)
    try:
        for _ in range(scorers):
            made.start()
        yield made
    finally:
        made.close()


async def open_venues(url: str, venues: Sequence[str]) -> None:
    """Create venues, each with the same runners."""
    client = connect_async(url)
    desk = Desk(client)
    for venue in venues:
        await desk.venues.create(venue, "title", parse_rule(RULE), author="a")
        await desk.runners.enrol(venue, [Runner(f"p-{index}", "m", "t") for index in range(RUNNERS)])
    await client.aclose()


class Load(threading.Thread):
    """Batches of clicks for each venue in turn, all the while; its journal is of what the server acknowledged."""

    def __init__(self, url: str, venues: Sequence[str], *, seed: int, batch: int, pause_s: float) -> None:
        super().__init__(name="load", daemon=True)
        self.journal: dict[str, Counter[int]] = {venue: Counter() for venue in venues}
        self._url = url
        self._rng = random.Random(seed)
        self._batch = batch
        self._pause_s = pause_s
        self._halt = threading.Event()

    @property
    def events(self) -> int:
        """How many events were acknowledged."""
        return sum(counts.total() for counts in self.journal.values())

    def run(self) -> None:
        """Append until stopped."""
        client = patient(self._url)
        while not self._halt.is_set():
            for venue, counts in self.journal.items():
                runners = self._rng.choices(range(RUNNERS), k=self._batch)
                batch: EventBatch = batch_of([{"type": "click", "runner": runner} for runner in runners])
                client.xadd(VenueKeys(venue).log, {EVENTS_FIELD: batch.pack()})
                counts.update(runners)
                if self._halt.wait(self._pause_s):
                    break
        client.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self.join(SOON_S)
        assert not self.is_alive(), "the load waits for an answer that does not come"
