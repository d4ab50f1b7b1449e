"""What a board is made of, and what comes of it: the field, the finished board, and the moves on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from racing.board_settings import BoardSettings
from racing.model import FloatArray, IntArray
from racing.roster import Roster
from racing.steering import Steering

Mask = npt.NDArray[np.bool_]

_TOLD_MAX = 50
"""Things told of one board; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Field:
    """All that a board is made of, as it stands at one position of the log.

    scores: float64 (n,), with boosts. excluded, sold_out: who is, None where nobody is or it does not matter. leaders:
    the best of those who are not out, depth of them (no fewer than slots), or all.
    held, chosen: what stability and newcomers remember. new: who counts as new, for the label.
    """

    settings: BoardSettings
    roster: Roster
    steering: Steering
    scores: FloatArray
    excluded: Mask | None
    sold_out: Mask | None
    leaders: Callable[[], IntArray]
    depth: int
    held: Sequence[int] = ()
    chosen: Sequence[int] = ()
    new: Mask | None = None

    def out(self, runner: int) -> bool:
        """Whether a runner has no place in the order: excluded, or sold out where that drops or sinks it."""
        excluded = self.excluded is not None and bool(self.excluded[runner])
        return excluded or (self.leaves and self.sold_out is not None and bool(self.sold_out[runner]))

    @property
    def leaves(self) -> bool:
        """Whether sold-out runners leave their places."""
        return self.settings.stock is not None and self.settings.stock.policy != "keep"

    @property
    def sinks(self) -> bool:
        """Whether they come behind all others."""
        return self.settings.stock is not None and self.settings.stock.policy == "sink"

    @property
    def bare(self) -> bool:
        """Whether the board is the standings of those who are not out, and nothing is to be told of it."""
        now, settings = self.steering.now, self.settings
        return settings.plain and settings.stock is None and not (now.pins or now.freezes or now.emergencies)

    def outs(self) -> Mask | None:
        """Who has no place in the order, bool (n,); None for nobody."""
        sold = self.sold_out if self.leaves else None
        if self.excluded is None or sold is None:
            return self.excluded if sold is None else sold
        return self.excluded | sold

    def standing(self, runner: int) -> int:
        """A runner's rank among all, from 1. Cost: one pass over the field."""
        own = self.scores[runner]
        return 1 + int((self.scores > own).sum()) + int((self.scores[:runner] == own).sum())


class Move(NamedTuple):
    """One step that changed the order: its name, the order before and after, and what moved whom."""

    step: str
    before: IntArray
    after: IntArray
    by: Mapping[int, str]


@dataclass(slots=True)
class Board:
    """A board: its runners, slot by slot, and what is told of it.

    conflicts: orders in force that have no effect, or not all, because of another one. moves: the steps that changed
    the order. deep: whether the order holds the whole field.
    """

    runners: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    conflicts: int = 0
    served: str = "race"
    labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    deep: bool = False

    def label(self, runner: int, label: str) -> None:
        """Give a runner one more label."""
        self.labels[runner] = (*self.labels.get(runner, ()), label)

    def words(self) -> tuple[str, ...]:
        """What is told, at most 50 things of it."""
        more = len(self.told) - _TOLD_MAX
        return (*self.told[:_TOLD_MAX], f"and {more} more") if more > 0 else tuple(self.told)
