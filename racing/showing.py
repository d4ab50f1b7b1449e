"""What a race shows: the slots of its board with their terms and steps, and where any runner stands and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from racing.boarding import board_of
from racing.field import Board, Field, Mask
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


def steps_of(board: Board, field: Field, runner: int, standing: int) -> tuple[Step, ...]:
    """The steps that moved a runner, in their order, from its standing on; those that took others out come first.

    Cost: one pass over the field where anyone is out, one over the order for each step.
    """
    told = [*_steps_of_others(field, runner, standing)]
    for move in board.moves:
        before, after = _place(move.before, runner), _place(move.after, runner)
        if before != after:
            told.append(Step(move.step, before, after, move.by.get(runner, "")))
    return tuple(told)


def _steps_of_others(field: Field, runner: int, standing: int) -> Iterator[Step]:
    """What exclusion and stock made of a standing: that others are out, or that the runner itself is."""
    place = standing
    sold = field.sold_out if field.leaves else None
    if field.excluded is not None:
        if field.excluded[runner]:
            yield Step("exclude", place, None, field.steering.excluded_by(runner, field.roster))
            return
        gone = _ahead(field, runner, field.excluded)
        if gone:
            yield Step("exclude", place, place - gone)
            place -= gone
    if sold is None:
        return
    others = sold if field.excluded is None else sold & ~field.excluded
    if sold[runner]:
        to_slot = None
        if field.sinks:
            left = np.ones(len(sold), np.bool_) if field.excluded is None else ~field.excluded
            to_slot = int((left & ~sold).sum()) + _ahead(field, runner, others) + 1
        yield Step("stock", place, to_slot, "sold out")
    elif gone := _ahead(field, runner, others):
        yield Step("stock", place, place - gone)


def _ahead(field: Field, runner: int, of: Mask) -> int:
    """How many of some runners stand before one."""
    own = field.scores[runner]
    return int((field.scores[of] > own).sum()) + int((field.scores[:runner][of[:runner]] == own).sum())


def _place(order: IntArray, runner: int) -> int | None:
    found = np.flatnonzero(order == runner)
    return int(found[0]) + 1 if len(found) else None
