"""What a race shows: the slots of its board with their terms and steps, and where any runner stands and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from racing.boarding import Board, Field, board_of, steps_of
from racing.formula import Formula, Sums
from racing.lifting import Lift
from racing.model import Explained, IntArray, Slot, Step, Term
from racing.stated import Stated

_DOMINATES = 0.5
"""An opening order is served as one while its weight is more than this."""


class Shown(NamedTuple):
    """What a frame says of a board: the fields of that name of Frame."""

    slots: tuple[Slot, ...]
    served: str
    phase: str
    phase_ends_ms: int | None
    told: tuple[str, ...]
    conflicts: int
    segments: Mapping[str, tuple[Slot, ...]]


@dataclass(frozen=True, slots=True)
class Sight:
    """A race as it stands at one position of the log, to be looked at. sums: of some runners."""

    field: Field
    formula: Formula
    sums: Callable[[IntArray], Sums]
    lift: Lift
    stated: Stated
    phase: str = ""
    phase_ends_ms: int | None = None
    phases_told: Sequence[str] = ()

    def shown(self) -> Shown:
        """All that a frame says of the board.

        Cost: the steps, and one pass over the field for each slot where anyone is out or was moved.
        """
        board = board_of(self.field)
        runners = np.array(board.runners, np.int64)
        stocks, prices = (self.stated.columns[kind].otherwise(board.runners) for kind in ("stock", "price"))
        moving = bool(board.moves) or self.field.outs() is not None
        slots = tuple(
            Slot(
                slot=index + 1,
                runner=runner,
                product=self.field.roster.products[runner],
                score=float(self.field.scores[runner]),
                terms=terms,
                standing=(standing := self.field.standing(runner) if moving else index + 1),
                labels=board.labels.get(runner, ()),
                steps=steps_of(board, self.field, runner, standing) if moving else (),
                stock=stocks.get(runner),
                price=prices.get(runner),
            )
            for index, (runner, terms) in enumerate(zip(board.runners, self.terms(runners), strict=True))
        )
        told = (*self.phases_told, *board.words())
        return Shown(slots, self._served(board), self.phase, self.phase_ends_ms, told, board.conflicts, {})

    def _served(self, board: Board) -> str:
        opening = self.lift.opening
        opens = board.served == "race" and opening is not None and opening.f > _DOMINATES
        return "opening" if opens else board.served

    def rule_terms(self, runners: IntArray) -> list[tuple[Term, ...]]:
        """The rule's own terms of some runners: bit by bit, they add up to what its formula says."""
        names, weights = self.formula.names, self.formula.weights
        signals = [values.tolist() for values in self.formula.signals(self.sums(runners))]
        return [
            tuple(
                Term(name, weight, values[index], weight * values[index])
                for name, weight, values in zip(names, weights, signals, strict=True)
            )
            for index in range(len(runners))
        ]

    def terms(self, runners: IntArray) -> list[tuple[Term, ...]]:
        """The terms of each of some runners; their contributions add up to the score."""
        told = self.rule_terms(runners)
        if not self.lift:
            return told
        return [(*terms, *self._lifting(runner, terms)) for runner, terms in zip(runners.tolist(), told, strict=True)]

    def _lifting(self, runner: int, terms: tuple[Term, ...]) -> tuple[Term, ...]:
        score = sum(term.contribution for term in terms)
        return tuple(self.lift.terms(runner, score, float(self.field.scores[runner])))

    def explain(self, runner: int) -> Explained:
        """Where a runner stands and why, shown or not. Cost: O(n log n): the steps on the whole field."""
        board, standing = board_of(self.field, whole=True), self.field.standing(runner)
        steps = steps_of(board, self.field, runner, standing)
        slot = board.runners.index(runner) + 1 if runner in board.runners else None
        return Explained(
            runner=runner,
            product=self.field.roster.products[runner],
            standing=standing,
            score=float(self.field.scores[runner]),
            terms=self.terms(np.array([runner]))[0],
            slot=slot,
            labels=board.labels.get(runner, ()),
            steps=steps,
            out=None if slot is not None else _taken_out(steps, standing, self.field.settings.slots),
        )


def _taken_out(steps: Sequence[Step], standing: int, slots: int) -> Step:
    """The last step that took a runner from the slots to below them or away; of one that never was there, standings."""
    for step in reversed(steps):
        shown = step.from_slot is not None and step.from_slot <= slots
        if step.to_slot is None or (shown and step.to_slot > slots):
            return step
    return Step("standings", standing, standing)
