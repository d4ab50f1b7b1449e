"""Badges: what a merchant is told of a product at a glance."""

from __future__ import annotations

import pytest

from racing.badges import FIRST_PAGE, LOW_STOCK, RISING, badges


@pytest.mark.parametrize(
    ("slot", "told"), [(None, []), (1, ["leader"]), (2, ["first_page"]), (FIRST_PAGE, ["first_page"]), (11, ["board"])]
)
def test_place_on_the_board_is_one_badge(slot: int | None, told: list[str]) -> None:
    assert badges(slot=slot, stock=None, moved_5m=None) == told


@pytest.mark.parametrize(
    ("moved", "told"), [(None, []), (0, []), (RISING - 1, []), (RISING, ["rising"]), (-RISING, ["falling"])]
)
def test_many_places_won_or_lost_are_told(moved: int | None, told: list[str]) -> None:
    assert badges(slot=None, stock=None, moved_5m=moved) == told


@pytest.mark.parametrize(
    ("stock", "told"), [(None, []), (LOW_STOCK + 1, []), (LOW_STOCK, ["low_stock"]), (0, ["sold_out"])]
)
def test_stock_that_ends_is_told(stock: int | None, told: list[str]) -> None:
    assert badges(slot=None, stock=stock, moved_5m=None) == told


def test_what_shoppers_are_told_comes_first_and_once() -> None:
    assert badges(slot=1, stock=0, moved_5m=None, labels=("pinned", "sold_out")) == ["pinned", "sold_out", "leader"]
