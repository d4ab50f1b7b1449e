"""Explain: why a product stands where it stands, by the race at that moment, to the last bit."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from racing.formula import measures_of_rule
from racing.model import FloatArray, IntArray, Step, Term
from racing.race import Race
from racing.showing import Sight


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


class DrawnSums(msgspec.Struct, frozen=True):
    """What a metric counts for a product in a segment, and what is scored of it, drawn towards the whole venue's.

    part: the segment's part of the venue's sum; 0 where it has nothing, and the venue's sums are scored.
    """

    metric: str
    part: float
    window: int
    base: float
    drawn_window: float
    drawn_base: float


class Drawn(msgspec.Struct, frozen=True):
    """How sums in a segment are drawn towards the venue's: drawn = weight * own / part + (1 - weight) * the venue's.

    events: the product's of the rule's metrics, in both windows. weight: events / (events + prior).
    """

    name: str
    events: float
    prior: float
    weight: float
    sums: tuple[DrawnSums, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A product's place and what makes it. Contributions, added in their order, are summed, to the last bit.

    score: of summed s and an opening order v of weight f, s becomes (1 - f)*s + f*v; then a boost makes s*boost of it
    where s > 0, else s / boost. slot: None where it is not on the board; out is then the step that took it off, or
    "standings". steps: what moved it away from its standing, in the order of operations. sums: the whole venue's;
    segment: what is scored in their place on the board of a segment.
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
    segment: Drawn | None = None


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


def explained(race: Race, runner: int, segment: str | None = None) -> Explanation:
    """Why a runner stands where it stands now, in a segment where the race declares it.

    Cost: the steps of the whole field, O(n log n).
    """
    sight = race.sight(segment)
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
        segment=_drawn(race, runner, segment, sight),
    )


def _drawn(race: Race, runner: int, name: str | None, sight: Sight) -> Drawn | None:
    """How the sums of a runner in a segment were drawn. sight: the segment's."""
    segment = race.segment(name)
    if name is None or segment is None:
        return None
    how, one = race.drawing(), np.array([runner])
    events, part = float(how.events(*segment.windows.rows(one))[0]), segment.part(how)
    drawn = sight.sums(one)
    sums = []
    for metric, measure in measures_of_rule(race.rule, race.kinds).items():
        window, base_tenths, _ = (int(each[0]) for each in segment.windows.column(one, measure))
        scored = float(drawn.now(measure)[0]), float(drawn.before(measure)[0])
        sums.append(DrawnSums(metric, float(part[measure]), window, base_tenths / 10, *scored))
    return Drawn(name, events, how.prior, events / (events + how.prior), tuple(sums))


def sums_of(race: Race, runner: int) -> tuple[MetricSums, ...]:
    """What each metric of the rule counts for a runner now."""
    found = []
    measures = measures_of_rule(race.rule, race.kinds)
    for name, metric in race.rule.metrics.items():
        measure = measures[name]
        window, base_tenths, total = (int(each[0]) for each in race.windows.column(np.array([runner]), measure))
        found.append(MetricSums(name, metric.event, metric.sum, window, base_tenths / 10, total))
    return tuple(found)
