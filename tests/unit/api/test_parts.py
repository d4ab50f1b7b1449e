"""Parts of a frame: filters, selections and pages, which together are the frame."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import read_cursor
from api.history import Shown
from api.parts import Part, State, body_of
from api.rows import ALWAYS, FIELDS, rows_of
from racing.badge_settings import BadgeSettings
from racing.entries import Coupon, Runner
from racing.model import Frame, Slot, Term
from tests.unit.api.test_badges import board, boards


def shown_of(*runners: Runner, labels: tuple[str, ...] = ()) -> Shown:
    terms = (Term("click level", 0.5, 3.0, 1.5),)
    slots = tuple(Slot(n + 1, n, runner.product, 1.5, terms, labels=labels) for n, runner in enumerate(runners))
    frame = Frame("hall-1", 3, 7, "5-0", 1000, 1, len(slots), 1, slots)
    return Shown(frame, dict(enumerate(runners)))


def runner(number: int, **data: Any) -> Runner:
    return Runner(f"p-{number}", "m-1", f"The {number}", **data)


def read(shown: Shown, part: Part, state: State | None = None) -> dict[str, Any]:
    state = state or State()
    found: dict[str, Any] = json.loads(body_of(shown, rows_of(shown, details=state.details), part, state))
    return found


def row(given: Runner, **state: Any) -> dict[str, Any]:
    found: dict[str, Any] = read(shown_of(given), Part(1), State(**state))["slots"][0]
    return found


# -- refusals ------------------------------------------------------------------------------------------------


def test_details_are_kept_to_who_may_see_them() -> None:
    """Stock is a count; that little of it is left is for everyone, where the rule says so."""
    told = row(runner(1, stock=5), details=False)
    assert told == {"slot": 1, "product": "p-1", "merchant": "m-1", "title": "The 1", "badges": ["low_stock"]}
    whole = read(shown_of(runner(1)), Part(1), State(details=False))
    assert not {"runners", "told"} & whole.keys()


def test_a_coupon_that_does_not_apply_leaves_the_price_alone() -> None:
    assert "price_after_coupon" not in row(runner(1, price=99, coupon=Coupon(50, above=100)))
    assert "price_after_coupon" not in row(runner(1, coupon=Coupon(50)))


# -- edges ---------------------------------------------------------------------------------------------------


def test_a_filter_that_nothing_fits_has_no_rows_and_no_next_page() -> None:
    found = read(shown_of(runner(1), runner(2)), Part(1, category="none"))
    assert (found["slots"], found["next"]) == ([], None)


def test_a_coupon_never_takes_more_than_the_price() -> None:
    assert row(runner(1, price=30, coupon=Coupon(50, title="50 off")))["price_after_coupon"] == 0


def test_what_is_sold_out_is_not_low_in_stock() -> None:
    badges = {stock: row(runner(1, stock=stock)).get("badges") for stock in (0, 1, 10, 11, None)}
    assert badges == {0: ["sold_out"], 1: ["low_stock"], 10: ["low_stock"], 11: None, None: None}


# -- what is told --------------------------------------------------------------------------------------------


def test_what_events_have_stated_is_told_in_place_of_what_was_given() -> None:
    shown = shown_of(runner(1, price=200, stock=50, coupon=Coupon(20)))
    (slot,) = shown.frame.slots
    frame = msgspec.structs.replace(shown.frame, slots=(msgspec.structs.replace(slot, price=150, stock=0),))
    told = read(Shown(frame, shown.runners), Part(1))["slots"][0]
    assert (told["price"], told["price_after_coupon"], told["stock"], told["badges"]) == (150, 130, 0, ["sold_out"])
    brief = read(Shown(frame, shown.runners), Part(1), State(details=False))["slots"][0]
    assert (brief["price"], "stock" in brief, brief["badges"]) == (150, False, ["sold_out"])


def test_a_row_has_all_that_a_page_needs() -> None:
    given = runner(1, price=150, list_price=200, stock=3, coupon=Coupon(50, above=100), tier="A", image="i", url="u")
    shown = shown_of(given, labels=("paid",))
    references = boards(*[board(100, 5, 4, 3, 2, 1, 0)] * 9)
    shown = Shown(shown.frame, shown.runners, references, BadgeSettings(), {0: ("rising",)})
    assert read(shown, Part(1))["slots"] == [
        {
            "slot": 1,
            "product": "p-1",
            "merchant": "m-1",
            "title": "The 1",
            "tier": "A",
            "price": 150,
            "list_price": 200,
            "coupon": {"off": 50, "above": 100},
            "stock": 3,
            "image": "i",
            "url": "u",
            "price_after_coupon": 100,
            "moved": 5,
            "badges": ["paid", "rising", "low_stock"],
            "score": 1.5,
            "terms": [{"name": "click level", "weight": 0.5, "value": 3.0, "contribution": 1.5}],
        }
    ]
    assert read(shown, Part(1))["moved_since_ms"] == 100_000


def test_a_product_that_has_gone_keeps_its_slot_and_is_marked() -> None:
    found = read(shown_of(runner(1), runner(2)), Part(5), State(evolved=True, gone=frozenset({"p-1"})))
    assert [(each["slot"], each["product"], each.get("gone")) for each in found["slots"]] == [
        (1, "p-1", True),
        (2, "p-2", None),
    ]
    assert found["evolved"] is True


def test_a_filter_tells_the_slot_and_the_place_among_those_that_fit() -> None:
    shown = shown_of(*(runner(n, category="ab"[n % 2], tier="xyz"[n % 3]) for n in range(12)))
    found = read(shown, Part(2, category="b", tier="x"))
    assert [(each["slot"], each["filtered_slot"]) for each in found["slots"]] == [(4, 1), (10, 2)]
    assert found["next"] is None


@given(
    st.lists(st.sampled_from(["a", "b", None]), max_size=30),
    st.sampled_from(["a", "b", None]),
    st.integers(1, 8),
    st.sets(st.sampled_from(FIELDS)),
)
def test_law_the_pages_of_a_frame_are_the_frame(
    categories: list[str | None], wanted: str | None, limit: int, fields: set[str]
) -> None:
    """Each fitting row once, in order, whatever the page size, with the fields chosen and those that must come."""
    shown = shown_of(*(runner(n, category=category, price=n) for n, category in enumerate(categories)))
    chosen = tuple(name for name in FIELDS if name in fields)
    whole = read(shown, Part(1000, category=wanted, fields=chosen))
    assert whole["next"] is None
    assert all(not fields or each.keys() <= fields | ALWAYS for each in whole["slots"])
    assert [each["slot"] for each in whole["slots"]] == [
        n + 1 for n, category in enumerate(categories) if wanted is None or category == wanted
    ]
    found, part = [], Part(limit, category=wanted, fields=chosen)
    while True:
        page = read(shown, part)
        found += page["slots"]
        if page["next"] is None:
            break
        assert len(page["slots"]) == limit
        cursor = read_cursor(page["next"])
        assert cursor is not None
        assert cursor.place == shown.frame.place
        part = Part(limit, cursor.after, cursor.category, cursor.tier, cursor.fields)
    assert found == whole["slots"]
