"""Clocks that jump an hour or half a second, either way, and owners that go wrong by half a second.

Log time is the server's clock, and never goes back: while the clock is behind, the log stands at its last moment. What
must hold: windows move one way, nothing leaves them twice, each id counts once, and frames, commits and sets come as
soon as ever, also when the clock has gone back beyond the moments that pace them.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from racing.store.client import connect
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.mortal import Fate
from tests.faults.world import Sending, World, hear, our_clock, recounted, totals
from tests.laws.compare import check_against
from tests.laws.logs import EVERY_SIGNAL, rule_of

HOUR_MS = 3_600_000
JUMPS_MS = (-HOUR_MS, -500, 0, 500, HOUR_MS)
SKEWS_MS = (-500, 0, 500)
_JUMPS = 3
_RULE = rule_of(*EVERY_SIGNAL, board={"slots": 3})
_SETTLE_STEPS = 4


@dataclass
class Result:
    """What the jumps came to."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return bool(self.rounds and self.acknowledged and not (self.lost or self.doubled or self.troubles))


async def _jumped(world: World, jumps_ms: Sequence[int], result: Result) -> None:
    await world.open()
    moment_ms = 0
    for index, jump_ms in enumerate(jumps_ms):
        for step in range(2):
            world.let_pass(600)
            await world.send(_batch(2 * index + step))
            world.turn()
        world.let_pass(jump_ms)
        await world.send(_batch(100 + index))
        for _ in range(_SETTLE_STEPS):  # 0.4 s of the clock as it is now: by then the board shows it all
            world.let_pass(100)
            world.turn()
        assert world.owner is not None
        seen, race = world.seen(), world.owner.race
        recount = recounted(world.journal, seen.log)
        check_against(recount, race)
        assert moment_ms <= race.moment_ms, "log time went back"
        moment_ms = race.moment_ms
        assert seen.position == seen.log[-1][0].decode(), "not all is committed"
        assert seen.frames[-1].slots == race.slots(), "the board is not shown"
        assert [frame.at_ms for frame in seen.frames] == sorted(frame.at_ms for frame in seen.frames)
        expected = {runner: int(recount.sum(runner, ("click", "count"), "total")) for runner in recount.attributes}
        for runner, count in expected.items():
            result.lost += max(0, count - totals(seen)["click", runner])
            result.doubled += max(0, totals(seen)["click", runner] - count)
    result.acknowledged += sum(len(body.get("events", [])) for _, body in world.journal)


def _batch(number: int) -> Sending:
    events: list[dict[str, Any]] = [
        {"type": "click", "runner": 0, "id": "same"},
        {"type": "click", "runner": number % 3, "id": f"click-{number}"},
        {"type": "pay", "runner": 1, "amount": 10 + number, "id": f"pay-{number}"},
    ]
    return Sending(f"key-{number}", {"events": events})


async def _all(url: str, cases: Sequence[tuple[Sequence[int], int]], result: Result) -> None:
    asyncio.get_running_loop().set_exception_handler(hear)
    admin: Any = connect(url)
    for jumps_ms, skew_ms in cases:
        world = World(url, admin, Fate(), _RULE, warm=True)
        world.skew_ms = skew_ms
        try:
            await _jumped(world, jumps_ms, result)
        except AssertionError as exc:
            result.troubles = [*result.troubles, f"jumps of {jumps_ms} ms, skew {skew_ms} ms: {exc}"][:10]
        finally:
            await world.end()
        result.rounds += 1
    admin.close()


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, every: int = 1) -> Result:
    """Every sequence of three jumps under every skew; of the first so many each so manieth. Nothing is drawn."""
    begun_s = time.monotonic()
    result = Result()
    cases = list(itertools.product(itertools.product(JUMPS_MS, repeat=_JUMPS), SKEWS_MS))
    with our_clock() as url:
        asyncio.run(_all(url, cases[:rounds:every], result))
    result.seconds = round(time.monotonic() - begun_s, 1)
    tell(f"{result.rounds} sequences of jumps")
    return result


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line: every case in either form."""
    every = len(JUMPS_MS) ** _JUMPS * len(SKEWS_MS)
    return run_from_command_line("clock_jumps", run, arguments, rounds=every, about=__doc__, quick=every)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
