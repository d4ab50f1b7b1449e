"""The standings that chance allows (名次区间): "8th, likely 6 to 11".

What is counted is a draw from what shoppers are about to do: had the same crowd come once more, sums would differ, and
so would standings. The true score of a product is taken for what its sums would be on average. Of the field some rungs
are known: a score, its standing, and its deviation by racing/noise.py. From them the distribution of true scores in the
field is worked out (the scores seen are true ones blurred by their noise), and with it, for one product, how likely
each true score is, given the one seen. The true standing of a score is how many have a better true one.

Source: empirical Bayes with an unknown prior, found by expectation maximisation on a grid (Efron, Large-Scale
Inference, chapter 1; the iteration is Richardson's and Lucy's deconvolution). We differ in taking noise for normal,
with a deviation smoothed along the rungs, and in widening it by WIDENED: terms are not independent, and low counts not
normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from racing.formula import Held, Sums
from racing.model import FloatArray, IntArray
from racing.noise import variances
from racing.rule import Rule

RUNGS = 100
"""Standings that are looked at of a field, at most: evenly spread over its logarithm, as the top is what counts."""
SHARE = 0.8
"""How often the range holds the true standing: on simulated demand in 75 to 85 of 100 cases, which a test repeats."""
WIDENED = 1.1
"""The deviations are taken for so much larger. Calibrated on simulated demand (tests/unit/racing/test_ladder.py)."""
_GRID = 400
_STEPS = 60
_SMOOTHED = 7
"""Rungs over which a variance is averaged, both ways: that of one product with few events says little."""


def noise_of(rule: Rule, measures: dict[str, int], held: Held, sums: Sums) -> FloatArray:
    """The variance of each score, float64 (n,), with one event more than was seen of each sort that the venue has.

    So that a product that was lucky to have none is not taken for certain. measures: of each of the rule's metrics.
    """
    more = np.zeros(sums.window.shape[1], np.int64)
    for measure in measures.values():
        if held.now[measure] or held.before[measure]:  # what happens to nobody makes nobody uncertain
            more[measure] = round(held.mean(measure, measure - 1)) if measure % 2 else 1
    return variances(rule, measures, held, Sums(sums.window + more, sums.base_tenths + 10 * more, sums.total, {}))


def rung_standings(field: int) -> IntArray:
    """Standings to look at of a field of so many runners, from 1, each once, ascending; all of a small field."""
    if field <= RUNGS:
        return np.arange(1, field + 1)
    found: IntArray = np.unique(np.round(np.geomspace(1, field, RUNGS)).astype(np.int64))
    return found


@dataclass(frozen=True, slots=True)
class Ladder:
    """A field as its rungs tell it: a grid of true scores, the share of runners at each, and the deviation there."""

    field: int
    grid: FloatArray
    share: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, standings: IntArray, scores: FloatArray, variances: FloatArray, field: int) -> Ladder | None:
        """The ladder of these rungs: standings ascending, scores as they go with them, each with its variance.

        None for a field without noise or without differences: then standings are what they are. Cost: some 5 ms.
        """
        deviation = WIDENED * np.sqrt(_smooth(variances))
        if len(scores) < 2 or not deviation.any() or scores[0] == scores[-1]:  # noqa: PLR2004  # one is no ladder
            return None
        deviation = np.maximum(deviation, 1e-3 * deviation.max())
        low, high = scores[-1] - 2 * deviation[-1], scores[0] + 3 * deviation[0]
        grid = np.linspace(low, high, _GRID)
        along = np.interp(grid, scores[::-1], deviation[::-1])
        blur = _blur(scores, grid, along)
        seen = np.concatenate(([0.5], np.diff(standings), [field - standings[-1] + 0.5])).astype(np.float64)
        share = np.full(_GRID, 1.0 / _GRID)
        for _ in range(_STEPS):
            share = share * (blur @ (seen / seen.sum() / (share @ blur)))
            share /= share.sum()
        return cls(field, grid, share, along)

    def likely(self, score: float, variance: float) -> tuple[int, int]:
        """The best and the worst standing of a product with this score that chance allows, in SHARE of all cases."""
        score = float(np.clip(score, self.grid[0], self.grid[-1]))  # beyond its ends the grid knows nobody
        own = WIDENED * WIDENED * variance
        usual = float(np.interp(score, self.grid, self.deviation)) ** 2
        deviation = np.sqrt((own + usual) / 2)
        weight = np.exp(-0.5 * ((score - self.grid) / deviation) ** 2) * self.share
        if not weight.sum() > 0:
            weight = self.share
        upto = np.cumsum(weight) / weight.sum()
        better = self.field * (np.cumsum(self.share[::-1])[::-1] - self.share / 2)
        tail = (1 - SHARE) / 2
        high, low = (float(np.interp(part, upto, self.grid)) for part in (1 - tail, tail))
        best, worst = (0.5 + float(np.interp(each, self.grid, better)) for each in (high, low))
        return max(1, int(best + 0.5)), min(self.field, int(np.ceil(worst)))


def _smooth(variances: FloatArray) -> FloatArray:
    """Means over neighbouring rungs."""
    width = min(_SMOOTHED, len(variances) - 1)
    upto = np.cumsum(np.concatenate(([0.0], np.pad(variances, width, mode="edge"))))
    means: FloatArray = (upto[2 * width + 1 :] - upto[: -2 * width - 1]) / (2 * width + 1)
    return means


def _blur(scores: FloatArray, grid: FloatArray, deviation: FloatArray) -> FloatArray:
    """How likely a true score of the grid is seen above the first rung, between each two, and below the last."""
    below = _normal((scores[None, :] - grid[:, None]) / deviation[:, None])
    columns = [1 - below[:, 0], *(below[:, one] - below[:, other] for one, other in pairwise(range(len(scores))))]
    blur: FloatArray = np.maximum(np.stack([*columns, below[:, -1]], axis=1), 1e-12)
    return blur


def _normal(x: FloatArray) -> FloatArray:
    """The normal distribution's cumulative share, to 1e-7 (Abramowitz and Stegun 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    upper = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * poly
    found: FloatArray = np.where(x >= 0, 1 - upper, upper)
    return found
