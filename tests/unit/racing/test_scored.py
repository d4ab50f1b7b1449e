"""Scores by example: the venue's own numbers, rules, and what is told of changes."""

from __future__ import annotations

from racing.entries import RuleChange
from racing.model import EVENT_KINDS
from tests.unit.racing.venues import CLICK, SEED, PlainVenue

# -- the venue's own numbers ---------------------------------------------------------------------------------


def test_the_tide_is_held_while_a_bucket_runs() -> None:
    """4 clicks and then 2: half is what everyone has, whatever comes late or now, until the next bucket."""
    venue = PlainVenue({**SEED, "tide": True})
    venue.events(0, *[CLICK] * 3, {**CLICK, "runner": 1})
    venue.events(4000, CLICK, {**CLICK, "runner": 1})
    venue.tick(7999)
    assert [1 - 0.5 * 3, 1 - 0.5 * 1, 0.0] == venue.scores()

    venue.events(7999, *[{**CLICK, "runner": 2}] * 4, {**CLICK, "runner": 2, "ts_ms": 5000})
    assert [-0.5, 0.5, 5.0] == venue.scores()

    # now 4..8 s has 3 late or old clicks and 4 new ones, 0..4 s has 4
    venue.tick(8000)
    assert [-7 / 4, -7 / 4, 4 - 7 / 4] == venue.scores()


def test_an_event_changes_only_its_own_runners_score() -> None:
    terms = [{**SEED, "tide": True}, {"ratio": ["order", "click"], "signal": "rate", "weight": 5}]
    venue = PlainVenue(*terms)
    venue.events(0, CLICK, {**CLICK, "runner": 1})
    venue.tick(4500)
    before = venue.scores()
    venue.events(4600, *[{"runner": 2, "type": "order"}] * 9)

    assert before[:2] == venue.scores()[:2]
    assert before[2] < venue.scores()[2]


# -- decisions -----------------------------------------------------------------------------------------------


def test_runners_without_evidence_stand_in_the_order_of_their_enrolment() -> None:
    assert [(1, 0), (2, 1), (3, 2)] == [(slot.slot, slot.runner) for slot in PlainVenue().race.slots()]


def test_a_new_rule_scores_what_has_been_counted_all_along() -> None:
    """Counts and amounts of every kind are kept, whatever the rule of the moment weighs."""
    venue = PlainVenue()
    venue.events(0, {"runner": 1, "type": "cart", "amount": 30}, {"runner": 2, "type": "scan"})
    assert [0.0, 0.0, 0.0] == venue.scores()

    metrics = {"carts": {"event": "cart", "sum": "amount"}, "scans": {"event": "scan"}}
    terms = [{"metric": "carts", "signal": "level", "weight": 1}, {"metric": "scans", "signal": "total", "weight": 2}]
    venue.entry(RuleChange(version=2, rule={"window_s": 4, "bucket_s": 2, "metrics": metrics, "terms": terms}))

    assert [0.0, 30.0, 2.0] == venue.scores()
    assert 2 == venue.race.rule_version


def test_totals_outlive_windows_and_rules() -> None:
    venue = PlainVenue({"metric": "click", "signal": "total", "weight": 1})
    venue.events(0, CLICK)
    venue.tick(100_000)
    venue.rule({"metric": "click", "signal": "total", "weight": 1}, at_ms=100_000, window_s=6, bucket_s=3)

    assert [1.0, 0.0, 0.0] == venue.scores()


# -- what is told --------------------------------------------------------------------------------------------


def test_changes_are_told_once() -> None:
    venue = PlainVenue()
    assert [0, 1, 2] == venue.race.take_changes().runners.tolist()
    venue.events(0, {**CLICK, "runner": 1})
    changes = venue.race.take_changes()

    assert [1] == changes.runners.tolist()
    assert [128 + 2 * EVENT_KINDS.index("click")] == changes.keys.tolist()
    again = venue.race.take_changes()
    assert ([], []) == (again.runners.tolist(), again.keys.tolist())


def test_a_sum_may_change_where_no_score_does() -> None:
    """What the rule does not weigh is counted and shown nevertheless."""
    venue = PlainVenue()
    venue.race.take_changes()
    venue.events(0, {"runner": 1, "type": "cart"})
    changes = venue.race.take_changes()

    assert [] == changes.runners.tolist()
    assert [128 + 2 * EVENT_KINDS.index("cart")] == changes.keys.tolist()
