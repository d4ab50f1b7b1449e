"""Rules off: the board is what the same race shows that nobody steers, whatever the desk has ordered."""

from __future__ import annotations

from typing import Any

import pytest

from racing.explain import added_up
from racing.plain import plain_board
from tests.unit.racing.venues import BoardVenue, boost, document, exclude, pin

EVERY_STEP: dict[str, Any] = {
    "stock": {"policy": "drop"},
    "stability": {"margin": 2},
    "newcomers": {"share": 0.5, "for_s": 60},
    "caps": [{"by": "merchant", "most": 1, "within": 3}],
    "shares": [{"by": "category", "value": "c0", "max": 0.5}],
    "tiers": [{"tier": "hero", "slots": "1-2"}],
}
ORDERS = (
    boost("up", 50, product="p9"),
    boost("down", 0.1, category="c1"),
    exclude("away", product="p1"),
    pin("first", "p8", 1),
    pin("early", "p10", 4, hard=False),
    document("freeze", "hold", slots=2),
    document("emergency", "alarm", products=["p11", "p3"]),
)


def raced(*orders: dict[str, Any], **board: Any) -> BoardVenue:
    """Two clicks lift p2 above p1 and p0; p3 is sold out."""
    venue = BoardVenue(**board)
    if orders:
        venue.put(*orders)
    venue.clicks(2, 3, at_ms=10)
    venue.stock(3, 0, at_ms=20)
    return venue


def test_a_race_without_runners_has_an_empty_board() -> None:
    assert plain_board(BoardVenue(size=0).race, 5).slots == ()


@pytest.mark.parametrize(("limit", "found"), [(2, 2), (6, 6), (1000, 6)])
def test_there_are_no_more_slots_than_asked_for_and_than_the_board_has(limit: int, found: int) -> None:
    assert len(plain_board(raced().race, limit).slots) == found


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: str(order["kind"]))
@pytest.mark.parametrize("step", EVERY_STEP)
def test_no_order_and_no_step_moves_anyone(order: dict[str, Any], step: str) -> None:
    """Slot by slot, score by score and term by term as the race that nobody steers, but for who is marked."""
    steered = plain_board(raced(order, **{step: EVERY_STEP[step]}).race, 6)
    alone = raced().shown.slots
    assert [(slot.product, slot.score, slot.terms, slot.standing) for slot in steered.slots] == [
        (slot.product, slot.score, slot.terms, index + 1) for index, slot in enumerate(alone)
    ]
    assert (steered.served, steered.told, steered.conflicts) == ("standings", (), 0)


def test_whoever_is_off_the_board_is_on_it_and_an_excluded_product_is_marked() -> None:
    venue = raced(*ORDERS, **EVERY_STEP)
    slots = plain_board(venue.race, 6).slots
    assert [slot.product for slot in slots] == ["p2", "p0", "p1", "p3", "p4", "p5"]
    assert [slot.labels for slot in slots] == [(), (), ("excluded",), (), (), ()]
    assert [slot.stock for slot in slots] == [None, None, None, 0, None, None]
    assert all(added_up(slot.terms) == slot.score for slot in slots)


def test_the_race_goes_on_as_if_nobody_had_asked() -> None:
    venue, other = raced(*ORDERS, **EVERY_STEP), raced(*ORDERS, **EVERY_STEP)
    plain_board(venue.race, 6)
    assert venue.shown == other.shown
    assert venue.race.checkpoint(full=True) == other.race.checkpoint(full=True)


def test_an_opening_order_is_the_races_own_and_stays() -> None:
    """A phase opens by entry scores before any evidence; only the boost above it is taken away."""
    rule = {"metrics": {"click": {"event": "click"}}, "terms": [{"metric": "click", "signal": "level", "weight": 1}]}
    phase = document("phase", "burst", title="burst", rule=rule, start_ms=50, version=2, formula=1)
    venue = BoardVenue()
    venue.put(phase, boost("up", 50, product="p9"))
    venue.tick(60)
    assert venue.shown.slots[0].product == "p9"
    slots = plain_board(venue.race, 3).slots
    assert [slot.product for slot in slots] == ["p0", "p1", "p2"]
    assert [slot.terms[-1].name for slot in slots] == ["opening"] * 3
