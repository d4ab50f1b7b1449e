"""Ranges of standings: they hold the true standing as often as they say, on demand that is known."""

from __future__ import annotations

import numpy as np
import pytest

from racing.demand import CLICK, DEMO, ORDER, PAY, PROMOTION, Demand, Market
from racing.formula import Formula, Held, Sums, measures_of_rule
from racing.ladder import RUNGS, Ladder, noise_of, rung_standings
from racing.model import FloatArray, IntArray
from racing.rule import DEFAULT_RULE

PRODUCTS = 1_000
KINDS = {"click": 0, "order": 1, "pay": 2}
MEASURES = measures_of_rule(DEFAULT_RULE, KINDS)
OPENING_MS = 3 * 3_600_000
Counts = FloatArray | IntArray


def expected(demand: Demand, at_ms: int) -> tuple[FloatArray, FloatArray]:
    """Events that are expected in the window and in its base, float64 (kinds, products)."""
    seconds = range(DEFAULT_RULE.window_s)
    now = sum((demand.rate(at_ms - 1000 * s - 500) for s in seconds), np.zeros((6, PRODUCTS)))
    before = sum((demand.rate(at_ms - DEFAULT_RULE.window_ms - 1000 * s - 500) for s in seconds), np.zeros_like(now))
    return now, before


def summed(price: IntArray, counts: Counts) -> FloatArray:
    """Measures of such counts, float64 (products, measures)."""
    columns = [part for kind in (CLICK, ORDER, PAY) for part in (counts[kind], counts[kind] * price)]
    return np.stack(columns, axis=1).astype(np.float64)


def standings_of(scores: FloatArray) -> IntArray:
    places = np.empty(len(scores), np.int64)
    places[np.lexsort((np.arange(len(scores)), -scores))] = np.arange(1, len(scores) + 1)
    return places


def held_true(market: Market, seed: int, minute: int) -> tuple[float, float]:
    """The share of products whose range holds the true standing: of all, and of the best fifty."""
    demand, rng = Demand(PRODUCTS, seed, opening_ms=OPENING_MS, market=market), np.random.default_rng(seed)
    now, before = expected(demand, OPENING_MS + minute * 60_000)
    seen, seen_before = (summed(demand.price, rng.poisson(each)).astype(np.int64) for each in (now, before))
    held = Held(seen.sum(axis=0), seen_before.sum(axis=0))
    formula, sums = Formula(DEFAULT_RULE, KINDS, held), Sums(seen, 10 * seen_before, None, {})
    scores, noise = formula.scores(sums), noise_of(DEFAULT_RULE, MEASURES, held, sums)
    mean: IntArray = summed(demand.price, now)  # type: ignore[assignment]  # sums of a mean crowd are not whole
    mean_before: IntArray = 10 * summed(demand.price, before)  # type: ignore[assignment]  # as above
    true = standings_of(formula.scores(Sums(mean, mean_before, None, {})))
    places = standings_of(scores)
    rungs = rung_standings(PRODUCTS)
    at = np.argsort(places)[rungs - 1]
    ladder = Ladder.of(rungs, scores[at], noise[at], PRODUCTS)
    assert ladder is not None
    ranges = np.array([ladder.likely(float(scores[i]), float(noise[i])) for i in range(PRODUCTS)])
    inside = (ranges[:, 0] <= true) & (true <= ranges[:, 1])
    return float(inside.mean()), float(inside[places <= 50].mean())


def test_range_of_eighty_percent_holds_the_true_standing_in_about_so_many_cases() -> None:
    """Before the opening, in the rush, in the ebb and later; and in a venue where something takes off all the time."""
    cases = [(PROMOTION, seed, minute) for seed in (1, 2) for minute in (-8, 4, 8, 20)]
    cases += [(DEMO, seed, minute) for seed in (1, 2) for minute in (10, 20)]
    found = np.array([held_true(*case) for case in cases])
    assert 0.75 <= found[:, 0].mean() <= 0.85, found
    assert found[:, 0].min() > 0.68
    assert found[:, 1].mean() >= 0.8, "of the best fifty more: a place is whole, so their ranges are rounded up"


# -- edges ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", [[1.0], [2.0, 2.0, 2.0]])
def test_field_without_differences_has_no_ladder(scores: list[float]) -> None:
    rungs = np.arange(1, len(scores) + 1)
    assert Ladder.of(rungs, np.array(scores), np.ones(len(scores)), len(scores)) is None


def test_field_without_noise_has_no_ladder() -> None:
    """Scores made of attributes alone."""
    assert Ladder.of(np.arange(1, 4), np.array([3.0, 2.0, 1.0]), np.zeros(3), 3) is None


def test_far_apart_runners_stand_where_they_stand() -> None:
    scores = np.arange(100.0, 0.0, -10.0)
    ladder = Ladder.of(np.arange(1, 11), scores, np.full(10, 0.01), 10)
    assert ladder is not None
    for standing, score in enumerate(scores.tolist(), start=1):
        best, worst = ladder.likely(score, 0.01)
        assert best == standing <= worst <= standing + 1, "a grid is no finer than that"


def test_more_noise_is_a_wider_range_and_a_better_score_no_worse_one() -> None:
    scores = np.arange(20.0, 0.0, -1.0)
    ladder = Ladder.of(np.arange(1, 21), scores, np.full(20, 4.0), 20)
    assert ladder is not None
    best, worst = ladder.likely(10.0, 1.0)
    wider = ladder.likely(10.0, 25.0)
    assert wider[0] <= best <= 11 <= worst <= wider[1]
    ranges = [ladder.likely(float(score), 4.0) for score in scores]
    assert ranges == sorted(ranges)


def test_score_beyond_all_rungs_is_first_or_last() -> None:
    ladder = Ladder.of(np.arange(1, 21), np.arange(20.0, 0.0, -1.0), np.full(20, 0.04), 20)
    assert ladder is not None
    assert ladder.likely(1e9, 0.01)[0] == 1
    assert ladder.likely(-1e9, 0.01)[1] == 20


def test_rungs_are_all_of_a_small_field_and_thin_out_in_a_large_one() -> None:
    assert rung_standings(5).tolist() == [1, 2, 3, 4, 5]
    assert rung_standings(0).tolist() == []
    many = rung_standings(1_000_000)
    assert (many[0], many[-1]) == (1, 1_000_000)
    assert len(many) <= RUNGS
    assert (np.diff(many) > 0).all()


def test_sort_of_events_that_the_venue_has_not_adds_no_noise() -> None:
    """Else a venue without orders would take its few best sellers for lucky ones."""
    seen = np.zeros((3, 2 * len(KINDS)), np.int64)
    seen[:, 2 * KINDS["click"]] = (14, 4, 0)
    held, sums = Held(seen.sum(axis=0), np.zeros(seen.shape[1], np.int64)), Sums(seen, 0 * seen, None, {})
    clicks = DEFAULT_RULE.model_copy(
        update={"terms": [term for term in DEFAULT_RULE.terms if getattr(term, "metric", "") == "click"]}
    )
    alone, all_terms = (noise_of(rule, MEASURES, held, sums) for rule in (clicks, DEFAULT_RULE))
    assert all_terms.tolist() == alone.tolist()
    assert (alone > 0).all()
