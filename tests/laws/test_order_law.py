"""One order: leaders, slots and standings are the plain sort of the scores by (-score, number), always."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing import board
from racing.board import Leaders, check_board, order
from racing.model import FloatArray, IntArray
from racing.race import Race
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, cells_of, entries_of, law, logs, rule_of
from tests.laws.oracle import recount

_SCORES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e300, -1e300, 5e-324, 3.25])


def _plain_sort(scores: FloatArray) -> list[int]:
    return sorted(range(len(scores)), key=lambda runner: (-scores[runner], runner))


@law(200)
@given(st.lists(_SCORES, max_size=12), st.randoms(use_true_random=False))
def test_the_order_is_the_plain_sort_however_runners_are_named(values: list[float], random: Any) -> None:
    scores = np.array(values, np.float64)
    runners = list(range(len(values)))
    random.shuffle(runners)
    numbers = np.array(runners, np.int64)

    assert _plain_sort(scores) == order(numbers, scores[numbers]).tolist()


class _Field:
    """A field of runners beside the leaders that are kept of it."""

    def __init__(self, wanted: int) -> None:
        self.scores: FloatArray = np.empty(0)
        self.leaders = Leaders(wanted)
        self.wanted = wanted

    def change(self, runners: list[int], values: list[float]) -> None:
        """Give runners new scores, each once; new numbers join the field."""
        numbers: IntArray = np.array(sorted(set(runners)), np.int64)
        if len(numbers) and numbers[-1] >= len(self.scores):
            joined = range(len(self.scores), int(numbers[-1]) + 1)
            self.scores = np.concatenate((self.scores, np.zeros(len(joined))))
            numbers = np.union1d(numbers, np.array(joined, np.int64))
        self.scores[numbers] = np.resize(np.array(values, np.float64), len(numbers))
        self.leaders.update(numbers, self.scores)

    def check(self) -> None:
        """Raise AssertionError unless the leaders are the first of the plain sort."""
        assert _plain_sort(self.scores)[: self.wanted] == self.leaders.best(self.scores).tolist()


@pytest.fixture
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool so small that it runs low and overflows within a few changes."""
    monkeypatch.setattr(board, "_POOL_MIN", 2)


@pytest.mark.usefixtures("_small_pool")
@pytest.mark.parametrize("wanted", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_leaders_stay_the_plain_sort_under_a_thousand_changes(wanted: int, seed: int) -> None:
    """Runners join, rise, fall and tie; the pool is cut and refilled many times on the way."""
    chance = random.Random(f"{wanted} {seed}")
    field = _Field(wanted)
    cuts = set()
    for step in range(1000):
        size = max(1, len(field.scores))
        runners = [chance.randrange(size + 2 * (size < 120)) for _ in range(chance.choice([1, 1, 2, 5, 40]))]
        values = [float(chance.randrange(-9, 10)) for _ in range(chance.choice([1, len(runners)]))]
        if step % 3 == 0 and size > 1:
            runners, values = field.leaders.best(field.scores).tolist(), [-10.0, 0.0]
        field.change(runners, values)
        field.check()
        cuts.add(field.leaders._cut)

    assert len(cuts) > 5


@pytest.mark.usefixtures("_small_pool")
def test_leaders_are_refilled_when_all_of_them_fall() -> None:
    """The field is looked at again once too few are left that stand before the cut."""
    field = _Field(2)
    field.change(list(range(200)), [float(score) for score in range(200)])
    for leader in range(199, 100, -1):
        field.change([leader], [-1.0])
        field.check()


@law(60)
@given(logs(rule_changes=True))
def test_slots_are_the_plain_sort_of_the_scores_after_each_entry(log: Log) -> None:
    race = Race()
    for entry in entries_of(log):
        race.apply([entry])
        slots = race.slots()

        check_board(slots, race.scores)
        assert min(len(race.scores), race.rule.board.slots) == len(slots)
        assert np.isfinite(race.scores).all()


@law(60)
@given(logs())
def test_a_slot_tells_the_terms_of_which_its_score_is_the_sum(log: Log) -> None:
    race = Race()
    race.apply(entries_of(log))
    for slot in race.slots():
        score = 0.0
        for term in slot.terms:
            assert term.weight * term.value == term.contribution
            score += term.contribution

        assert score == slot.score


def test_ties_go_to_the_runner_enrolled_first() -> None:
    """Before there is evidence the order is the operators' own; equal evidence leaves it so."""
    rule = rule_of({"metric": "click", "signal": "uplift", "weight": 1})
    clicks = [{"runner": runner, "type": "click"} for runner in (4, 2, 3)]
    log: Log = [
        (START_MS, {"rule": rule}),
        (START_MS, {"enrol": {number: {} for number in range(5)}}),
        (START_MS + 1, {"events": clicks}),
    ]
    race = Race()
    race.apply(entries_of(log[:2]))
    assert [0, 1, 2, 3, 4] == [slot.runner for slot in race.slots()]

    race.apply(entries_of(log))

    assert [2, 3, 4, 0, 1] == [slot.runner for slot in race.slots()]
    assert recount(rule, log).standings() == [slot.runner for slot in race.slots()]


@law(60)
@given(logs(rule_changes=True), st.lists(st.booleans(), min_size=30, max_size=30))
def test_who_copies_only_what_changed_has_every_sum_and_score(log: Log, taken: list[bool]) -> None:
    """The sorted sets in Redis are written from take_changes alone, and must be whole nevertheless."""
    race = Race()
    parts = ("window", "base_tenths", "total")
    sums: dict[str, dict[tuple[int, int], int]] = {part: {} for part in parts}
    scores: dict[int, float] = {}
    for entry, take in zip(entries_of(log), taken, strict=False):
        race.apply([entry])
        if not take:
            continue
        changes = race.take_changes()
        assert len(set(changes.runners.tolist())) == len(changes.runners)
        assert len(set(changes.keys.tolist())) == len(changes.keys)
        for runner in changes.runners.tolist():
            scores[runner] = float(race.scores[runner])
        for part in parts:
            kept: IntArray = getattr(race.windows, part)
            for key in changes.keys.tolist():
                cell = divmod(key, 128)
                sums[part][cell] = int(kept[cell])
            assert cells_of(kept) == {cell: value for cell, value in sums[part].items() if value}, part
        assert dict(enumerate(race.scores.tolist())) == scores


def test_a_score_does_not_depend_on_who_is_scored_beside_it() -> None:
    """The same sums give the same bits in a field of three and in a field of thousands."""
    events = [{"runner": runner, "type": kind} for runner in (0, 1, 2) for kind in ("click", "order", "pay")]
    events += [{"runner": 1, "type": "pay", "amount": 1999}, {"runner": 2, "type": "click"}]
    for tide in ({}, {"runner": 0, "type": "click"}):
        boards = []
        for field in (3, 4097):
            log: Log = [
                (START_MS, {"rule": rule_of(*EVERY_SIGNAL, window_s=2, bucket_s=1)}),
                (START_MS, {"enrol": {number: {} for number in range(field)}}),
                (START_MS + 100, {"events": [*events, *([tide] if tide else [])]}),
                (START_MS + 2350, {"events": events[:4]}),
                (START_MS + 3777, {"events": events[3:]}),
            ]
            race = Race()
            race.apply(entries_of(log))
            boards.append(race.scores[:3].tobytes())

        assert boards[0] == boards[1]
