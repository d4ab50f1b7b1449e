"""Deterministic simulation: senders, scorers, readers and one server in virtual time, with faults drawn from a seed.

A seed that breaks a bound is printed; ``--seed N`` runs that one alone, with its trace.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from tests.faults.exercise import Tell, aloud, silent
from tests.simulation.judge import Verdict
from tests.simulation.run import simulate

ROUNDS = 10_000
QUICK_S = 30.0
"""The short form ends after so long, whatever the machine."""
_QUICK_ROUNDS = 500
_AGAIN_EVERY = 20
"""One seed in so many is run a second time, in the same process: its trace must be the same."""


@dataclass
class Result:
    """What many runs came to. It holds if no seed broke an invariant, and every repeated one gave the same trace."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    stale_commits: int = 0
    commits: int = 0
    take_overs: int = 0
    frames: int = 0
    entries: int = 0
    retries: int = 0
    repeated: int = 0
    different_traces: int = 0
    virtual_s: float = 0.0
    failed: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept, and the runs came to something."""
        wrong = self.lost or self.doubled or self.stale_commits or self.different_traces or self.failed
        return bool(self.rounds and self.acknowledged and self.take_overs > self.rounds and not wrong)

    def add(self, verdict: Verdict) -> None:
        """Count one run."""
        self.rounds += 1
        for name in (
            "acknowledged",
            "lost",
            "doubled",
            "stale_commits",
            "commits",
            "take_overs",
            "frames",
            "entries",
            "retries",
            "virtual_s",
            "cpu_s",
        ):
            setattr(self, name, getattr(self, name) + getattr(verdict, name))
        if not verdict.holds:
            told = f"lost {verdict.lost}, doubled {verdict.doubled}, stale {verdict.stale_commits}"
            self.failed.append(f"seed {verdict.seed}: {told}, {verdict.wrong[:3]}")


def run(
    rounds: int, *, seed: int = 1, tell: Tell = silent, processes: int = 1, within_s: float | None = None
) -> Result:
    """So many seeds from one on; within_s: no new one is begun after that."""
    begun_s = time.monotonic()
    result = Result()
    for verdict, again in _runs(range(seed, seed + rounds), processes):
        result.add(verdict)
        if again is not None:
            result.repeated += 1
            result.different_traces += again != verdict.trace
        if not verdict.holds:
            tell(result.failed[-1])
        if result.rounds % 500 == 0:
            tell(f"{result.rounds} of {rounds} seeds, {len(result.failed)} failed")
        if within_s is not None and time.monotonic() - begun_s > within_s:
            break
    result.virtual_s, result.cpu_s = round(result.virtual_s, 1), round(result.cpu_s, 1)
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _runs(seeds: Sequence[int], processes: int) -> Iterator[tuple[Verdict, str | None]]:
    if processes == 1:
        yield from map(_twice, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_twice, seeds, chunksize=10)


def _twice(seed: int) -> tuple[Verdict, str | None]:
    """A seed's verdict, and for some seeds the trace of a second run."""
    return simulate(seed), simulate(seed).trace if seed % _AGAIN_EVERY == 0 else None


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults simulation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"seeds to run (default: {ROUNDS})")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default: 1)")
    parser.add_argument("--seed", type=int, help="run this seed alone, and print its trace")
    parser.add_argument("--processes", type=int, default=1, help="run so many at once (default: 1)")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_ROUNDS} seeds, or as many as {QUICK_S:g} s allow"
    )
    parser.add_argument("--within", type=float, help="begin no seed after so many seconds")
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    options = parser.parse_args(arguments)
    tell = silent if options.json else aloud
    if options.seed is not None:
        return _one(options.seed, tell)
    rounds = _QUICK_ROUNDS if options.quick else options.rounds
    within_s = options.within if options.within is not None else QUICK_S if options.quick else None
    result = run(rounds, seed=options.first, tell=tell, processes=options.processes, within_s=within_s)
    sys.stdout.write(json.dumps({"exercise": "simulation", **asdict(result), "holds": result.holds}) + "\n")
    return 0 if result.holds else 1


def _one(seed: int, tell: Tell) -> int:
    verdict = simulate(seed, tell)
    told = {"exercise": "simulation", "rounds": 1, **asdict(verdict), "holds": verdict.holds}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if verdict.holds else 1
