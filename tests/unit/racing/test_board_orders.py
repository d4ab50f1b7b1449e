"""Orders of the desk in the fold: what each makes of the board, when it holds, and which of two wins."""

from __future__ import annotations

import pytest

from racing.entries import (
    DECISION_FIELD,
    Enrolment,
    Entry,
    OrdersChange,
    Tick,
    Unreadable,
    decode_body,
    encode_decision,
)
from racing.model import Position, Step
from racing.race import Race
from tests.laws.logs import START_MS, batch_of, state
from tests.unit.racing.venues import BoardVenue, boost, document, exclude, pin

# -- what cannot be done ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [{"kind": "nail", "id": "a"}, {"kind": "pin"}, {}, pin("a", "p1", 0), {"kind": "phase", "id": "a"}]
)
def test_an_order_that_cannot_be_read_is_counted_and_the_others_of_its_change_hold(order: dict[str, object]) -> None:
    venue = BoardVenue()
    venue.put(order, pin("b", "p9", 1))

    assert 1 == venue.race.counts.unreadable
    assert "9 0 1 2 3 4" == venue.board()


def test_the_newer_of_two_pins_to_one_slot_holds_it_and_the_older_is_told() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2))
    venue.put(pin("b", "p8", 2), at_ms=1)

    assert "0 8 1 2 3 4" == venue.board()
    assert ["pin a: slot 2 is held by the newer pin b"] == venue.told()
    assert 1 == venue.shown.conflicts


def test_of_two_pins_of_one_change_the_later_one_is_the_newer() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2), pin("b", "p8", 2))

    assert "0 8 1 2 3 4" == venue.board()


def test_a_pin_that_is_put_again_is_the_newer_one() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2), pin("b", "p8", 2))
    venue.put(pin("a", "p9", 2))

    assert "0 9 1 2 3 4" == venue.board()


def test_the_newer_of_two_pins_of_one_product_holds_it() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2), pin("b", "p9", 4))

    assert "0 1 2 9 3 4" == venue.board()
    assert ["pin a: p9 is held by the newer pin b"] == venue.told()


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (pin("a", "nobody", 1), "pin a: nobody is not enrolled"),
        (pin("a", "p9", 7), "pin a: slot 7 is beyond the board's 6"),
        (pin("a", "p9", 7, hard=False), "pin a: slot 7 is beyond the board's 6"),
        (
            document("emergency", "a", products=["nobody"]),
            "emergency a: nobody is not enrolled; slot 1 goes to the race",
        ),
    ],
)
def test_an_order_without_effect_is_told_and_the_board_goes_on(order: dict[str, object], told: str) -> None:
    venue = BoardVenue()
    venue.put(order)

    assert "0 1 2 3 4 5" == venue.board()
    assert [told] == venue.told()


def test_a_pin_holds_its_product_as_soon_as_that_is_enrolled() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p12", 1))
    venue.enrol(12, entry_score=-5.0)

    assert "12 0 1 2 3 4" == venue.board()


def test_a_pin_behind_all_products_is_told() -> None:
    venue = BoardVenue(size=3)
    venue.put(pin("a", "p0", 5))

    assert "1 2 0" == venue.board()
    assert ["pin a: there are not enough products before slot 5"] == venue.told()


def test_more_soft_pins_than_slots_are_told() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 1, hard=False), pin("b", "p8", 1, hard=False))

    assert "8 9 0 1 2 3" == venue.board()
    assert ["pin a: there are more pins to slots up to 1 than slots"] == venue.told()


def test_of_two_emergency_orders_the_newer_is_served() -> None:
    venue = BoardVenue()
    venue.put(document("emergency", "a", products=["p9"]))
    venue.put(document("emergency", "b", products=["p8", "p7"]))

    assert "8 7 0 1 2 3" == venue.board()
    assert ["emergency a: the newer b is served"] == venue.told()


# -- each by itself ----------------------------------------------------------------------------------------------


def test_a_hard_pin_takes_its_slot_and_the_others_flow_round_it() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p0", 3), pin("b", "p11", 1, label="paid"))
    slots = venue.shown.slots

    assert "11 1 0 2 3 4" == venue.board()
    assert (("paid",), (), ("pinned",)) == tuple(slot.labels for slot in slots[:3])
    assert [12, 2, 1] == [slot.standing for slot in slots[:3]]
    assert [("hard pins", 12, 1)] == venue.steps(11)
    assert "pin b" == slots[0].steps[0].by


def test_a_soft_pin_lifts_to_its_slot_and_never_lowers() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 3, hard=False), pin("b", "p0", 5, hard=False))

    assert "0 1 9 2 3 4" == venue.board()


def test_soft_pins_to_one_slot_stand_in_their_own_order_where_both_have_room() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p0", 2, hard=False))
    venue.put(pin("b", "p9", 2, hard=False))

    assert "0 9 1 2 3 4" == venue.board()


