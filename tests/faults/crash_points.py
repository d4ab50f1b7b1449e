"""Every crash point of append and commit, enumerated: the retry and the next owner end where no crash ends.

A workload is one to three batches: new ones, the same Idempotency-Key again, late events, events with ids, a decision
between. It is raced once without a crash, and held against a naive recount; then once for every point at which its
API process or its owner can die: before each command of each write to the server, and after the last one's reply.
A fresh process goes on, the sender and the operator try again, and log, frames, counts and sets must be the same.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

from racing.store.client import connect
from racing.store.scripts import Script
from tests.contract.track import START_MS
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.mortal import Fate
from tests.faults.world import Seen, Sending, World, dated, hear, our_clock, recounted, totals
from tests.laws.compare import check_against
from tests.laws.logs import rule_of
from tests.laws.oracle import Recount

KINDS = ("new", "again", "late", "ids", "decision")
"""Kinds of batch; a workload is up to three of them in any order."""
BATCHES_MAX = 3
WRITES = frozenset(
    f"{when} {command}"
    for when in ("before", "after")
    for command in ("EVAL", "EVALSHA", "XADD", "EXEC of MULTI", "EXEC")
)
"""The points around what changes anything: a death at a read leaves what one after the last write has left."""
_STEP_MS = 700
"""Between two batches: three of them cross an edge of a bucket, and with it a checkpoint."""
_QUIET_MS = (100, 1900)
"""Turns after the last batch: what is still due at once, and a tick beyond the next edge."""
_TERMS: tuple[dict[str, Any], ...] = (
    {"metric": "click", "signal": "surge", "weight": 1, "tide": True},
    {"metric": "pay_amount", "signal": "uplift", "weight": 0.3},
)
_PORTION = 11
"""Workloads that a process takes at a time."""
_TROUBLES_MAX = 10


@dataclass
class Result:
    """What the crashes came to. It holds if every run ended as the one without a crash."""

    workloads: int = 0
    rounds: int = 0
    same: int = 0
    """Points left out of the short form, which are like another one of their run."""
    points: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    retries: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return bool(self.rounds and self.acknowledged and not (self.lost or self.doubled or self.different))

    def add(self, other: Result) -> None:
        """Take in what another process found."""
        for name in ("workloads", "rounds", "same", "acknowledged", "retries", "lost", "doubled", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.points = dict(Counter(self.points) + Counter(other.points))
        self.troubles = [*self.troubles, *other.troubles][:_TROUBLES_MAX]

    def trouble(self, text: str) -> None:
        """Keep the first few."""
        self.different += 1
        if len(self.troubles) < _TROUBLES_MAX:
            self.troubles.append(text[:600])


# -- workloads -----------------------------------------------------------------------------------------------


def workloads(every: int = 1) -> Iterator[tuple[str, ...]]:
    """All of up to three batches; of those of three every so manieth alone."""
    for size in range(1, BATCHES_MAX):
        yield from itertools.product(KINDS, repeat=size)
    yield from itertools.islice(itertools.product(KINDS, repeat=BATCHES_MAX), 0, None, every)


def sendings(workload: Sequence[str]) -> list[list[Sending]]:
    """What is sent at each step; ``again`` sends the last batch once more, or a first one twice."""
    steps: list[list[Sending]] = []
    last: Sending | None = None
    for index, kind in enumerate(workload):
        if kind == "decision":
            number = 3 + sum(kind == "decision" for kind in workload[:index])
            steps.append([Sending("", {"rule": _rule(index + 2)}), Sending("", {"enrol": {number: {}}})])
            continue
        if kind == "again" and last is not None:
            steps.append([last])
            continue
        last = Sending(f"key-{index}", {"events": _events(kind, index, START_MS + _STEP_MS * (index + 1))})
        steps.append([last, last] if kind == "again" else [last])
    return steps


def _rule(weight: float) -> dict[str, Any]:
    return rule_of(*({**term, "weight": term["weight"] * weight} for term in _TERMS), board={"slots": 3})


def _events(kind: str, index: int, now_ms: int) -> list[dict[str, Any]]:
    runner = index % 3
    if kind == "late":  # in the window, in the base, and too late to count
        return [
            {"type": "click", "runner": runner, "ts_ms": now_ms - 1500},
            {"type": "pay", "runner": 1, "amount": 70, "ts_ms": now_ms - 5000},
            {"type": "click", "runner": runner, "ts_ms": now_ms - 60_000},
        ]
    if kind == "ids":  # one id in every such batch, one that is new, and a refund of the batch before
        return [
            {"type": "click", "runner": 1, "id": "same"},
            {"type": "pay", "runner": 1, "amount": 100 + index, "id": f"pay-{index}"},
            {"type": "refund", "runner": 1, "id": f"pay-{index - 1}"},
        ]
    return [
        {"type": "click", "runner": runner},
        {"type": "click", "runner": runner},
        {"type": "pay", "runner": (index + 1) % 3, "amount": 10 * (index + 1)},
    ]


# -- one run -------------------------------------------------------------------------------------------------


async def raced(url: str, admin: Any, workload: Sequence[str], fate: Fate) -> tuple[World, Seen]:
    """Race a workload under a fate. In workloads of one batch the first owner also compares all sets."""
    world = World(url, admin, fate, _rule(1), warm=len(workload) > 1)
    try:
        await world.open()
        fate.armed = True
        for step in sendings(workload):
            world.let_pass(_STEP_MS)
            for sending in step:
                await world.send(sending)
            world.turn()
        for pause_ms in _QUIET_MS:
            world.let_pass(pause_ms)
            world.turn()
        fate.armed = False
        return world, world.seen()
    finally:
        await world.end()


# -- all runs ------------------------------------------------------------------------------------------------


async def _workload(url: str, admin: Any, workload: Sequence[str], result: Result, *, deep: bool) -> None:
    plain = Fate()
    world, right = await raced(url, admin, workload, plain)
    assert world.owner is not None
    recount = recounted(world.journal, right.log)
    check_against(recount, world.owner.race)
    for at, name in enumerate(plain.names):
        if not deep and len(workload) > 1 and name not in WRITES:
            result.same += 1
            continue
        world, seen = await raced(url, admin, workload, Fate(at=at))
        _count(f"{' '.join(workload)}, point {at} {name}", recount, right, seen, result)
        result.rounds += 1
        result.points[name] = result.points.get(name, 0) + 1
        result.acknowledged += sum(len(body.get("events", [])) for _, body in world.journal)
        result.retries += world.retries
    result.workloads += 1


def _count(where: str, recount: Recount, right: Seen, seen: Seen, result: Result) -> None:
    """Hold a run against the journal's recount and against the run without a crash."""
    expected = Counter(
        {
            (kind, runner): int(recount.sum(runner, (kind, "count"), "total"))
            for kind in ("click", "pay", "refund")
            for runner in recount.attributes
        }
    )
    found = totals(seen)
    result.lost += sum((expected - found).values())
    result.doubled += sum((found - expected).values())
    for what in ("log", "frames", "position", "counts", "sets"):
        if getattr(seen, what) != getattr(right, what):
            result.trouble(f"{where}: {what} {getattr(seen, what)}")


