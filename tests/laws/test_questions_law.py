"""What followers answer is what the race does: preview, what-if, explain and advice against the fold itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from racing import advice
from racing.advice import Target, advise, events_of
from racing.entries import Entry, RuleChange, Tick
from racing.explain import added_up, explained
from racing.formula import FORMULA
from racing.model import Position
from racing.preview import preview
from racing.questions import Draft, rule_document, standing, standings
from racing.race import Race
from racing.whatif import Span, what_if
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, entries_of, law, logs, raced, rule_of, rules, state

_ORDERS: list[list[dict[str, Any]]] = [
    [],
    [
        {"kind": "pin", "id": "a", "product": "product-2", "slot": 1},
        {"kind": "boost", "id": "b", "tag": "t", "factor": 2},
    ],
    [
        {"kind": "boost", "id": "a", "product": "product-1", "factor": 3},
        {"kind": "boost", "id": "b", "product": "product-0", "factor": 0.5},
        {"kind": "pin", "id": "c", "product": "product-0", "slot": 1, "hard": False},
    ],
    [{"kind": "exclude", "id": "a", "product": "product-1", "reason": "complaints", "start_ms": START_MS + 1500}],
    [{"kind": "freeze", "id": "a", "slots": 2, "end_ms": START_MS + 3000}],
    [{"kind": "emergency", "id": "a", "products": ["product-2", "product-0"]}],
]
_BOARDS: list[dict[str, Any]] = [
    {},
    {"stability": {"margin": 1, "lead_s": 1}},
    {"newcomers": {"share": 0.5, "for_s": 2}, "stock": {"policy": "drop"}},
]


@st.composite
def desked(draw: st.DrawFn, *, rule_changes: bool = False) -> Log:
    """A drawn log with orders of the desk and steps of the board in it."""
    log, settings = draw(logs(rule_changes=rule_changes)), draw(st.sampled_from(_BOARDS))
    for _, body in log:
        if "rule" in body:
            body["rule"] = {**body["rule"], "board": {**body["rule"]["board"], **settings}}
    at = draw(st.integers(2, len(log)))
    orders = {"orders": draw(st.sampled_from(_ORDERS))}
    return [*log[:at], (log[at - 1][0], orders), *log[at:]]


@law(30)
@given(desked(rule_changes=True))
def test_a_copy_is_the_race_and_goes_on_alike(log: Log) -> None:
    """Wherever it is taken, and neither moves the other."""
    entries = entries_of(log)
    for cut in (len(entries) // 2, len(entries)):
        race = raced(entries[:cut])
        before = state(race)
        copy = race.copy()
        assert state(copy) == before
        copy.apply(entries[cut:])
        assert state(race) == before
        assert state(copy) == state(raced(entries))


# -- preview ---------------------------------------------------------------------------------------------------


@law(30)
@given(desked(rule_changes=True))
@example([(START_MS, {"rule": rule_of(*EVERY_SIGNAL)}), (START_MS, {"enrol": {0: {}, 1: {}}})])
def test_preview_of_the_present_rule_is_the_present_board(log: Log) -> None:
    race = raced(entries_of(log))
    before = state(race)
    found = preview(race, Draft(rule=rule_document(race.rule)))
    assert found.slots == race.slots() == preview(race, Draft()).slots
    assert (found.entered, found.left, found.rose, found.fell) == ((), (), (), ())
    ahead_ms = {at_ms for at_ms in race.tally.full_from_ms() if at_ms > race.moment_ms}
    assert ahead_ms == {each.full_from_ms for each in found.not_full}
    assert found.unmoved == len(race.slots())
    assert found.overlap == (1.0 if race.slots() else 0.0)
    assert state(race) == before


@law(30)
@given(desked(), rules())
def test_preview_is_the_board_that_the_rule_then_makes(log: Log, rule: dict[str, Any]) -> None:
    """Slot by slot, term by term; and everybody's move is told once."""
    race = raced(entries_of(log))
    found = preview(race, Draft(rule=rule))
    before = {slot.product: slot.slot for slot in race.slots()}
    change = RuleChange(race.rule_version, rule, formula=FORMULA)
    race.apply([Entry(Position(race.position.ms, race.position.seq + 1), change)])
    assert found.slots == race.slots()
    after = {slot.product: slot.slot for slot in race.slots()}
    told = {
        move.product: (move.slot_before, move.slot_after)
        for moves in (found.entered, found.left, found.rose, found.fell)
        for move in moves
    }
    products = before.keys() | after.keys()
    moved = {each: (before.get(each), after.get(each)) for each in products if before.get(each) != after.get(each)}
    assert told == moved
    assert found.unmoved == len(products) - len(moved)


