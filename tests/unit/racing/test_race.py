"""The fold by example: log, time, decisions and checkpoints, in numbers that can be worked out by hand."""

from __future__ import annotations

import pytest

from racing.entries import Enrolment, Entry, RuleChange, Tick, Unreadable
from racing.model import START, Position
from racing.race import Race
from racing.rule import DEFAULT_RULE
from tests.laws.logs import START_MS, batch_of
from tests.unit.racing.venues import CLICK, SEED, PlainVenue

# -- refusals ------------------------------------------------------------------------------------------------


def test_an_unreadable_entry_is_counted_and_time_goes_on() -> None:
    venue = PlainVenue()
    venue.events(0, CLICK)
    venue.entry(Unreadable("a flipped bit"), 4000)

    assert {"counted": 1, "unreadable": 1} == venue.counted()
    assert [-1.0, 0.0, 0.0] == venue.scores()


def test_a_rule_that_is_none_leaves_the_old_one() -> None:
    venue = PlainVenue()
    venue.entry(RuleChange(version=2, rule={"terms": []}))

    assert {"unreadable": 1} == venue.counted()
    assert 1 == venue.race.rule_version


# -- events in time ------------------------------------------------------------------------------------------


def test_time_moves_by_entries_alone() -> None:
    """Also by those that say nothing, and by those that cannot be read."""
    venue = PlainVenue()
    venue.events(0, CLICK)
    moments: list[int] = []
    for body in (Tick(), Unreadable("?"), Enrolment([]), batch_of([])):
        venue.entry(body, 100 * (len(moments) + 1))
        moments.append(venue.race.moment_ms - START_MS)

    assert [100, 200, 300, 400] == moments


@pytest.mark.parametrize(("at_ms", "step_ms"), [(0, 200), (199, 200), (200, 400), (1800, 2000), (1999, 2000)])
def test_the_next_step_is_when_a_tick_is_due(at_ms: int, step_ms: int) -> None:
    venue = PlainVenue()
    venue.tick(at_ms)

    assert START_MS + step_ms == venue.race.next_step_ms()


def test_entries_not_after_the_position_are_passed_over() -> None:
    venue = PlainVenue()
    venue.events(500, CLICK)
    again = Entry(venue.race.position, batch_of([CLICK]))
    earlier = Entry(Position(START_MS, 99), batch_of([CLICK]))
    venue.race.apply([again, earlier])

    assert {"counted": 1} == venue.counted()
    assert START_MS + 500 == venue.race.moment_ms


# -- decisions -----------------------------------------------------------------------------------------------


def test_a_race_begins_with_nobody_and_the_default_rule() -> None:
    race = Race()

    assert (DEFAULT_RULE, 0, START, 0) == (race.rule, race.rule_version, race.position, race.moment_ms)
    assert () == race.slots()
    assert [] == race.take_changes().runners.tolist()


def test_the_board_has_as_many_slots_as_the_rule_says() -> None:
    venue = PlainVenue(board={"slots": 2})
    venue.events(0, {**CLICK, "runner": 2})
    assert [2, 0] == [slot.runner for slot in venue.race.slots()]

    venue.rule(SEED, version=2, board={"slots": 1})

    assert [2] == [slot.runner for slot in venue.race.slots()]


def test_a_runner_that_joins_late_is_on_the_board() -> None:
    venue = PlainVenue({"attribute": "entry_score", "weight": 2})
    venue.enrol({3: {"entry_score": 1.5}}, at_ms=100)
    first = venue.race.slots()[0]

    assert (3, "product-3", 3.0) == (first.runner, first.product, first.score)


def test_enrolling_again_replaces_a_runners_data_and_keeps_its_events() -> None:
    venue = PlainVenue(SEED, {"attribute": "entry_score", "weight": 1}, {"attribute": "margin", "weight": 1})
    venue.enrol({1: {"entry_score": 5.0, "margin": 2.0}})
    venue.events(0, {**CLICK, "runner": 1})
    assert 8.0 == venue.scores()[1]

    venue.enrol({1: {"margin": 1.0}})

    assert 2.0 == venue.scores()[1]


# -- what is told --------------------------------------------------------------------------------------------


def test_a_checkpoint_is_due_when_a_bucket_begins() -> None:
    venue = PlainVenue()
    venue.race.checkpoint()
    due = []
    for at_ms in (100, 1999, 2000, 2001):
        venue.tick(at_ms)
        due.append(venue.race.checkpoint_due)
        if due[-1]:
            venue.race.checkpoint()

    assert [False, False, True, False] == due


def test_a_checkpoint_is_full_at_first_and_when_buckets_are_cut_anew() -> None:
    venue = PlainVenue()
    full = [venue.race.checkpoint()[1], venue.race.checkpoint()[1]]
    venue.rule({**SEED, "weight": 2}, version=2)
    full.append(venue.race.checkpoint()[1])
    venue.rule(SEED, version=3, window_s=6, bucket_s=3)
    full += [venue.race.checkpoint()[1], venue.race.checkpoint()[1], venue.race.checkpoint(full=True)[1]]

    assert [True, False, False, True, False, True] == full


def test_a_checkpoint_of_nothing_new_is_small() -> None:
    """It holds what came since the last one, not all that is known."""
    venue = PlainVenue()
    venue.enrol({number: {"entry_score": 1.0} for number in range(2000)})
    venue.events(0, *({"runner": number, "type": "click", "id": str(number)} for number in range(2000)))
    whole, _ = venue.race.checkpoint()
    since, _ = venue.race.checkpoint()

    assert len(since) < 2000
    assert len(whole) > 20_000
