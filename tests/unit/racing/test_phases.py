"""Phases of a promotion: the rule that holds, to the millisecond, and the order with which one opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from racing.columns import pack, unpack
from racing.entries import RuleChange
from racing.errors import CorruptRecordError
from racing.opening import fade, opening_values, strength
from racing.race import Race
from racing.rule import parse_rule
from tests.laws.logs import START_MS, batch_of, rule_of, state
from tests.unit.racing.venues import BoardVenue, document

_PAYS: dict[str, Any] = {"metric": "pay", "signal": "level", "weight": 1}
_TOTAL: dict[str, Any] = {"metric": "click", "signal": "total", "weight": 1}
_MIDNIGHT = 1000
"""In these tests midnight is a second after the venue's beginning."""


def _phase(name: str, start_ms: int, *terms: dict[str, Any], version: int = 2, **fields: Any) -> dict[str, Any]:
    rule = rule_of(*(terms or (_PAYS,)), board={"slots": fields.pop("slots", 6)}, **fields.pop("rule", {}))
    given = {"title": name, "rule": rule, "version": version, "carry": 0.0, **fields}
    return document("phase", name, start_ms=start_ms, **given)


def _pays(venue: BoardVenue, number: int, count: int, at_ms: int) -> None:
    venue.entry(batch_of([{"runner": number, "type": "pay", "amount": 5}] * count), at_ms)


# -- when -----------------------------------------------------------------------------------------------------------


def test_a_phase_whose_rule_needs_more_kinds_than_there_is_room_for_is_passed_over() -> None:
    venue = BoardVenue()
    for name in "ab":
        metrics = {f"m{number}": {"event": f"{name}_{number}"} for number in range(32)}
        rule = {**rule_of({"metric": "m0", "signal": "level", "weight": 1}, board={"slots": 6}), "metrics": metrics}
        venue.put(document("phase", name, start_ms=0, title=name, rule=rule, version=2))

    assert "a" == venue.shown.phase
    assert "0 1 2 3 4 5" == venue.board()
    assert ["phase b: its rule names more kinds of events than there is room for"] == venue.told()


@pytest.mark.parametrize("quiet", [True, False])
def test_a_phase_holds_from_the_first_millisecond_of_its_start(*, quiet: bool) -> None:
    """23:59:59.999, 00:00:00 and 00:00:01, whether anything comes in between or not."""
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT))
    _pays(venue, 9, 3, at_ms=500)
    seen = []
    for at_ms in (_MIDNIGHT - 1, _MIDNIGHT, _MIDNIGHT + 1000):
        venue.tick(at_ms)
        seen.append((venue.race.rule_version, venue.shown.phase, venue.board()))
        if not quiet:
            _pays(venue, 8, 2, at_ms)

    assert (1, "", "0 1 2 3 4 5") == seen[0]
    assert (2, "burst", "9 0 1 2 3 4" if quiet else "9 8 0 1 2 3") == seen[1]
    assert (2, "burst", "9 0 1 2 3 4" if quiet else "8 9 0 1 2 3") == seen[2]


def test_a_phase_that_began_while_the_scorer_was_down_began_at_its_start() -> None:
    """The first entry after an hour finds the phase begun at midnight: what totals count from, and its opening."""
    venue = BoardVenue(_TOTAL)
    venue.clicks(9, 50)
    venue.put(_phase("burst", _MIDNIGHT, _TOTAL))
    venue.clicks(8, 3, at_ms=3_600_000)

    assert "8 0 1 2 3 4" == venue.board()
    assert 0.0 == venue.race.scores[9]


def test_a_venue_at_rest_is_due_at_the_start_of_a_phase() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT, end_ms=5000))

    assert START_MS + _MIDNIGHT == venue.race.due_ms()
    venue.tick(_MIDNIGHT)
    assert START_MS + 5000 == venue.race.due_ms() == venue.shown.phase_ends_ms


def test_the_rule_of_before_comes_back_when_a_phase_ends() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT, end_ms=2000))
    seen = []
    for at_ms in (1999, 2000):
        venue.tick(at_ms)
        seen.append((venue.race.rule_version, venue.shown.phase))

    assert [(2, "burst"), (1, "")] == seen


def test_the_next_phase_takes_the_place_of_the_one_before() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", 1000), _phase("encore", 2000, version=3))
    venue.tick(1500)
    assert ("burst", START_MS + 2000) == (venue.shown.phase, venue.shown.phase_ends_ms)
    venue.tick(2000)
    assert ("encore", None, 3) == (venue.shown.phase, venue.shown.phase_ends_ms, venue.race.rule_version)