def test_soft_pins_all_have_room_where_there_is_any_way() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2, hard=False), pin("b", "p8", 2, hard=False), pin("c", "p7", 3, hard=False))

    assert "8 9 7 0 1 2" == venue.board()
    assert [] == venue.told()


def test_a_boost_multiplies_a_positive_score_and_divides_a_negative_one() -> None:
    venue = BoardVenue()
    venue.enrol(3, entry_score=-8.0)
    venue.put(boost("a", 4, product="p3"), boost("b", 4, product="p11"))

    assert [-2.0, 4.0] == [venue.race.scores[3], venue.race.scores[11]]
    for number in (3, 11):
        explained = venue.explain(number)
        assert explained.score == sum(term.contribution for term in explained.terms)


def test_of_boosts_that_overlap_the_greatest_counts() -> None:
    venue = BoardVenue()
    venue.put(boost("a", 0.5, product="p11"), boost("b", 3, merchant="m2"), boost("c", 2, category="c1"))

    assert 3.0 == venue.race.scores[11]


def test_a_bury_alone_buries() -> None:
    venue = BoardVenue()
    venue.put(boost("a", 0.5, product="p0"))

    assert "1 2 3 4 5 0" == venue.board()  # p6 has as much, and was enrolled later


def test_a_boost_means_a_tag() -> None:
    venue = BoardVenue()
    venue.put(boost("a", 10, tag="gift"))

    assert "7 0 1 2 3 4" == venue.board()


def test_boosts_stay_within_the_bounds_of_the_rule() -> None:
    venue = BoardVenue(boosts={"floor": 0.5, "cap": 2})
    venue.put(boost("a", 50, product="p11"), boost("b", 0.01, product="p0"))

    assert [2.0, 6.0] == [venue.race.scores[11], venue.race.scores[0]]


def test_an_excluded_product_leaves_the_board_and_keeps_its_standing() -> None:
    venue = BoardVenue()
    venue.put(exclude("a", product="p1"), exclude("b", merchant="m0"))

    assert "2 4 5 7 8 10" == venue.board()
    explained = venue.explain(1)
    assert (2, None) == (explained.standing, explained.slot)
    assert Step("exclude", 2, None, "a: complaints") == explained.out
    assert [("exclude", 3, 1)] == venue.steps(2)

    venue.put(withdraw=["a", "b"])
    assert "0 1 2 3 4 5" == venue.board()


def test_a_board_is_empty_only_where_products_are_lacking() -> None:
    venue = BoardVenue()
    venue.put(exclude("a", merchant="m0"), exclude("b", merchant="m1"))

    assert "2 5 8 11" == venue.board()


def test_a_product_that_the_scores_leave_below_is_told_so() -> None:
    assert Step("standings", 9, 9) == BoardVenue().explain(8).out


def test_a_freeze_keeps_slots_as_they_stood_and_a_thaw_lets_them_go() -> None:
    venue = BoardVenue()
    venue.clicks(5, 20)
    venue.put(document("freeze", "f", slots=2))
    venue.clicks(9, 50)
    venue.clicks(8, 40)

    assert "5 0 9 8 1 2" == venue.board()
    venue.put(withdraw=["f"])
    assert "9 8 5 0 1 2" == venue.board()


def test_a_frozen_board_that_is_frozen_again_stays() -> None:
    venue = BoardVenue()
    venue.put(document("freeze", "f"))
    venue.clicks(9, 50)
    venue.put(document("freeze", "f", slots=2))
    venue.put(document("freeze", "g", slots=1))

    assert "0 1 9 2 3 4" == venue.board()


def test_the_newer_of_two_freezes_counts_where_they_meet() -> None:
    venue = BoardVenue()
    venue.put(document("freeze", "f", slots=1))
    venue.clicks(9, 50)
    venue.put(document("freeze", "g", slots=3))

    assert "0 9 1 2 3 4" == venue.board()
    venue.clicks(10, 90)
    assert "0 9 1 10 2 3" == venue.board()


def test_what_is_excluded_leaves_a_frozen_board_and_comes_back_to_its_slot() -> None:
    venue = BoardVenue()
    venue.put(document("freeze", "f"))
    venue.put(exclude("a", product="p1"))

    assert "0 6 2 3 4 5" == venue.board()
    venue.put(withdraw=["a"])
    assert "0 1 2 3 4 5" == venue.board()


def test_an_emergency_order_is_served_while_the_race_goes_on_beneath() -> None:
    venue = BoardVenue()
    venue.put(document("emergency", "e", products=["p9", "p1", "p8"]))

    assert "9 1 8 0 2 3" == venue.board()
    assert "operators" == venue.shown.served
    venue.clicks(5, 20)
    assert "9 1 8 5 0 2" == venue.board()
    assert 27.0 == venue.race.scores[5]


def test_what_is_excluded_leaves_an_emergency_order_and_its_slot_goes_to_the_race() -> None:
    venue = BoardVenue()
    venue.put(document("emergency", "e", products=["p9", "p1", "p8"]), exclude("a", product="p9"))

    assert "0 1 8 2 3 4" == venue.board()
    assert ["emergency e: p9 is excluded or sold out; slot 1 goes to the race"] == venue.told()


