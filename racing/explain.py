"""Explain: why a product stands where it stands, by the race at that moment, to the last bit."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from racing.model import FloatArray, IntArray, Step, Term
from racing.race import Race


class MetricSums(msgspec.Struct, frozen=True):
    """What one metric of the rule counts for a product: window, base (exact to a tenth), and since the race began."""

    metric: str
    event: str
    sum: Literal["count", "amount"]
    window: int
    base: float
    total: int


class OpeningPart(msgspec.Struct, frozen=True):
    """The opening order of a phase in a score: so much of it is value, the rest what the terms come to."""

    weight: float
    value: float


class Explanation(msgspec.Struct, frozen=True):
    """A product's place and what makes it. Contributions, added in their order, are summed, to the last bit.

    score: of summed s and an opening order v of weight f, s becomes (1 - f)*s + f*v; then a boost makes s*boost of it
    where s > 0, else s / boost. slot: None where it is not on the board; out is then the step that took it off, or
    "standings". steps: what moved it away from its standing, in the order of operations.
    """

    product: str
    runner: int
    standing: int
    of: int
    slot: int | None
    score: float
    summed: float
    boost: float
    opening: OpeningPart | None
    terms: tuple[Term, ...]
    sums: tuple[MetricSums, ...]
    labels: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    out: Step | None = None


def added_up(terms: tuple[Term, ...]) -> float:
    """The sum of contributions in term order, as the formula adds them: 0, then one after the other."""
    score = 0.0
    for term in terms:
        score += term.contribution
    return score


def contributions(race: Race, runners: IntArray) -> list[tuple[str, FloatArray]]:
    """(term, what it contributes to each of these runners, float64 (n,)) in term order."""
    formula = race.sight().formula
    signals = formula.signals(race.sums(runners))
    return [
        (name, weight * values) for name, weight, values in zip(formula.names, formula.weights, signals, strict=True)
    ]


def explained(race: Race, runner: int) -> Explanation:
    """Why a runner stands where it stands now. Cost: the steps of the whole field, O(n log n)."""
    sight = race.sight()
    found, opening = sight.explain(runner), sight.lift.opening_of(runner)
    terms = sight.rule_terms(np.array([runner]))[0]
    return Explanation(
        product=found.product,
        runner=runner,
        standing=found.standing,
        of=len(race.scores),
        slot=found.slot,
        score=found.score,
        summed=added_up(terms),
        boost=sight.lift.factor(runner),
        opening=None if opening is None else OpeningPart(*opening),
        terms=terms,
        sums=sums_of(race, runner),
        labels=found.labels,
        steps=found.steps,
        out=found.out,
    )


def sums_of(race: Race, runner: int) -> tuple[MetricSums, ...]:
    """What each metric of the rule counts for a runner now."""
    found = []
    for name, metric in race.rule.metrics.items():
        measure = 2 * race.kinds[metric.event] + (metric.sum == "amount")
        window, base_tenths, total = (int(each[0]) for each in race.windows.column(np.array([runner]), measure))
        found.append(MetricSums(name, metric.event, metric.sum, window, base_tenths / 10, total))
    return tuple(found)
