"""Scorers paused for longer than their lease, or killed: others take their venues over, and what wakes writes nothing.

Three scorers share six venues under load. In each round one is stopped (SIGSTOP), in the middle of a commit where that
can be met, until the others race all of its venues; then it goes on as if nothing had been. Every fourth round one more
is killed and a new one joins.
Times are the server's own, from its MONITOR; what must have been counted is counted again from the sender's journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from racing.store.commit import read_commit
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from racing.verify import verify
from tests.faults.crews import SOON_S, Crew, Load, crew, open_venues, patient
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.watched import Seen, watched
from tests.waiting import until

VENUES = tuple(f"hall-{number}" for number in range(1, 7))
SCORERS = 3
LEASE_MS = 3_000
GRACE_S = 1.0
"""A take-over may take so much longer than the lease."""
QUICK_ROUNDS = 4
_KILL_EVERY = 4
_BATCH, _PAUSE_S = 100, 0.004


@dataclass
class Fall:
    """A scorer that fell silent: when (s since 1970), and the epochs of the venues that it ran."""

    at_s: float
    epochs: dict[str, int]


@dataclass
class Result:
    """What a run came to. Times count from the stop or kill, those of a hand-over from the last commit before it.

    load_per_core: the machine's own, at the end: where it is far above 1, times say more of the machine than of us.
    """

    rounds: int
    lease_s: float
    paused_in_commit: int = 0
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    commits: int = 0
    stale_commits: int = 0
    fenced: int = 0
    take_overs: int = 0
    takeover_s_p50: float = 0.0
    takeover_s_p99: float = 0.0
    takeover_s_max: float = 0.0
    first_frame_s_p50: float = 0.0
    first_frame_s_p99: float = 0.0
    hand_overs: int = 0
    handover_gap_s_p50: float = 0.0
    handover_gap_s_p99: float = 0.0
    differences: list[str] = field(default_factory=list)
    load_per_core: float = 0.0
    seconds: float = 0.0

    @property
    def safe(self) -> bool:
        """Whether every commit followed the one before it, and nothing was lost or doubled."""
        wrong = self.stale_commits or self.lost or self.doubled or self.differences
        return bool(self.acknowledged and self.take_overs >= self.rounds and not wrong)

    @property
    def in_time(self) -> bool:
        """Whether take-overs kept their bound."""
        return self.takeover_s_p99 <= self.lease_s + GRACE_S

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return self.safe and self.in_time


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, lease_ms: int = LEASE_MS) -> Result:
    """Stop one scorer after the other, so many times, while events keep coming."""
    begun_s = time.monotonic()
    result = Result(rounds, lease_ms / 1000)
    falls: list[Fall] = []
    with tempfile.TemporaryDirectory(prefix="saima-") as folder, contextlib.ExitStack() as ends:
        server = EmbeddedServer(Path(folder))
        server.start()
        ends.callback(server.stop)
        asyncio.run(open_venues(server.url, VENUES))
        client = patient(server.url)
        ends.callback(client.close)
        with (
            watched(server.url) as seen,
            crew(server.url, Path(folder), scorers=SCORERS, lease_ms=lease_ms, seed=seed) as scorers,
        ):
            with Load(server.url, VENUES, seed=seed, batch=_BATCH, pause_s=_PAUSE_S) as load:
                _rounds(client, scorers, result, falls, random.Random(seed), tell)
                scorers.settled(VENUES)
            _recount(client, load, result)
        _judge(seen, falls, result)
        result.fenced = scorers.log.read_text().count("fenced")
    result.load_per_core = round(os.getloadavg()[0] / (os.cpu_count() or 1), 1)
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _rounds(client: Any, scorers: Crew, result: Result, falls: list[Fall], rng: random.Random, tell: Tell) -> None:
    for number in range(1, result.rounds + 1):
        stopped, met = _fall(client, scorers, falls, rng, scorers.pause)
        scorers.go_on(stopped)
        result.paused_in_commit += met
        if number % _KILL_EVERY == 0:
            _fall(client, scorers, falls, rng, scorers.kill)
            scorers.start()
            result.kills += 1
        tell(f"round {number} of {result.rounds}: {sorted(falls[-1].epochs)} taken over")


def _fall(
    client: Any, scorers: Crew, falls: list[Fall], rng: random.Random, how: Callable[[int], tuple[float, bool]]
) -> tuple[int, bool]:
    """Let one scorer fall silent, and wait until others race its venues; returns its process id, and what how told."""
    owners = scorers.settled(VENUES)
    pid = rng.choice(sorted(set(owners.values())))
    epochs = {venue: read_commit(client, VenueKeys(venue)).epoch for venue, owner in owners.items() if owner == pid}
    at_s, met = how(pid)
    falls.append(Fall(at_s, epochs))

    def taken_over() -> bool:
        records = {venue: read_commit(client, VenueKeys(venue)) for venue in epochs}
        return all(record.epoch > epochs[venue] and record.number > 1 for venue, record in records.items())

    until(taken_over, within_s=SOON_S, what=f"others race {sorted(epochs)}")
    return pid, met


# -- counting again ------------------------------------------------------------------------------------------


def _recount(client: Any, load: Load, result: Result) -> None:
    """Compare the journal with the sorted sets, when those are complete, and each venue with its log."""
    result.acknowledged = load.events
    for venue, expected in load.journal.items():
        keys = VenueKeys(venue)
        last = client.xrevrange(keys.log, count=1)[0][0].decode()

        def complete(keys: VenueKeys = keys, last: str = last) -> bool:
            record = read_commit(client, keys)
            return record.position == record.sets_position >= last

        until(complete, within_s=SOON_S, what=f"{venue} is folded and its sets are complete")
        totals = client.zrange(keys.sums("total", "click:count"), 0, -1, withscores=True)
        found = {int(member): int(value) for member, value in totals}
        for runner in expected.keys() | found.keys():
            result.lost += max(0, expected[runner] - found.get(runner, 0))
            result.doubled += max(0, found.get(runner, 0) - expected[runner])
        result.differences += verify(client, venue).differences


def _judge(seen: Seen, falls: list[Fall], result: Result) -> None:
    """Every new epoch is a take-over from a scorer that fell silent, or else a hand-over."""
    result.commits = sum(map(len, seen.commits.values()))
    result.stale_commits = sum(map(seen.stale, VENUES))
    changes = {venue: seen.take_overs(venue) for venue in VENUES}
    taken_s, frames_s, gaps_s = [], [], []
    for fall in falls:
        for venue, epoch in fall.epochs.items():
            taken = min(later for later, (_, at_s) in changes[venue].items() if later > epoch and at_s >= fall.at_s)
            taken_s.append(changes[venue].pop(taken)[1] - fall.at_s)
            first_s = min(at_s for later, at_s in seen.frames[venue].items() if later >= taken)
            frames_s.append(first_s - fall.at_s)
    for venue, rest in changes.items():
        for epoch, (before_s, _) in rest.items():
            firsts_s = [at_s for at_s, record in seen.commits[venue] if record.epoch == epoch and record.number > 0]
            gaps_s += [firsts_s[0] - before_s] if firsts_s else []
    result.take_overs, result.hand_overs = len(taken_s), len(gaps_s)
    result.takeover_s_p50, result.takeover_s_p99 = _share(taken_s, 0.5), _share(taken_s, 0.99)
    result.takeover_s_max = _share(taken_s, 1.0)
    result.first_frame_s_p50, result.first_frame_s_p99 = _share(frames_s, 0.5), _share(frames_s, 0.99)
    result.handover_gap_s_p50, result.handover_gap_s_p99 = _share(gaps_s, 0.5), _share(gaps_s, 0.99)


def _share(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed; 0 without any."""
    return round(sorted(values)[math.ceil(share * len(values)) - 1], 3) if values else 0.0


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("takeover", run, arguments, rounds=100, quick=QUICK_ROUNDS, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
