"""Alerts are what differs between two scenes of a merchant, and a scene is as it was before later decisions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.alert_reading import Since
from api.alerts import NOTHING, WHOLE, Alert, Before, Kind, Scene, Seen, alerts, is_low
from racing.decisions import Change, Decision
from racing.entries import Runner
from racing.model import Frame, Slot
from racing.orders import Exclusion, parse_order
from racing.store.audit import Told

PAGE = 2


def exclusion(name: str = "x-1", **given: Any) -> Exclusion:
    aim = {} if "merchant" in given else {"product": "a"}
    order = parse_order({"kind": "exclude", "id": name, "reason": "recall", **aim, **given})
    assert isinstance(order, Exclusion)
    return order


def seen(slot: int, stock: int | None = None) -> Seen:
    return Seen(slot, "The a", stock)


def kinds(was: Seen | None, now: Seen | None) -> list[str]:
    old, new = (Scene({} if each is None else {"a": each}) for each in (was, now))
    return [alert.kind for alert in alerts(old, new, PAGE)]


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-1", "1-1.", "1-1.x", "1-1.-2", "1-1.²"])
def test_what_names_no_frame_is_no_since(text: str) -> None:
    assert Since.parse(text) is None


@pytest.mark.parametrize("text", ["7-12", "7-12.1763740800150"])
def test_since_is_read_as_it_was_written(text: str) -> None:
    assert str(Since.parse(text)) == text


# -- what changed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (None, None, []),
        (seen(1), seen(2), []),
        (seen(2), seen(3), ["left_page"]),
        (seen(3), seen(2), ["entered_page"]),
        (seen(3), None, ["left_board"]),
        (seen(1, 0), None, ["left_board", "left_page"]),
        (None, seen(3, 480), ["entered_board"]),
        (None, seen(1, 7), ["entered_board", "entered_page", "low_stock"]),
        (seen(3, 480), seen(3, 10), ["low_stock"]),
        (seen(3, 480), seen(3, 11), []),
        (seen(3, 9), seen(3, 8), []),
        (seen(3, 9), seen(3, 0), ["sold_out"]),
        (seen(3, 0), seen(3, 0), []),
        (seen(3, 0), seen(3, 480), ["back_in_stock"]),
        (seen(3, 0), seen(3, 3), ["low_stock", "back_in_stock"]),
        (seen(3, 0), seen(3, None), []),
    ],
)
def test_each_thing_is_told_where_it_has_changed(was: Seen | None, now: Seen | None, told: list[str]) -> None:
    assert kinds(was, now) == told


def test_exclusion_is_told_with_its_order_and_its_end() -> None:
    order = exclusion(end_ms=9)
    (told,) = alerts(Scene({"a": seen(3)}), Scene({"a": seen(3)}, {"a": order}), PAGE)
    assert told == Alert("excluded", "a", "The a", 3, 3, order="x-1", reason="recall", withdrawn=False, until_ms=9)
    (told,) = alerts(Scene({}, {WHOLE: order}), NOTHING, PAGE)
    assert (told.kind, told.product, told.title, told.reason) == ("restored", None, None, "recall")
    assert alerts(Scene({}, {"a": order}), Scene({}, {"a": exclusion("x-2")}), PAGE) == []


_SEEN = st.builds(Seen, st.integers(1, 4), st.just("One"), st.none() | st.sampled_from([0, 1, 10, 11]))
_SCENES = st.builds(
    Scene,
    st.dictionaries(st.sampled_from("abc"), _SEEN),
    st.dictionaries(st.sampled_from(["a", "b", WHOLE]), st.just(exclusion())),
)


@given(_SCENES, _SCENES)
def test_whoever_follows_alerts_knows_what_holds(old: Scene, new: Scene) -> None:
    """State that is kept by alerts alone is that of the new scene, whatever the two are."""

    def holding(scene: Scene) -> dict[str, set[str]]:
        told = alerts(NOTHING, scene, PAGE)
        return {kind: {alert.product or WHOLE for alert in told if alert.kind == kind} for kind in _UNDONE}

    state = holding(old)
    for alert in alerts(old, new, PAGE):
        for kind, undone in _UNDONE.items():
            if alert.kind == kind:
                assert (alert.product or WHOLE) not in state[kind], "told before"
                state[kind].add(alert.product or WHOLE)
            elif alert.kind == undone:
                state[kind].remove(alert.product or WHOLE)
    assert state == holding(new)


_UNDONE: dict[Kind, Kind] = {
    "entered_board": "left_board",
    "entered_page": "left_page",
    "excluded": "restored",
}


@given(_SCENES)
def test_nothing_is_told_of_what_stays(scene: Scene) -> None:
    assert alerts(scene, scene, PAGE) == []


@pytest.mark.parametrize(("stock", "low"), [(None, False), (0, False), (1, True), (10, True), (11, False)])
def test_low_is_one_to_ten(stock: int | None, low: bool) -> None:
    assert is_low(stock) is low


# -- as it was ------------------------------------------------------------------------------------------------


def told(what: Any, *changes: Change, entry: str = "5-0") -> Told:
    return Told(entry, Decision("op", what, list(changes)))


def document(order: Exclusion) -> dict[str, Any]:
    return order.model_dump(mode="json", exclude_none=True)


def runner(product: str, merchant: str = "m-1", stock: int | None = None) -> Runner:
    return Runner(product, merchant, f"The {product}", stock=stock)


def board(*products: str) -> Frame:
    slots = tuple(Slot(index + 1, index, product, 1.0) for index, product in enumerate(products))
    return Frame("hall-1", 1, 1, "1-0", 1, 1, len(products), 1, slots)


def test_only_own_products_are_seen() -> None:
    frame, runners = board("a", "b", "c"), {0: runner("a", stock=4), 1: runner("b", "m-2")}
    assert Before().seen(frame, runners, "m-1") == {"a": Seen(1, "The a", 4)}
    assert Before().seen(frame, runners, "m-3") == {}


def test_stock_that_events_have_stated_is_in_force() -> None:
    frame = board("a")
    frame = msgspec.structs.replace(frame, slots=(msgspec.structs.replace(frame.slots[0], stock=0),))
    assert Before().seen(frame, {0: runner("a", stock=4)}, "m-1")["a"].stock == 0


def test_data_is_that_of_before_the_oldest_decision() -> None:
    first, second, third = (msgspec.to_builtins(runner("a", stock=stock)) for stock in (4, 5, 6))
    before = Before.of([told("enrol", Change("", second, third)), told("enrol", Change("", first, second))])
    assert before.seen(board("a"), {0: runner("a", stock=6)}, "m-1")["a"].stock == 4


def test_product_that_was_swapped_is_seen_where_it_was_and_the_other_is_not() -> None:
    """Both raced under one number."""
    change = Change("", msgspec.to_builtins(runner("a")), msgspec.to_builtins(runner("b", "m-2")))
    runners = {0: runner("b", "m-2")}
    assert Before.of([told("swap", change)]).seen(board("a"), runners, "m-1").keys() == {"a"}
    assert Before().seen(board("b"), runners, "m-2").keys() == {"b"}
    assert Before().seen(board("a"), runners, "m-2") == {}


def test_exclusions_are_those_of_the_moment_and_before_later_decisions() -> None:
    orders = {"x-1": exclusion(start_ms=10, end_ms=20), "x-2": exclusion("x-2", merchant="m-2"), "p": object()}
    assert Before().excluded(orders, 9, "m-1") == Before().excluded(orders, 20, "m-1") == {}
    assert Before().excluded(orders, 10, "m-1") == {"a": orders["x-1"]}
    assert Before().excluded(orders, 9, "m-2") == {WHOLE: orders["x-2"]}
    put = told("orders", Change("x-1", None, document(exclusion())))
    withdrawn = told("orders", Change("x-3", document(exclusion("x-3")), None))
    assert Before.of([put]).excluded(orders, 10, "m-1") == {}
    assert Before.of([withdrawn]).excluded({}, 10, "m-1") == {"a": exclusion("x-3")}


def test_what_cannot_be_read_is_passed_over() -> None:
    before = Before.of([told("unreadable"), told("enrol", Change("", {"product": "a"}, 7)), told("venue", Change("x"))])
    assert (before.orders, before.runners) == ({}, {})