def test_preview_says_from_when_what_is_not_kept_would_be_full() -> None:
    clicks = {"metric": "click", "signal": "level", "weight": 1}
    race = raced(entries_of([(START_MS, {"rule": rule_of(clicks)}), (START_MS, {"enrol": {0: {}}})]))
    race.apply([Entry(Position(START_MS + 20_000, 0), Tick())])
    wider = {**rule_of(clicks, window_s=60, bucket_s=2), "metrics": {"click": {"event": "scan_code"}}}
    found = {each.what: each.full_from_ms for each in preview(race, Draft(rule=wider)).not_full}
    kept_from_ms = START_MS + 14_000  # the oldest of four buckets of 2 s, one of them running
    assert found == {
        "events of kind scan_code": START_MS + 20_000 + 120_000,
        "window": kept_from_ms + 60_000 - 2_000,
        "base": kept_from_ms + 120_000 - 2_000,
    }


# -- explain ---------------------------------------------------------------------------------------------------


@law(30)
@given(desked(rule_changes=True))
def test_contributions_add_up_to_the_score_bit_for_bit(log: Log) -> None:
    """In term order, for everyone, on the board or not; and standings are the plain sort."""
    race = raced(entries_of(log))
    order = sorted(range(len(race.scores)), key=lambda runner: (-race.scores[runner], runner))
    assert np.argsort(standings(race.scores)).tolist() == order
    for runner in range(len(race.scores)):
        found = explained(race, runner)
        assert added_up(found.terms) == found.summed
        assert math.copysign(1, added_up(found.terms)) == math.copysign(1, found.summed)
        assert found.score == race.scores[runner]
        assert found.score == boosted(found.summed, found.boost)
        assert all(term.contribution == term.weight * term.value for term in found.terms)
        assert found.standing == order.index(runner) + 1 == standing(race, runner)
        assert found.slot == next((slot.slot for slot in race.slots() if slot.runner == runner), None)


def boosted(score: float, factor: float) -> float:
    return score * factor if score > 0 else score / factor


# -- what if ---------------------------------------------------------------------------------------------------


def _boards(entries: list[Entry], stops: list[int]) -> list[list[int]]:
    """The boards just before these moments, folded from the start each time."""
    return [
        [slot.runner for slot in raced([entry for entry in entries if entry.position.ms < stop]).slots()]
        for stop in stops
    ]


@law(30)
@given(desked(), st.integers(0, 20), st.integers(1, 4))
def test_what_if_under_the_served_rule_is_what_was_served(log: Log, cut: int, batch: int) -> None:
    """From wherever it begins, however the log is read."""
    entries = entries_of(log)
    cut = min(max(cut, 1), len(entries))
    served = raced(entries[:cut])
    rest = [entries[i : i + batch] for i in range(cut, len(entries), batch)]
    until_ms = entries[-1].position.ms + 500
    span = Span(served.position.ms + 1, until_ms, 500, events_max=10_000)
    found = what_if(served, Draft(rule=rule_document(served.rule)), rest, span)
    assert found.same == len(found.boards) == len(list(span.stops()))
    assert {board.overlap for board in found.boards} <= {1.0, 0.0}
    assert all(not board.entered and not board.left and board.rank_change == 0 for board in found.boards)
    assert [(term.served, term.draft) for term in found.terms] == [(term.served, term.served) for term in found.terms]
    assert state(served) == state(raced(entries))


