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
        if self.opening is not None:
            value = float(self._values(self.opening, np.array([runner]))[0])
            added = self.opening.f * (value - score)
            score += added
            yield Term("opening", self.opening.f, value, added)
        factor = 1.0 if self.factors is None else float(self.factors[runner])
        if factor != 1.0:
            yield Term("boost", 1.0, factor, lifted - score)

    def _values(self, opening: Opening, runners: IntArray) -> FloatArray:
        """Opening values; who has joined since has its entry score."""
        values = self.roster.values("entry_score", runners)
        known = runners < len(opening.values)
        values[known] = opening.values[runners[known]]
        return values
