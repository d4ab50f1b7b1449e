"""Whoever follows changes has what whoever reads boards has."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.boards import board_of, changes_since, encode
from api.changes import applied, changes
from api.parts import Sight
from api.view import VenueView
from racing.model import Frame, Slot
from racing.rule import DEFAULT_RULE
from racing.store.venues import Venue

VALUES = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3))
FIELDS = st.dictionaries(
    st.sampled_from(("score", "title", "stock", "price", "terms", "badges")),
    VALUES | st.lists(VALUES | st.dictionaries(st.text(max_size=2), VALUES, max_size=2), max_size=2),
)
HEADS = st.dictionaries(st.sampled_from(("frame", "epoch", "stale", "phase", "moves", "left")), VALUES | st.none())


@st.composite
def boards(draw: st.DrawFn) -> dict[str, Any]:
    """Products in any slots, a slot here and there left empty, with any fields, under any head."""
    products = draw(st.lists(st.sampled_from([f"p-{number}" for number in range(8)]), unique=True))
    numbers = sorted(draw(st.sets(st.integers(1, 12), min_size=len(products), max_size=len(products))))
    slots = [
        {**draw(FIELDS), "slot": number, "product": product} for number, product in zip(numbers, products, strict=True)
    ]
    return {**draw(HEADS), "slots": slots}


@given(boards(), boards())
def test_changes_make_any_board_of_any_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = deepcopy((old, new))
    assert applied(old, changes(old, new)) == new
    assert (old, new) == before


@given(st.lists(boards(), min_size=2, max_size=5))
def test_changes_followed_one_by_one_come_to_the_last_board(seen: list[dict[str, Any]]) -> None:
    board = seen[0]
    for old, new in pairwise(seen):
        board = applied(board, changes(old, new))
    assert board == seen[-1]


@given(boards(), boards())
def test_a_product_is_told_of_only_where_something_of_it_changed(old: dict[str, Any], new: dict[str, Any]) -> None:
    """And no more of it than that."""
    found = changes(old, new)
    before = {slot["product"]: slot for slot in old["slots"]}
    after = {slot["product"]: slot for slot in new["slots"]}
    assert {*found["left"]} == before.keys() - after.keys()
    assert {slot["product"] for slot in found["entered"]} == after.keys() - before.keys()
    for move in found["moves"]:
        assert (before[move["product"]]["slot"], after[move["product"]]["slot"]) == (move["was"], move["slot"])
        assert move["was"] != move["slot"]
    for fields in found["changed"]:
        product = fields["product"]
        for name in fields.keys() - {"product"}:
            assert before[product].get(name) != after[product].get(name)
    assert changes(new, new) == {**changes(new, new), "left": [], "moves": [], "entered": [], "changed": []}


@given(boards(), boards(), st.booleans())
def test_tokens_are_told_of_what_comes_or_moves_and_of_all_when_due(
    old: dict[str, Any], new: dict[str, Any], renew: bool
) -> None:
    """Who stays has the token of before, which says the same."""
    for name, board in (("old", old), ("new", new)):
        for slot in board["slots"]:
            slot["token"] = f"{name} {slot['product']} {slot['slot']}"
    found = applied(old, changes(old, new, renew=renew))
    before = {(slot["product"], slot["slot"]) for slot in old["slots"]}
    for slot, told in zip(new["slots"], found["slots"], strict=True):
        stays = (slot["product"], slot["slot"]) in before
        assert told["token"].startswith("old" if stays and not renew else "new")
        assert {**told, "token": ""} == {**slot, "token": ""}


ORDERS = st.permutations(range(5)).flatmap(lambda order: st.integers(0, 5).map(lambda most: order[:most]))


def slots_of(order: list[int]) -> tuple[Slot, ...]:
    return tuple(Slot(place + 1, runner, f"p-{runner}", float(9 - place)) for place, runner in enumerate(order))


@given(st.lists(st.tuples(ORDERS, st.none() | ORDERS), min_size=2, max_size=4))
def test_changes_of_a_segments_board_make_it_of_the_one_before(seen: list[tuple[list[int], list[int] | None]]) -> None:
    """Also where the venue declares the segment only between two frames, or no longer does: then it is the whole's."""
    view = VenueView(Venue("hall-1", "", 0), Frame("hall-1", 0, 1, "0-0", 0, 1, 5, 0, ()), DEFAULT_RULE, 1)
    sight = Sight(50, details=True, stale=False, tokens=False, issued_s=0, segment="new")
    made = []
    for number, (order, segment) in enumerate(seen, 1):
        segments = {} if segment is None else {"new": slots_of(segment)}
        frame = Frame("hall-1", number, 1, "5-0", 5, 1, 5, 0, slots_of(order), segments=segments)
        view.show(frame, {})
        made.append(msgspec.json.decode(encode(board_of(view, view.now, sight))))
        shown = order if segment is None else segment
        assert [slot["product"] for slot in made[-1]["slots"]] == [f"p-{runner}" for runner in shown]
        for older, board in enumerate(made, 1):
            told = msgspec.json.decode(changes_since(view, (1, older), sight, 3_600).body)
            assert applied(board, told) == made[-1]
