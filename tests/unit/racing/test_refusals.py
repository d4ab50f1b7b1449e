"""What refuses a change of orders, whichever way it comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.errors import ConflictError, NotFoundError, OrderError
from racing.orders import ORDERS_MAX, Order, Pin, parse_order
from racing.refusals import check_change, check_enrolled, products_of

RULE = {"metrics": {"a": {"event": "order"}}, "terms": [{"metric": "a", "signal": "level", "weight": 1}]}
NOW_MS = 1_000


def order(**given: Any) -> Order:
    return parse_order({"kind": "pin", "id": "x", "product": "a", "slot": 1, **given})


def phase(name: str, start_ms: int, **given: Any) -> Order:
    document = {"kind": "phase", "id": name, "title": "t", "rule": RULE, "version": 1, "start_ms": start_ms}
    return parse_order({**document, **given})


def change(held: list[Order], *put: Order, withdraw: tuple[str, ...] = (), now_ms: int = NOW_MS) -> None:
    check_change({each.id: each for each in held}, put, withdraw, now_ms=now_ms, slots=5)


def test_a_pin_beyond_the_board_names_field_value_and_bound() -> None:
    with pytest.raises(OrderError, match="slot: must be at most 5") as caught:
        change([], order(slot=6))
    assert caught.value.fields == (("slot", "must be at most 5, the slots of the board", "6"),)


def test_a_phase_may_bring_the_slots_that_a_pin_needs() -> None:
    change([phase("wide", 2_000, rule={**RULE, "board": {"slots": 8}})], order(slot=8))


def test_a_withdrawal_of_nothing_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="'y'"):
        change([order()], withdraw=("y",))


def test_too_many_orders_are_refused() -> None:
    held = [parse_order({"kind": "boost", "id": f"b-{n}", "product": "a", "factor": 2}) for n in range(ORDERS_MAX)]
    change(held[:-1], order())
    with pytest.raises(ConflictError, match="at most 2000"):
        change(held, order())


def test_soft_pins_and_those_that_are_off_hold_no_slot() -> None:
    for other in ({"hard": False}, {"active": False}, {"end_ms": 500, "start_ms": 0}):
        change([order(**other)], order(id="y", product="b", start_ms=500))


def test_a_pin_may_be_moved_to_its_own_slot_again() -> None:
    change([order()], order(slot=1, note="again"), order(id="y", product="b", slot=2))


def test_a_pin_may_take_the_slot_of_one_that_is_withdrawn_with_it() -> None:
    change([order()], order(id="y", product="b"), withdraw=("x",))


@pytest.mark.parametrize("start_ms", [0, NOW_MS])
def test_a_phase_begins_in_the_future(start_ms: int) -> None:
    with pytest.raises(OrderError, match="must be after now, 1000"):
        change([], phase("p", start_ms))


def test_a_phase_that_has_ended_may_be_withdrawn_and_one_that_holds_may_not() -> None:
    change([phase("p", 10, end_ms=20)], withdraw=("p",))
    with pytest.raises(ConflictError, match="began at 10"):
        change([phase("p", 10)], withdraw=("p",))


def test_other_orders_may_change_while_a_phase_holds() -> None:
    change([phase("p", 10)], order(), phase("p", 10))


def test_products_are_looked_for_wherever_an_order_names_them() -> None:
    orders = [
        order(product="a"),
        parse_order({"kind": "boost", "id": "b", "product": "b", "factor": 2}),
        parse_order({"kind": "boost", "id": "c", "merchant": "m", "factor": 2}),
        parse_order({"kind": "exclude", "id": "d", "product": "d", "reason": "r"}),
        parse_order({"kind": "emergency", "id": "e", "products": ["e", "f"]}),
        parse_order({"kind": "freeze", "id": "f"}),
    ]
    assert products_of(orders) == {"a", "b", "d", "e", "f"}
    check_enrolled(orders, {"a", "b", "d", "e", "f"}, "hall-1")
    with pytest.raises(OrderError, match="products: must be enrolled in venue 'hall-1', not \"f\""):
        check_enrolled(orders, {"a", "b", "d", "e"}, "hall-1")


TIMES = st.tuples(st.none() | st.integers(0, 6), st.none() | st.integers(1, 7))


@given(TIMES, TIMES, st.integers(1, 2), st.sampled_from("ab"), st.integers(0, 8))
def test_two_hard_pins_are_refused_just_when_some_moment_to_come_needs_both(
    one: tuple[int | None, int | None], two: tuple[int | None, int | None], slot: int, product: str, now_ms: int
) -> None:
    """Held against every moment one by one."""
    try:
        first = order(start_ms=one[0], end_ms=one[1])
        second = order(id="y", start_ms=two[0], end_ms=two[1], slot=slot, product=product)
    except OrderError:
        return  # ends before it starts
    assert isinstance(first, Pin)
    assert isinstance(second, Pin)
    meet = any(first.holds(moment) and second.holds(moment) for moment in range(now_ms, 10))
    if meet and (first.slot == second.slot or first.product == second.product):
        with pytest.raises(ConflictError, match="'x'"):
            change([first], second, now_ms=now_ms)
    else:
        change([first], second, now_ms=now_ms)
