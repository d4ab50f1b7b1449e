"""What steps of the board remember (稳定性, 新品): who holds which slot, and who has been ahead of whom since when.

It advances on a fixed grid of log time, so that how entries are batched changes nothing, and only where something has
stirred: between two looks the board keeps the order of those who hold slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from racing.board import order
from racing.board_settings import Stability
from racing.model import FloatArray, IntArray
from racing.orderbook import NEVER_MS

GRID_MS = 500
"""Between two moments at which the board may be looked at anew."""
REACH = 8
"""Places above its own that a runner's lead is timed for: bounds the memory."""

Clocks = dict[tuple[int, int], int]
"""(runner, the one above it) -> since when the lower one has been ahead, ms."""
Noise = Callable[[int, int], float]
"""The deviation that chance alone gives the difference of two runners' scores."""


class Churn(msgspec.Struct):
    """What stability has done so far: slots that changed hands at looks, and how many would have without it.

    given_up: points of score that the board of the last look gives up: of each slot, what the runner that would stand
    there without stability has more than the one that does.
    """

    moved: int = 0
    moved_without: int = 0
    given_up: float = 0.0


@dataclass(slots=True)
class Memory:
    """held: who holds the slots, the first first. plain: who would, without stability. chosen: newcomers on the board.

    looked_ms: the last look; due_ms: the next one, NEVER_MS while nothing can come of one.
    """

    held: list[int] = field(default_factory=list)
    plain: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    clocks: Clocks = field(default_factory=dict)
    looked_ms: int = 0
    due_ms: int = NEVER_MS
    churn: Churn = field(default_factory=Churn)

    def stir(self, moment_ms: int) -> None:
        """Something has changed: look at the next moment of the grid."""
        self.due_ms = min(self.due_ms, (moment_ms // GRID_MS + 1) * GRID_MS)

    def forget(self) -> None:
        """Who holds what is void: the board is the standings until the next look."""
        self.held, self.plain, self.chosen, self.clocks, self.due_ms = [], [], [], {}, NEVER_MS

    def look(
        self, moment_ms: int, standing: IntArray, scores: FloatArray, slots: int, settings: Stability, noise: Noise
    ) -> None:
        """Let challengers pass who may.

        standing: those who are not out, in standing order: at least 2 * slots or all, and all who hold slots.
        A runner passes the one above it if it is ahead by more than the margin, or has been ahead at every look for
        lead_ms; then the next one above, until it passes no more. Cost: O(slots * REACH) where nobody is far off.
        """
        there = standing.tolist()

        def passes(runner: int, above: int) -> bool:
            """Whether a runner may pass the one above it now."""
            ahead = float(scores[runner] - scores[above])
            if ahead <= 0:
                return False
            since = self.clocks.get((runner, above), moment_ms)
            led = settings.lead_ms is not None and moment_ms - since >= settings.lead_ms
            return led or ahead > max(
                settings.margin, settings.noise_units and settings.noise_units * noise(runner, above)
            )

        line = revised(self.held, there, scores, slots, passes)
        plain = there[:slots]
        if self.held:
            self.churn.moved += _changed(self.held, line)
            self.churn.moved_without += _changed(self.plain, plain)
        self.churn.given_up = sum(
            max(0.0, float(scores[better] - scores[runner])) for better, runner in zip(plain, line, strict=True)
        )
        self.clocks = _timed(self.clocks, line, there, scores, moment_ms)
        moved, self.held, self.plain = self.held != line, line, plain
        if settings.lead_ms is not None:
            leads = [since + settings.lead_ms for since in self.clocks.values()]
            due = [moment_ms] if moved else [at_ms for at_ms in leads if at_ms > moment_ms]
            if due and leads:
                self._due(min(due), moment_ms)

    def choose(self, moment_ms: int, new: IntArray, ends_ms: IntArray, scores: FloatArray, count: int) -> None:
        """Take the best newcomers for the board. new: who is new and not out; ends_ms: until when each is."""
        self.chosen = order(new, scores[new])[:count].tolist()
        if len(ends_ms):
            self._due(int(ends_ms.min()), moment_ms)

    def _due(self, at_ms: int, moment_ms: int) -> None:
        """Look at the first moment of the grid from at_ms on, after this one."""
        self.due_ms = min(self.due_ms, max(-(-at_ms // GRID_MS) * GRID_MS, (moment_ms // GRID_MS + 1) * GRID_MS))

    def looked(self, moment_ms: int) -> None:
        """Begin a look: what was due is done."""
        self.looked_ms, self.due_ms = moment_ms, NEVER_MS

    def save(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "held": self.held,
            "plain": self.plain,
            "chosen": self.chosen,
            "clocks": [[lower, upper, since] for (lower, upper), since in self.clocks.items()],
            "looked_ms": self.looked_ms,
            "due_ms": self.due_ms,
            "churn": msgspec.to_builtins(self.churn),
        }

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Memory:
        """The memory that save gave."""
        clocks = {(lower, upper): since for lower, upper, since in saved["clocks"]}
        return cls(**{**saved, "clocks": clocks, "churn": msgspec.convert(saved["churn"], Churn)})


def revised(
    held: Sequence[int],
    standing: Sequence[int],
    scores: npt.NDArray[np.float64],
    slots: int,
    passes: Callable[[int, int], bool],
) -> list[int]:
    """Who holds the slots after challengers have passed, the first first; as many as there are slots, or all.

    Holders keep their order as far as they are still there; each, from the first on, rises past those whom it passes.
    Then the others, best first, come from below the last one in the same way, as long as they are ahead of it.
    """
    there = set(standing)
    line: list[int] = []
    for runner in held:
        if runner in there:
            _rise(line, runner, passes)
    holding = set(line)
    others = [runner for runner in standing if runner not in holding]
    for runner in others[: 2 * slots]:
        if len(line) >= slots and scores[runner] <= scores[line[slots - 1]]:
            break
        line = line[:slots]
        _rise(line, runner, passes)
    return line[:slots]


def _rise(line: list[int], runner: int, passes: Callable[[int, int], bool]) -> None:
    index = len(line)
    while index and passes(runner, line[index - 1]):
        index -= 1
    line.insert(index, runner)


def _timed(clocks: Clocks, line: Sequence[int], standing: Sequence[int], scores: FloatArray, moment_ms: int) -> Clocks:
    """The clocks of all who are ahead of somebody just above them; those that run go on."""
    holding = set(line)
    outside = [runner for runner in standing[: 2 * len(line)] if runner not in holding]
    challengers = [(index, runner) for index, runner in enumerate(line)]
    challengers += [(len(line), runner) for runner in outside]
    timed: Clocks = {}
    for index, runner in challengers:
        for above in reversed(line[max(0, index - REACH) : index]):
            if scores[runner] <= scores[above]:
                break
            timed[runner, above] = clocks.get((runner, above), moment_ms)
    return timed


def _changed(before: Sequence[int], after: Sequence[int]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=False))
