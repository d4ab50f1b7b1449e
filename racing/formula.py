"""A rule's terms compiled for arrays: sums of some runners in, their signals and scores out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np

from racing import signals
from racing.errors import NewerFormatError
from racing.model import FloatArray, IntArray
from racing.rule import PRIOR_DEFAULT, AttributeTerm, Metric, MetricTerm, RatioTerm, Rule


@dataclass(frozen=True, slots=True)
class Held:
    """The venue's own sums per measure, held while a bucket runs. int64 (measures,)."""

    now: IntArray
    before: IntArray

    def tide(self, measure: int) -> float:
        """g = sum c / sum p of the venue; 1 without data, never negative."""
        before = int(self.before[measure])
        return max(int(self.now[measure]), 0) / before if before > 0 else 1.0

    def mean(self, numerator: int, denominator: int) -> float:
        """Sum n / sum d over both windows; 0 without data, never negative."""
        below = int(self.now[denominator]) + int(self.before[denominator])
        above = int(self.now[numerator]) + int(self.before[numerator])
        return max(above, 0) / below if below > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of some runners, row by row: int64 (n, measures); base in tenths. attributes: float64 (n,).

    total is None where no term asks for it.
    """

    window: IntArray
    base_tenths: IntArray
    total: IntArray | None
    attributes: Mapping[str, FloatArray]
    _columns: dict[tuple[str, int], FloatArray] = field(default_factory=dict)

    def now(self, measure: int) -> FloatArray:
        """Window sums as float64 (n,); not to be written."""
        return self._column("now", measure, lambda: self.window[:, measure].astype(np.float64))

    def before(self, measure: int) -> FloatArray:
        """Base sums as float64 (n,); not to be written."""
        return self._column("before", measure, lambda: self.base_tenths[:, measure] / 10.0)

    def ever(self, measure: int) -> FloatArray:
        """Sums since the race began as float64 (n,)."""
        assert self.total is not None, "a term that asks for totals makes them come along"
        return self.total[:, measure].astype(np.float64)

    def _column(self, what: str, measure: int, made: Callable[[], FloatArray]) -> FloatArray:
        """A column made once: several terms read the same one."""
        found = self._columns.get((what, measure))
        if found is None:
            found = self._columns[what, measure] = made()
        return found


Signal = Callable[[Sums], FloatArray]


class Formula:
    """score = sum of weight * signal, added in term order, for one rule and one set of held sums."""

    def __init__(self, rule: Rule, kind_index: Mapping[str, int], held: Held) -> None:
        self._measure = measures_of_rule(rule, kind_index)
        self._amounts = {name for name, metric in rule.metrics.items() if metric.sum == "amount"}
        self._held = held
        self.names = tuple(term.name for term in rule.terms)
        self.totals = any(isinstance(term, MetricTerm) and term.signal == "total" for term in rule.terms)
        self.weights = tuple(term.weight for term in rule.terms)
        self._signals = tuple(self._compile(term) for term in rule.terms)

    def signals(self, sums: Sums) -> list[FloatArray]:
        """Each term's signal, float64 (n,), in term order."""
        return [signal(sums) for signal in self._signals]

    def scores(self, sums: Sums) -> FloatArray:
        """The composite scores, float64 (n,), finite. Same bits for a runner whatever else is in the batch."""
        score = np.zeros(len(sums.window))
        for weight, signal in zip(self.weights, self._signals, strict=True):
            score += weight * signal(sums)
        return score

    def _compile(self, term: MetricTerm | RatioTerm | AttributeTerm) -> Signal:
        if isinstance(term, AttributeTerm):
            name = term.attribute
            return lambda sums: sums.attributes[name]
        prior = PRIOR_DEFAULT if term.prior is None else term.prior
        if isinstance(term, RatioTerm):
            return self._ratio(term, prior)
        return self._metric(term, prior)

    def _ratio(self, term: RatioTerm, k: float) -> Signal:
        n, d = (self._measure[metric] for metric in term.ratio)
        mu = self._held.mean(n, d)
        if term.signal == "rate":
            return lambda sums: signals.rate(sums.now(n), sums.now(d), mu, k)
        return lambda sums: signals.rate_uplift(sums.now(n), sums.now(d), sums.before(n), sums.before(d), mu, k)

    def _metric(self, term: MetricTerm, k: float) -> Signal:
        """The signal of a metric, with what is held through the bucket put in."""
        m = self._measure[term.metric]
        g = self._held.tide(m) if term.tide else 1.0
        a = self._unit(term, m)
        match term.signal:
            case "level":
                return lambda sums: signals.level(sums.now(m))
            case "total":
                return lambda sums: sums.ever(m)
            case "root":
                return lambda sums: signals.root(sums.now(m) / a)
            case "uplift":
                return lambda sums: signals.uplift(sums.now(m), sums.before(m), g)
            case "growth":
                return lambda sums: signals.growth(sums.now(m), sums.before(m), k, g)
            case "surge":
                return lambda sums: signals.surge(sums.now(m) / a, sums.before(m) / a, k, g)

    def _unit(self, term: MetricTerm, measure: int) -> float:
        """What a sum is divided by: a, the venue's mean amount per event, or 1 for counts; inf while a is 0."""
        if term.metric not in self._amounts:
            return 1.0
        return self._held.mean(measure, measure - 1) or inf


FORMULAS: dict[int, type[Formula]] = {1: Formula}
"""The scoring formulas by version. One that has scored a venue stays: its frames are verified with it.

A term's meaning, the order of additions or a unit that changes makes a new version beside the old one. A rule version
names its formula in the log, so venues take a new one with their next rule version.
"""
FORMULA = max(FORMULAS)
"""The formula of new rule versions."""


def formula_of(version: int) -> type[Formula]:
    """The formula of a version. Raises NewerFormatError where this Saima does not know it."""
    if version not in FORMULAS:
        raise NewerFormatError(
            f"a rule version is scored by formula {version}, this Saima knows up to {FORMULA}: upgrade this process"
        )
    return FORMULAS[version]


def measures_of_rule(rule: Rule, kind_index: Mapping[str, int]) -> dict[str, int]:
    """The measure of each of a rule's metrics."""
    return {name: _measure(metric, kind_index) for name, metric in rule.metrics.items()}


def _measure(metric: Metric, kind_index: Mapping[str, int]) -> int:
    return 2 * kind_index[metric.event] + (metric.sum == "amount")