def test_a_rule_changed_during_a_phase_acts_at_once_and_until_the_next_one() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", 1000), _phase("encore", 3000, version=3))
    venue.tick(1000)
    venue.entry(RuleChange(5, rule_of(_PAYS, board={"slots": 2})), 2000)

    assert (5, "burst") == (venue.race.rule_version, venue.shown.phase)
    venue.tick(3000)
    assert (3, "encore") == (venue.race.rule_version, venue.shown.phase)
    venue.put(withdraw=["burst", "encore"], at_ms=3500)
    assert (5, "") == (venue.race.rule_version, venue.shown.phase)


def test_a_phase_that_is_edited_while_it_holds_changes_at_once_and_goes_on_counting() -> None:
    venue = BoardVenue(_TOTAL)
    venue.put(_phase("burst", 1000, _TOTAL))
    venue.clicks(9, 5, at_ms=1500)
    venue.put(_phase("burst", 1000, _TOTAL, version=4, slots=3), at_ms=1600)

    assert "9 0 1" == venue.board()
    assert (4, 5.0) == (venue.race.rule_version, venue.race.scores[9])


def test_a_phase_may_be_edited_and_withdrawn_until_it_begins() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", 1000), _phase("encore", 1000))
    venue.put(_phase("burst", 5000), withdraw=["encore"], at_ms=500)
    venue.tick(2000)

    assert (1, "") == (venue.race.rule_version, venue.shown.phase)


def test_total_counts_since_the_phase_began_and_since_the_race_did_without_one() -> None:
    venue = BoardVenue(_TOTAL)
    venue.clicks(9, 5, at_ms=100)
    venue.put(_phase("burst", 1000, _TOTAL, end_ms=2000), at_ms=200)
    venue.clicks(9, 2, at_ms=1000)
    assert 2.0 == venue.race.scores[9]
    venue.tick(2000)
    assert 7.0 == venue.race.scores[9]


# -- opening ----------------------------------------------------------------------------------------------------------


def test_without_carry_or_anything_known_a_phase_opens_by_its_own_scores() -> None:
    venue = BoardVenue(_PAYS)
    for number in range(12):
        venue.enrol(number, entry_score=None)
    venue.put(_phase("burst", 1000, carry=1.0))
    venue.tick(1000)

    assert ("race", None) == (venue.shown.served, venue.race.phases.opening)


def test_a_phase_opens_by_entry_scores_and_what_the_one_before_came_to_and_evidence_takes_over() -> None:
    """In the phase pays count. p9 was clicked 10,000 times before: weight 1 times its root, and 3 at enrolment."""
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT, _PAYS, carry=0.1, slots=3))
    venue.clicks(9, 10_000, at_ms=500)
    venue.tick(_MIDNIGHT - 1)
    assert ("9 0 1 2 3 4", "race") == (venue.board(), venue.shown.served)

    venue.tick(_MIDNIGHT)
    assert ("9 0 1", "opening") == (venue.board(), venue.shown.served)
    assert [103.0, 12.0] == [venue.race.scores[number] for number in (9, 0)]

    _pays(venue, 8, 30, at_ms=_MIDNIGHT + 100)  # K = 0.1 * 10 * 3 = 3 events
    assert "opening" == venue.shown.served
    venue.tick(_MIDNIGHT + 1000)
    f = 3 / 33
    assert "race" == venue.shown.served
    assert pytest.approx([f * 103, (1 - f) * 30 + f * 4]) == [venue.race.scores[number] for number in (9, 8)]
    assert "8 9 0" == venue.board()

    venue.clicks(9, 1, at_ms=_MIDNIGHT + 1100)  # a click is no evidence of a rule of pays
    _pays(venue, 8, 400, at_ms=_MIDNIGHT + 1100)
    venue.tick(_MIDNIGHT + 2000)
    assert [0.0, 430.0] == [venue.race.scores[number] for number in (9, 8)]


def test_the_terms_of_a_slot_tell_the_opening_order() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT, _PAYS, carry=1.0))
    venue.tick(_MIDNIGHT)
    slot = venue.shown.slots[0]

    assert ["pay level", "opening"] == [term.name for term in slot.terms]
    assert 12.0 == slot.score == sum(term.contribution for term in slot.terms)


def test_who_joins_while_a_phase_opens_has_its_entry_score() -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", _MIDNIGHT, _PAYS, carry=1.0))
    venue.enrol(12, at_ms=_MIDNIGHT + 1, entry_score=50.0)

    assert 50.0 == venue.race.scores[12]


