"""A phase's opening order (开场): entry scores and what the phase before came to, until there is evidence.

At the first frame of a phase nothing has happened in it yet. What a product has shown so far stands in for that, and
gives way as events arrive: score = (1 - f) * s + f * o, where s is the score by the phase's own rule, o the opening
value, and f = K / (K + N), with N the events of the phase's metrics in the whole venue since it began, and
K = carry * 10 * slots, which is 10 events to a slot where carry is 1. So f is 1 at the first frame, 1/2 when N = K.

Source: f is 1 - Z of Buhlmann's credibility Z = N / (N + K) (Buhlmann, Experience Rating and Credibility, ASTIN
Bulletin 4, 1967), the same shrinkage as a rate's prior. We differ in taking N of the venue and not of each product:
else a product's first events would cost it its opening value, and one without any would keep it and pass the others.
N is taken at each step of the windows, so that between two steps an event moves only its own runner.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from racing.model import FloatArray, IntArray
from racing.rule import PRIOR_DEFAULT, MetricTerm, Rule

ENDS_BELOW = 0.01
"""Below this weight the opening order is over, for good."""


def opening_values(
    rule: Rule, measures: Mapping[str, int], totals: IntArray, entry_scores: FloatArray
) -> FloatArray | None:
    """o of every runner, float64 (n,): its entry score, and the totals of the phase before, weighed by its rule.

    rule: of the phase before; measures: of its metrics; totals: int64 (n, measures) over that phase. Each metric with
    terms of positive weight adds the greatest of these weights times the root of its total, an amount in units of the
    phase's mean amount per event, so that o has the unit of a score of roots. None where nothing is known of anybody.
    """
    values: FloatArray = entry_scores.astype(np.float64)
    for name, weight in _weights(rule).items():
        measure = measures[name]
        if measure >= totals.shape[1]:
            continue  # nothing of that kind has come
        total = np.maximum(totals[:, measure], 0).astype(np.float64)
        if rule.metrics[name].sum == "amount":
            events = int(np.maximum(totals[:, measure - 1], 0).sum())
            mean = float(int(totals[:, measure].sum())) / events if events else 0.0
            total = total / mean if mean > 0 else np.zeros(len(total))
        values += weight * np.sqrt(total)
    return values if values.any() else None


def _weights(rule: Rule) -> dict[str, float]:
    """The greatest positive weight of each metric that has one, in term order."""
    weights: dict[str, float] = {}
    for term in rule.terms:
        if isinstance(term, MetricTerm) and term.weight > 0:
            weights[term.metric] = max(term.weight, weights.get(term.metric, 0.0))
    return weights


def strength(carry: float, slots: int) -> float:
    """K: the events for which the opening order stands."""
    return carry * PRIOR_DEFAULT * slots


def fade(k: float, evidence: int) -> float:
    """F, the weight of the opening order: 1 without evidence, 0 where K is 0 or the order is over."""
    if k <= 0:
        return 0.0
    f = k / (k + max(evidence, 0))
    return 0.0 if f < ENDS_BELOW else f
