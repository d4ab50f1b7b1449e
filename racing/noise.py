"""Noise of scores: how far chance alone moves them, for margins that are stated in its units.

Every event kind is taken for a Poisson count, whose variance is its mean, estimated by the count itself; an amount for
such a count times the venue's mean amount a, so that its variance is a times the sum. The variance of a signal is that
of its sums times the squares of its slopes (the delta method), and that of a score the sum over its terms of weight
squared times it, as if terms were independent. These are estimates to set a margin by, no test: terms of one metric are
not independent, and repeated buyers make counts vary more than Poisson's do.
"""

from __future__ import annotations

import numpy as np

from racing.formula import Held, Sums
from racing.model import FloatArray
from racing.rule import PRIOR_DEFAULT, MetricTerm, RatioTerm, Rule


def variances(rule: Rule, measures: dict[str, int], held: Held, sums: Sums) -> FloatArray:
    """The variance of each score, float64 (n,), finite and >= 0. measures: of each metric. Boosts are left out."""
    total = np.zeros(len(sums.window))
    for term in rule.terms:
        if isinstance(term, MetricTerm):
            total += term.weight**2 * _metric(term, rule, measures[term.metric], held, sums)
        elif isinstance(term, RatioTerm):
            total += term.weight**2 * _ratio(term, [measures[name] for name in term.ratio], held, sums)
    return total


def _metric(term: MetricTerm, rule: Rule, measure: int, held: Held, sums: Sums) -> FloatArray:
    """Variance of a metric's signal, by slopes in the units that the signal itself has."""
    amounts = rule.metrics[term.metric].sum == "amount"
    unit = (held.mean(measure, measure - 1) or 1.0) if amounts else 1.0
    g = held.tide(measure) if term.tide else 1.0
    k = PRIOR_DEFAULT if term.prior is None else term.prior
    c = np.maximum(sums.now(measure), 0.0)
    p = np.maximum(sums.before(measure), 0.0)
    match term.signal:
        case "level":
            return unit * c
        case "total":
            return unit * np.maximum(sums.ever(measure), 0.0)
        case "root":
            return np.where(c > 0, 0.25, 0.0)
        case "uplift":
            return unit * (c + g * g * p)
        case "growth":
            return unit * (c + g * g * p) / ((g * p + k) * (g * p + k))
        case "surge":
            spread = c / unit + g * g * p / unit
            return spread / (spread + k)


def _ratio(term: RatioTerm, pair: list[int], held: Held, sums: Sums) -> FloatArray:
    """Variance of a ratio's signal, its numerator taken for a Poisson count on its denominator."""
    n, d = pair
    k = PRIOR_DEFAULT if term.prior is None else term.prior
    mu = held.mean(n, d)
    now = _rate(sums.now(n), sums.now(d), mu, k)
    return now if term.signal == "rate" else now + _rate(sums.before(n), sums.before(d), mu, k)


def _rate(n: FloatArray, d: FloatArray, mu: float, k: float) -> FloatArray:
    n, d = np.maximum(n, 0.0), np.maximum(d, 0.0)
    return (n + mu * mu * d) / ((d + k) * (d + k))
