"""Boards of segments: each is what its own events alone, and those of the whole venue, come to by the stated rule."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.entries import Body, Enrolment, Entry, OrdersChange, RuleChange, Runner, Tick
from racing.events import EventBatch, table_of
from racing.explain import added_up, explained
from racing.formula import FORMULA
from racing.model import Position
from racing.preview import preview
from racing.questions import Draft, rule_document
from racing.race import Race
from tests.laws.logs import START_MS, law, rule_of

SEGMENTS = ("new", "old")
PRIOR = 3.0
TERMS: tuple[dict[str, Any], ...] = (
    {"metric": "click", "signal": "level", "weight": 1},
    {"metric": "pay_amount", "signal": "uplift", "weight": 0.5},
)
RULE = {**rule_of(*TERMS), "segments": {"names": list(SEGMENTS), "prior": PRIOR}}
KINDS = ("click", "pay")
SIZE = 4


class Event(NamedTuple):
    """One event of a shopper of a segment; one of no declared segment counts for the venue alone."""

    kind: str
    runner: int
    amount: int
    segment: str | None


class Step(NamedTuple):
    """Some time goes by, and events come; none: only time."""

    after_ms: int
    events: list[Event]


events_of = st.builds(
    Event,
    st.sampled_from(KINDS),
    st.integers(0, SIZE - 1),
    st.integers(0, 5),
    st.sampled_from([None, "new", "new", "old", "else"]),
)
steps_of = st.lists(
    st.builds(Step, st.sampled_from([0, 100, 300, 700, 1_900]), st.lists(events_of, max_size=4)), max_size=8
)


def batch_of(events: list[Event]) -> EventBatch:
    """As it comes out of the log."""
    segment, segments = table_of([event.segment for event in events])
    batch = EventBatch(
        kinds=KINDS,
        kind=np.array([KINDS.index(event.kind) for event in events]),
        runner=np.array([event.runner for event in events]),
        amount=np.array([event.amount if event.kind == "pay" else 0 for event in events]),
        segment=segment,
        segments=segments,
    )
    return EventBatch.unpack(batch.pack())


def entries_of(steps: list[Step], rule: dict[str, Any] = RULE, only: str | None = None) -> list[Entry]:
    """The log of these steps; only: without the events of other segments, at the same moments."""
    runners = [(number, Runner(f"p{number}", "m", "t")) for number in range(SIZE)]
    bodies: list[tuple[int, Body]] = [(0, RuleChange(1, rule)), (0, Enrolment(runners))]
    at_ms = 0
    for after_ms, events in steps:
        at_ms += after_ms
        kept = [event for event in events if only is None or event.segment == only]
        bodies.append((at_ms, batch_of(kept) if kept else Tick()))
    return [Entry(Position(START_MS + at_ms, seq), body) for seq, (at_ms, body) in enumerate(bodies)]


def raced(entries: list[Entry]) -> Race:
    race = Race()
    race.apply(entries)
    return race


def boards(race: Race) -> dict[str, list[tuple[str, float]]]:
    shown = race.shown()
    return {name: [(slot.product, slot.score) for slot in slots] for name, slots in shown.segments.items()}


@law(60)
@given(steps_of, st.integers(0, 10), st.booleans())
def test_however_a_log_is_cut_or_restored_the_segments_stand_the_same(
    steps: list[Step], cut: int, looked: bool
) -> None:
    entries = entries_of(steps)
    whole, parts = raced(entries), raced(entries[:cut])
    first = parts.checkpoint(full=True)[0]
    later = []
    for entry in entries[cut:]:
        parts.apply([entry])
        if looked:
            parts.shown()
        if parts.checkpoint_due:
            later.append(parts.checkpoint()[0])
    again = Race.restore([first, *later])
    again.apply(entries)
    assert boards(parts) == boards(whole)
    assert boards(again) == boards(whole)


@law(60)
@given(steps_of)
def test_a_segment_stands_as_its_own_sums_drawn_towards_the_venues_say(steps: list[Step]) -> None:
    venue = raced(entries_of(steps))
    plain = {**RULE}
    del plain["segments"]
    for name in SEGMENTS:
        own = raced(entries_of(steps, plain, only=name))
        expected = {f"p{runner}": expected_score(venue, own, runner) for runner in range(SIZE)}
        slots = venue.shown().segments[name]
        assert {slot.product: slot.score for slot in slots} == {
            product: pytest.approx(score, abs=1e-9) for product, score in expected.items()
        }
        assert [slot.score for slot in slots] == sorted((slot.score for slot in slots), reverse=True)
        for slot in slots:
            assert sum(term.contribution for term in slot.terms) == pytest.approx(slot.score, abs=1e-9)


def expected_score(venue: Race, own: Race, runner: int) -> float:
    """The rule of racing/segments.py, number by number."""
    clicks, pays, paid = (
        2 * venue.kinds["click"],
        2 * venue.kinds["pay"],
        2 * venue.kinds["pay"] + 1,
    )

    def drawn(measure: int) -> tuple[float, float]:
        counts = sum(
            int(own.windows.window[runner, each]) + int(own.windows.base_tenths[runner, each]) / 10
            for each in (clicks, pays)
        )
        w = counts / (counts + PRIOR)
        held = [int(race.held.now[measure]) + int(race.held.before[measure]) for race in (own, venue)]
        q = held[0] / held[1] if held[1] else 0.0
        found = []
        for name, scale in (("window", 1), ("base_tenths", 10)):
            mine, theirs = (int(getattr(race.windows, name)[runner, measure]) / scale for race in (own, venue))
            found.append(w * mine / q + (1 - w) * theirs if q > 0 else theirs)
        return found[0], found[1]

    return drawn(clicks)[0] + 0.5 * (drawn(paid)[0] - drawn(paid)[1])


@law(40)
@given(steps_of)
def test_an_explanation_in_a_segment_has_its_slot_and_score_and_adds_up_bit_for_bit(steps: list[Step]) -> None:
    """And what it says of the drawing is how the scored sums were made."""
    race = raced(entries_of(steps))
    shown = race.shown()
    for name in SEGMENTS:
        for slot in shown.segments[name]:
            found = explained(race, slot.runner, name)
            assert (slot.slot, slot.standing, slot.score) == (found.slot, found.standing, found.score)
            assert (slot.terms, found.score) == (found.terms, found.summed)
            assert added_up(found.terms) == found.summed
            drawn = found.segment
            assert drawn is not None
            assert (name, PRIOR, drawn.events / (drawn.events + PRIOR)) == (drawn.name, drawn.prior, drawn.weight)
            assert list(race.rule.metrics) == [each.metric for each in drawn.sums]
            for own, whole in zip(drawn.sums, found.sums, strict=True):
                for mine, theirs, scored in (
                    (own.window, whole.window, own.drawn_window),
                    (own.base, whole.base, own.drawn_base),
                ):
                    alone = mine / own.part if own.part else theirs
                    assert scored == pytest.approx(drawn.weight * alone + (1 - drawn.weight) * theirs, abs=1e-9)


@law(30)
@given(steps_of)
def test_a_preview_in_a_segment_is_the_board_that_the_rule_then_makes_there(steps: list[Step]) -> None:
    race = raced(entries_of(steps))
    present = Draft(rule=rule_document(race.rule))
    other = {**RULE, **rule_of({"metric": "pay_amount", "signal": "level", "weight": 1})}
    for name in SEGMENTS:
        now = race.shown().segments[name]
        same, found = (preview(race, draft, segment=name) for draft in (present, Draft(rule=other)))
        assert (now, name, 1.0 if now else 0.0) == (same.slots, same.segment, same.overlap)
        assert not [*same.entered, *same.left, *same.rose, *same.fell]
        after = race.copy()
        at = Position(race.position.ms, race.position.seq + 1)
        after.apply([Entry(at, RuleChange(2, other, formula=FORMULA))])
        then = after.shown().segments[name]
        assert then == found.slots
        moved = {
            move.product: (move.slot_before, move.slot_after, move.score_before, move.score_after)
            for move in (*found.entered, *found.left, *found.rose, *found.fell)
        }
        before = {slot.product: slot for slot in now}
        assert moved == {
            slot.product: (before[slot.product].slot, slot.slot, before[slot.product].score, slot.score)
            for slot in then
            if before[slot.product].slot != slot.slot
        }


def test_a_draft_that_does_not_declare_the_segment_shows_the_whole_venue() -> None:
    race = raced(entries_of([Step(0, [Event("click", 2, 0, "new")] * 3 + [Event("click", 1, 0, "old")] * 5)]))
    plain = {name: value for name, value in RULE.items() if name != "segments"}
    found = preview(race, Draft(rule=plain), segment="old")
    assert found.slots == race.slots()


def test_an_explanation_where_the_segment_is_not_declared_is_the_whole_venues() -> None:
    race = raced(entries_of([Step(0, [Event("click", 2, 0, "new")])]))
    assert explained(race, 2, "gold") == explained(race, 2)


def test_a_segment_without_events_stands_as_the_whole_venue() -> None:
    race = raced(entries_of([Step(0, [Event("click", 2, 0, None)] * 3), Step(2_500, [Event("click", 1, 0, "else")])]))
    slots = race.shown().slots
    assert boards(race) == {name: [(slot.product, slot.score) for slot in slots] for name in SEGMENTS}


def test_an_exclusion_reaches_every_segment() -> None:
    race = raced(entries_of([Step(0, [Event("click", 2, 0, "new")] * 3)]))
    gone = OrdersChange([{"kind": "exclude", "id": "x", "product": "p2", "reason": "complaints"}])
    race.apply([Entry(Position(START_MS + 1, 0), gone)])
    assert {name: "p2" in dict(board) for name, board in boards(race).items()} == {"new": False, "old": False}


def test_a_segment_that_is_no_longer_declared_has_no_board() -> None:
    race = raced(entries_of([]))
    fewer = {**RULE, "segments": {"names": ["old"], "prior": PRIOR}}
    race.apply([Entry(Position(START_MS + 5, 0), RuleChange(2, fewer))])
    assert list(boards(race)) == ["old"]