async def _all(url: str, chosen: Sequence[Sequence[str]], result: Result, *, deep: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(hear)
    admin: Any = connect(url)
    for workload in chosen:
        await _workload(url, admin, workload, result, deep=deep)
    admin.close()


def crash_all(chosen: Sequence[Sequence[str]], *, deep: bool, scripts: Callable[[Script], str] = dated) -> Result:
    """Every crash point of these workloads, on a server of their own; not deep: of two batches or more, WRITES only."""
    result = Result()
    with our_clock(scripts) as url:
        asyncio.run(_all(url, chosen, result, deep=deep))
    return result


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, deep: bool = True, every: int = 1) -> Result:
    """Every crash point of the first so many workloads, in as many processes as there are cores. Nothing is drawn.

    every: as workloads has it.
    """
    begun_s = time.monotonic()
    whole = Result()
    chosen = list(itertools.islice(workloads(every), rounds))
    portions = [chosen[first : first + _PORTION] for first in range(0, len(chosen), _PORTION)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for result in pool.map(partial(crash_all, deep=deep), portions):
            whole.add(result)
            tell(f"{whole.workloads} workloads, {whole.rounds} crashes, {whole.different} different")
    whole.seconds = round(time.monotonic() - begun_s, 1)
    return whole


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; --rounds is of no account, for the workloads are what they are."""
    deep = "--quick" not in arguments

    def every(rounds: int, *, seed: int, tell: Tell) -> Result:
        return run(sum(len(KINDS) ** size for size in range(1, BATCHES_MAX + 1)), seed=seed, tell=tell, deep=deep)

    return run_from_command_line("crash_points", every, arguments, rounds=0, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