# -- when ----------------------------------------------------------------------------------------------------------


def test_an_order_holds_from_its_start_until_just_before_its_end_whatever_comes_between() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 1, start_ms=1000, end_ms=3000))
    seen = []
    for at_ms in (999, 1000, 2999, 3000):
        venue.tick(at_ms)
        seen.append(venue.board().split()[0])

    assert ["0", "9", "9", "0"] == seen


def test_a_venue_at_rest_is_due_when_an_order_begins_and_when_it_ends() -> None:
    venue = BoardVenue()
    assert venue.race.due_ms() is None

    venue.put(pin("a", "p9", 1, start_ms=1000, end_ms=3000))
    assert START_MS + 1000 == venue.race.due_ms()
    venue.tick(1000)
    assert START_MS + 3000 == venue.race.due_ms()
    venue.tick(3000)
    assert venue.race.due_ms() is None


def test_an_order_that_is_not_active_makes_nothing_due() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 1, start_ms=1000, active=False))

    assert venue.race.due_ms() is None


def test_a_freeze_that_began_while_nothing_came_keeps_the_board_of_its_beginning() -> None:
    """Time stops at its beginning on the way to the next entry: the clicks' window had not passed by then."""
    venue = BoardVenue()
    venue.clicks(9, 50)
    venue.put(document("freeze", "f", start_ms=3000))
    venue.tick(60_000)

    assert "9 0 1 2 3 4" == venue.board()
    assert 3.0 == venue.race.scores[9]


def test_a_boost_that_began_and_ended_while_nothing_came_leaves_no_trace() -> None:
    venue, plain = BoardVenue(), BoardVenue()
    venue.put(boost("a", 5, product="p9", start_ms=1000, end_ms=2000))
    venue.tick(5000)
    plain.tick(5000)

    assert plain.race.scores.tolist() == venue.race.scores.tolist()


def test_events_of_one_batch_are_folded_on_both_sides_of_a_freeze() -> None:
    """Entries that are read together, before and after its beginning, count as if each had come alone."""
    entries = [
        Entry(Position(START_MS + at_ms, 100 + at_ms), batch_of([{"runner": number, "type": "click"}] * count))
        for at_ms, number, count in ((10, 9, 50), (40, 8, 60), (50, 7, 70), (60, 6, 80))
    ]
    one_by_one, at_once = BoardVenue(), BoardVenue()
    for venue in (one_by_one, at_once):
        venue.put(document("freeze", "f", start_ms=50))
    for entry in entries:
        one_by_one.race.apply([entry])
    at_once.race.apply(entries)

    assert "8 9 0 1 2 3" == at_once.board()
    assert state(one_by_one.race) == state(at_once.race)


# -- kept ------------------------------------------------------------------------------------------------------------


def test_orders_are_in_the_checkpoint_and_what_they_remember() -> None:
    venue = BoardVenue(stock={"policy": "drop"})
    venue.put(pin("a", "p9", 2), boost("b", 3, merchant="m2"), exclude("c", product="p3"), document("freeze", "f"))
    venue.clicks(8, 50)
    venue.stock(1, 0)

    assert state(venue.race) == state(venue.restored())


def test_a_checkpoint_of_before_there_were_orders_is_one_without_any() -> None:
    race = Race.restore([])
    race.apply([Entry(Position(START_MS, 0), Tick())])

    assert [] == race.steering.book.documents()


def test_a_change_of_orders_is_read_back_from_the_log() -> None:
    change = OrdersChange([pin("a", "p9", 2)], ["b"], author="ann", note="夜场")
    body = decode_body({DECISION_FIELD: encode_decision(change)})

    assert not isinstance(body, Unreadable | Enrolment)
    assert isinstance(body, OrdersChange)
    assert (change.put, change.withdraw) == (body.put, body.withdraw)


def test_orders_that_have_ended_are_forgotten() -> None:
    venue = BoardVenue()
    venue.put(pin("a", "p9", 2, end_ms=1000), pin("b", "p8", 1))
    venue.tick(1000)

    assert ["b"] == [order["id"] for order in venue.race.steering.book.documents()]


def test_slot_tells_stock_and_price_as_events_have_stated_them() -> None:
    """Only where that is other than what the product's data says; new data is in force again."""
    venue = BoardVenue()
    assert all((slot.stock, slot.price) == (None, None) for slot in venue.shown.slots)
    venue.stock(0, 3)
    venue.stock(1, 5)
    stocks = {slot.runner: slot.stock for slot in venue.shown.slots}
    assert (stocks[0], stocks[1]) == (3, None), "of the second five were given as well"
    assert {slot.runner: slot.stock for slot in venue.restored().shown().slots} == stocks
    venue.enrol(0, at_ms=10, stock=9)
    assert venue.shown.slots[0].stock is None
