"""Whoever follows changes has what whoever reads boards has."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.changes import applied, changes

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
