"""One run from its seed: who takes part, when faults end, and how long the race may take to settle."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.simulation.judge import Judge, Verdict
from tests.simulation.plan import Plan
from tests.simulation.senders import Journal, Reader, Sender, open_venue, operate
from tests.simulation.world import Api, World, simulated

_CALM_AFTER_S = 1.0
"""Faults of the network end so long after the last event was sent."""
_SETTLE_S = 20.0
_ALARMING = ("unexpected", "cannot be restored", "damaged")
"""What Saima must not log in a run without damage."""


def simulate(seed: int, tell: Callable[[str], None] | None = None) -> Verdict:
    """The verdict on one run; tell hears its trace line by line. Leaves nothing behind."""
    begun_s = time.process_time()
    world = World(Plan.of(seed), tell)
    with _no_collection(), simulated(world) as logged:
        try:
            result = world.loop.run_until_complete(_run(world))
        finally:
            for process in world.processes.values():
                process.kill()
            world.loop.run_until_complete(_ended())
            world.loop.close()
    result.wrong += [f"logged: {line}" for line in map(str, logged) if any(word in line for word in _ALARMING)]
    result.cpu_s = time.process_time() - begun_s
    return result


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """redis-py sends commands when its pipelines are collected: let that depend on nothing but references."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _run(world: World) -> Verdict:
    plan, journal, judge = world.plan, Journal(), Judge(world)
    named: dict[str, Any] = {f"api-{index}": Api(world, f"api-{index}") for index in range(plan.apis)}

    def apis() -> list[Api]:
        return [each for each in named.values() if isinstance(each, Api)]

    await apis()[0].spawn(open_venue(world, apis()[0]))
    for index in range(plan.scorers):
        named[f"scorer-{index}"] = world.scorer(f"scorer-{index}")
    world.begin_weather()
    reader = Reader(world, apis)
    watching = asyncio.create_task(reader.run())
    async with asyncio.TaskGroup() as group:
        group.create_task(world.run_faults(named))
        group.create_task(operate(world, apis))
        group.create_task(_calm_after(world, plan.run_s + _CALM_AFTER_S))
        for index in range(plan.senders):
            group.create_task(Sender(world, f"sender-{index}", apis, journal).run())
    settled = await _settled(world, judge)
    watching.cancel()
    return judge.verdict(journal, reader, settled=settled)


async def _calm_after(world: World, seconds: float) -> None:
    await asyncio.sleep(seconds)
    world.network.calm()


async def _settled(world: World, judge: Judge) -> bool:
    until_s = world.loop.time() + _SETTLE_S
    while world.loop.time() < until_s:
        await asyncio.sleep(0.02)
        if judge.settled():
            return True
    return False


async def _ended() -> None:
    """What was cancelled has ended."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
