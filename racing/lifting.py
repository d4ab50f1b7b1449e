"""What stands above the score of the rule: a phase's opening order, then boosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from racing.model import FloatArray, IntArray, Term
from racing.phases import Opening
from racing.roster import Roster


@dataclass(frozen=True, slots=True)
class Lift:
    """Opening order and boosts as they stand; None where there is none. factors: of every runner."""

    roster: Roster
    opening: Opening | None
    factors: FloatArray | None

    def __bool__(self) -> bool:
        """Whether it moves anyone's score."""
        return self.opening is not None or self.factors is not None

    def scores(self, runners: IntArray, scores: FloatArray) -> FloatArray:
        """Scores of some runners with opening order and boosts: s*f where s > 0, else s/f. float64 (n,)."""
        if self.opening is not None:
            f = self.opening.f
            scores = (1.0 - f) * scores + f * self._values(self.opening, runners)
        if self.factors is not None:
            factor = self.factors[runners]
            scores = np.where(scores > 0, scores * factor, scores / factor)
        return scores

    def terms(self, runner: int, score: float, lifted: float) -> Iterator[Term]:
        """What they add to a runner's score by the rule, so that all contributions add up to the lifted one."""
        opening = self.opening_of(runner)
        if opening is not None:
            f, value = opening
            added = f * (value - score)
            score += added
            yield Term("opening", f, value, added)
        factor = self.factor(runner)
        if factor != 1.0:
            yield Term("boost", 1.0, factor, lifted - score)

    def factor(self, runner: int) -> float:
        """The factor of a runner's score; 1 without a boost."""
        return 1.0 if self.factors is None else float(self.factors[runner])

    def opening_of(self, runner: int) -> tuple[float, float] | None:
        """(weight, value) of a runner's opening order; None where none holds."""
        if self.opening is None:
            return None
        return self.opening.f, float(self._values(self.opening, np.array([runner]))[0])

    def _values(self, opening: Opening, runners: IntArray) -> FloatArray:
        """Opening values; who has joined since has its entry score."""
        values = self.roster.values("entry_score", runners)
        known = runners < len(opening.values)
        values[known] = opening.values[runners[known]]
        return values
