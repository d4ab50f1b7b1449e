"""Explain: why a product stands where it stands, by the race at that moment, to the last bit."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from racing.model import FloatArray, IntArray, Step, Term
from racing.questions import standing
from racing.race import Race


class MetricSums(msgspec.Struct, frozen=True):
    """What one metric of the rule counts for a product: window, base (exact to a tenth), and since the race began."""

    metric: str
    event: str
    sum: Literal["count", "amount"]
    window: int
    base: float
    total: int


class Explained(msgspec.Struct, frozen=True):
    """A product's place and what makes it. Contributions, added in their order, are unboosted to the last bit.

    score: with boosts, boosted by boost. slot: None where it is not on the board. steps: what moved it away from its
    standing, in the order of operations.
    """

    product: str
    runner: int
    standing: int
    of: int
    slot: int | None
    score: float
    unboosted: float
    boost: float
    terms: tuple[Term, ...]
    sums: tuple[MetricSums, ...]
    labels: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def added_up(terms: tuple[Term, ...]) -> float:
    """The sum of contributions in term order, as the formula adds them: 0, then one after the other."""
    score = 0.0
    for term in terms:
        score += term.contribution
    return score


def contributions(race: Race, runners: IntArray) -> list[tuple[str, FloatArray]]:
    """(term, what it contributes to each of these runners, float64 (n,)) in term order."""
    formula = race.formula
    signals = formula.signals(race.sums(runners))
    return [
        (name, weight * values) for name, weight, values in zip(formula.names, formula.weights, signals, strict=True)
    ]


def explained(race: Race, runner: int) -> Explained:
    """Why a runner stands where it stands now. Cost: the board, and one pass over the scores."""
    terms = race.terms(np.array([runner]))[0]
    slot = next((slot for slot in race.slots() if slot.runner == runner), None)
    score, unboosted = float(race.scores[runner]), added_up(terms)
    return Explained(
        product=race.products[runner],
        runner=runner,
        standing=standing(race, runner),
        of=len(race.scores),
        slot=None if slot is None else slot.slot,
        score=score,
        unboosted=unboosted,
        boost=1.0,
        terms=terms,
        sums=sums_of(race, runner),
        labels=() if slot is None else slot.labels,
        steps=() if slot is None else slot.steps,
    )


def sums_of(race: Race, runner: int) -> tuple[MetricSums, ...]:
    """What each metric of the rule counts for a runner now."""
    found = []
    for name, metric in race.rule.metrics.items():
        measure = 2 * race.kinds[metric.event] + (metric.sum == "amount")
        window, base_tenths, total = (int(each[0]) for each in race.windows.column(np.array([runner]), measure))
        found.append(MetricSums(name, metric.event, metric.sum, window, base_tenths / 10, total))
    return tuple(found)
