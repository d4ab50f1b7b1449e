"""Whatever the desk orders, a log has one board: however it is batched, and wherever the race begins again."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from racing.entries import OrdersChange, RuleChange
from racing.race import Race
from racing.timetable import Timetable
from tests.laws.board_oracle import NaiveBoard
from tests.laws.desk_logs import desk_logs
from tests.laws.logs import Log, entries_of, law, raced, state
from tests.laws.oracle import Recount

_CUTS = st.lists(st.integers(0, 40), max_size=5)


@law(100)
@given(desk_logs(), _CUTS)
def test_any_split_of_a_log_with_orders_gives_the_same_bits(log: Log, cuts: list[int]) -> None:
    entries = entries_of(log)
    one_by_one, batched = Race(), Race()
    states = {}
    for entry in entries:
        one_by_one.apply([entry])
        states[entry.position] = state(one_by_one)
    edges = sorted({cut % (len(entries) + 1) for cut in cuts} | {0, len(entries)})
    for start, end in itertools.pairwise(edges):
        batched.apply(entries[start:end])

        assert states[batched.position] == state(batched)


@law(100)
@given(desk_logs(entries=14), st.data())
def test_a_race_with_orders_goes_on_from_any_checkpoint_as_if_it_had_never_stopped(
    log: Log, data: st.DataObject
) -> None:
    entries = entries_of(log)
    expected = state(raced(entries))
    race = Race()
    records = [race.checkpoint()[0]]
    for entry in entries:
        race.apply([entry])
        choice = data.draw(st.integers(0, 3))
        if choice >= 2:
            record, full = race.checkpoint(full=choice == 3)
            records = [record] if full else [*records, record]
            race = Race.restore(records)

    assert expected == state(race)


@law(100)
@given(desk_logs())
def test_a_board_shows_no_product_twice_and_leaves_no_slot_empty_that_could_be_filled(log: Log) -> None:
    race = Race()
    for entry in entries_of(log):
        race.apply([entry])
        shown = race.shown()
        runners = [slot.runner for slot in shown.slots]
        field = race.sight().field
        gone = field.outs() if not field.sinks else field.excluded
        there = len(race.products) - (0 if gone is None else int(gone.sum()))

        assert len(set(runners)) == len(runners)
        assert min(race.rule.board.slots, there) == len(runners)
        assert list(range(1, len(runners) + 1)) == [slot.slot for slot in shown.slots]
        assert not [runner for runner in runners if gone is not None and gone[runner]]


@law(100)
@given(desk_logs())
def test_a_runner_s_steps_lead_from_its_standing_to_its_slot_and_its_terms_add_up(log: Log) -> None:
    race = raced(entries_of(log))
    shown = {slot.runner: slot for slot in race.shown().slots}
    sort = np.lexsort((np.arange(len(race.scores)), -race.scores)).tolist()
    for runner in range(len(race.products)):
        explained = race.explain(runner)
        places = [explained.standing]
        for step in explained.steps:
            assert step.from_slot == places[-1], explained
            places.append(step.to_slot or 0)

        assert sort.index(runner) + 1 == explained.standing
        assert math.isclose(sum(term.contribution for term in explained.terms), explained.score, abs_tol=1e-6)
        assert (explained.slot is None) == (runner not in shown) == (explained.out is not None)
        if runner in shown:
            assert explained.slot == places[-1]
            assert shown[runner].steps == explained.steps
            assert shown[runner].labels == explained.labels
            assert shown[runner].terms == explained.terms
        else:
            assert places[-1] == 0 or places[-1] > race.rule.board.slots


@law(200)
@given(desk_logs(phases=False, remembering=False, ticked=True))
def test_a_board_is_the_one_of_the_published_order_told_naively(log: Log) -> None:
    race, naive, plain = Race(), NaiveBoard(), None
    scores: list[float] = []
    for (moment_ms, body), entry in zip(log, entries_of(log), strict=True):
        naive.fold(moment_ms, body, scores)
        race.apply([entry])
        scores = race.scores.tolist()
        plain = Recount(body["rule"]) if plain is None else plain
        plain.fold(moment_ms, body)
        for runner in range(len(race.products)):
            own, factor = plain.score(runner), naive.factor(runner)
            assert math.isclose(own * factor if own > 0 else own / factor, scores[runner], abs_tol=1e-9)

        assert naive.board(scores) == [slot.runner for slot in race.shown().slots]


@law(100)
@given(desk_logs())
def test_the_rule_in_force_is_the_one_that_the_timetable_tells_plainly(log: Log) -> None:
    race, plain = Race(), Timetable()
    for entry in entries_of(log):
        race.apply([entry])
        change = entry.body if isinstance(entry.body, RuleChange | OrdersChange) else None
        told = plain.rule_at(entry.position.ms) if change is None else plain.take(change, entry.position.ms)

        assert told == race.rule