@law(30)
@given(logs(), rules())
def test_what_if_is_the_race_under_the_draft(log: Log, rule: dict[str, Any]) -> None:
    """Over a whole log: as if its first rule had been the draft."""
    entries = entries_of(log)
    first_ms, last_ms = entries[0].position.ms, entries[-1].position.ms
    span = Span(first_ms, last_ms, max(300, (last_ms - first_ms) // 30), events_max=10_000)
    found = what_if(Race(), Draft(rule=rule), [entries], span)
    stops = list(span.stops())
    stops = [stop for stop in stops if stop > first_ms]
    assert [board.at_ms for board in found.boards] == stops
    under = [Entry(entries[0].position, RuleChange(1, rule, formula=FORMULA)), *entries[1:]]
    was, would = _boards(entries, stops), _boards(under, stops)
    for board, served, drafted in zip(found.boards, was, would, strict=True):
        assert board.entered == tuple(f"product-{runner}" for runner in drafted if runner not in served)
        assert board.left == tuple(f"product-{runner}" for runner in served if runner not in drafted)
    assert found.same == sum(served == drafted for served, drafted in zip(was, would, strict=True))


# -- advice ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many events are looked at in vain that a law would take minutes."""
    monkeypatch.setattr(advice, "EVENTS_MAX", 3_000)


def _after(race: Race, runner: int, *changes: tuple[str, int, int]) -> int:
    """The standing once these events have come."""
    tried = race.copy()
    at = race.position
    batches = [events_of(runner, event, number, amount) for event, number, amount in changes]
    tried.apply(Entry(Position(at.ms, at.seq + 1 + index), batch) for index, batch in enumerate(batches))
    return standing(tried, runner)


@law(40)
@given(desked(), st.integers(0, 2), st.integers(1, 3), st.sampled_from([None, 0, 700]))
def test_advised_events_reach_the_standing_and_one_less_does_not(
    log: Log, runner: int, wanted: int, price: int | None
) -> None:
    race = raced(entries_of(log))
    before = state(race)
    found = advise(race, runner, Target(standing=wanted), price=price, mode="exact")
    assert state(race) == before
    assume(found.wanted is not None)
    for change in found.alone:
        assert change.number is not None
        assert _after(race, runner, (change.event, change.number, change.amount)) == change.reaches_standing
        assert (change.reaches_standing or 0) <= wanted
        if change.number > 1:
            assert _after(race, runner, (change.event, change.number - 1, change.amount)) > wanted
    if found.mix is not None:
        mixed = [(change.event, change.number or 0, change.amount) for change in found.mix.changes]
        assert _after(race, runner, *mixed) == found.mix.reaches_standing <= wanted


@law(40)
@given(desked(), st.integers(0, 2))
def test_a_standing_lasts_as_long_as_is_said(log: Log, runner: int) -> None:
    """A moment before it is as good, then it is worse; nothing happens but time."""
    race = raced(entries_of(log))
    now = standing(race, runner)
    found = advise(race, runner, Target(), price=None, mode="exact")
    end_ms = race.moment_ms + 2 * race.rule.window_ms + race.rule.bucket_ms
    alone = race.copy()
    while (at_ms := alone.due_ms()) is not None and at_ms <= end_ms:
        alone.apply([Entry(Position(at_ms, 0), Tick())])
        if standing(alone, runner) > now:
            assert found.lasts_ms == at_ms - race.moment_ms
            return
    assert found.lasts_ms is None


@law(6)
@given(desked(), st.integers(0, 6))
def test_a_what_if_whose_time_runs_out_tells_the_boards_so_far_and_how_far_it_came(log: Log, batches: int) -> None:
    """They are the first boards of the whole answer; none is told of a moment that was not reached."""
    entries = entries_of(log)
    span = Span(START_MS, entries[-1].position.ms, 500, 10_000)
    draft = Draft(put=[{"kind": "pin", "id": "z", "product": "product-1", "slot": 1}])
    one_by_one = [[entry] for entry in entries]
    left = iter([True] * batches)
    whole = what_if(Race(), draft, one_by_one, span)
    some = what_if(Race(), draft, one_by_one, span, in_time=lambda: next(left, False))
    assert whole.whole
    assert some.whole == (batches >= len(entries))
    assert some.boards == whole.boards[: len(some.boards)]
    assert all(board.at_ms <= some.until_ms for board in some.boards)
    if some.whole:
        assert some == whole