def test_an_opening_value_weighs_totals_by_the_rule_of_the_phase_before() -> None:
    rule = parse_rule(
        rule_of(
            {"metric": "click", "signal": "root", "weight": 0.5},
            {"metric": "click", "signal": "surge", "weight": 2},
            {"metric": "order", "signal": "level", "weight": -1},
            {"metric": "pay_amount", "signal": "root", "weight": 1},
            {"metric": "scan", "signal": "level", "weight": 1},
        )
    )
    totals = np.array([[9, 0, 4, 900], [1, 7, 0, 0]])  # clicks, orders, pays, their amount: 225 on average
    measures = {"click": 0, "order": 1, "pay_amount": 3, "scan": 8, "pay": 2, "refund_amount": 5}
    values = opening_values(rule, measures, totals, np.array([0.25, 0.0]))

    assert values is not None
    assert [0.25 + 2 * 3 + 2, 2 * 1.0] == values.tolist()


@pytest.mark.parametrize(
    ("k", "evidence", "f"), [(0, 0, 0), (10, 0, 1), (10, -5, 1), (10, 10, 0.5), (10, 989, 0.01), (10, 991, 0)]
)
def test_the_weight_of_an_opening_order(k: float, evidence: int, f: float) -> None:
    assert pytest.approx(f, abs=2e-4) == fade(k, evidence)
    assert 500 == strength(1.0, 50)


# -- kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda header: header["steering"]["book"]["orders"].clear(),
            "the phase 'burst' holds, and its order is missing",
        ),
        (lambda header: header["steering"]["book"]["orders"][0][1].pop("rule"), "rule: is required"),
        (lambda header: header.pop("phases"), "phases"),
    ],
    ids=["no order", "no rule", "no phases"],
)
def test_a_checkpoint_whose_phase_is_not_whole_is_refused_as_such(
    change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    venue = BoardVenue()
    venue.put(_phase("burst", 0))
    header, columns = unpack(venue.race.checkpoint(full=True)[0])
    change(header)

    with pytest.raises(CorruptRecordError, match=told):
        Race.restore([pack(header, columns)])


def test_a_phase_is_restored_with_its_totals_and_its_opening() -> None:
    venue = BoardVenue()
    venue.clicks(9, 50)
    venue.put(_phase("burst", _MIDNIGHT, _TOTAL, carry=1.0, rule={"window_s": 6, "bucket_s": 3}))
    venue.clicks(8, 7, at_ms=_MIDNIGHT + 1)
    records = [venue.race.checkpoint(full=True)[0]]
    venue.clicks(7, 70, at_ms=_MIDNIGHT + 2500)
    records.append(venue.race.checkpoint()[0])

    assert state(venue.race) == state(Race.restore(records))


# -- another window ----------------------------------------------------------------------------------------------------


def test_a_longer_window_is_filled_from_what_is_kept_and_says_from_when_it_is_full() -> None:
    venue = BoardVenue()
    assert (0, 0) == venue.race.tally.full_from_ms()
    venue.clicks(9, 5)
    for at_ms in range(2000, 21_000, 2000):
        venue.clicks(9, 1, at_ms=at_ms)
    venue.entry(RuleChange(2, rule_of({"metric": "click", "signal": "level", "weight": 1}, window_s=20)), 20_000)

    # windows of 4 s: two of them and the running bucket are kept, from 14 s on
    assert 4.0 == venue.race.scores[9]
    assert (START_MS + 32_000, START_MS + 52_000) == venue.race.tally.full_from_ms()


def test_a_shorter_window_is_full_at_once() -> None:
    venue = BoardVenue()
    venue.clicks(9, 5)
    venue.clicks(9, 1, at_ms=20_000)
    venue.entry(RuleChange(2, rule_of({"metric": "click", "signal": "level", "weight": 1}, window_s=2)), 20_000)

    assert 1.0 == venue.race.scores[9]
    assert all(at_ms <= START_MS + 20_000 for at_ms in venue.race.tally.full_from_ms())


def test_a_window_changed_in_the_first_minutes_lacks_nothing() -> None:
    venue = BoardVenue()
    venue.clicks(9, 5, at_ms=1000)
    venue.entry(RuleChange(2, rule_of({"metric": "click", "signal": "level", "weight": 1}, window_s=20)), 3000)

    assert 5.0 == venue.race.scores[9]
    assert (0, 0) == venue.race.tally.full_from_ms()
