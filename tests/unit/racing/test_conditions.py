"""Entry conditions: which a product does not meet, with reasons."""

from __future__ import annotations

from typing import Any

import pytest

from racing.conditions import Conditions, ConditionsError, Unmet, parse_conditions, refuse, unmet
from racing.entries import Runner

ALL = {
    "rating_min": 4.5,
    "margin_min": 0.1,
    "stock_min": 100,
    "price_min": 100,
    "price_max": 99900,
    "discount_min": 0.2,
    "categories": ["audio", "video"],
}


def runner(**given: Any) -> Runner:
    attributes = {"rating": 4.8, "margin": 0.3} | given.pop("attributes", {})
    data = {"category": "audio", "stock": 500, "price": 800, "list_price": 1000, **given}
    return Runner("p", "m", "t", attributes=attributes, **data)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"rating": 4}, "rating: no such field; there are rating_min, "),
        ({"stock_min": -1}, "stock_min: must be at least 0, not -1"),
        ({"margin_min": 1.5}, "margin_min: must be at most 1, not 1.5"),
        ({"price_min": 10, "price_max": 9}, "price_max: must be at least price_min, 10"),
        ({"categories": []}, "categories: must have 1 or more entries"),
        ([], "must be an object"),
    ],
)
def test_conditions_that_no_venue_can_have_are_refused(document: Any, words: str) -> None:
    with pytest.raises(ConditionsError, match=words):
        parse_conditions(document)


@pytest.mark.parametrize(
    ("given", "field", "expected", "value"),
    [
        ({"attributes": {"rating": 4.4}}, "attributes.rating", "must be at least 4.5", "4.4"),
        ({"attributes": {"rating": "5"}}, "attributes.rating", "must be at least 4.5", '"5"'),
        ({"attributes": {"rating": True}}, "attributes.rating", "must be at least 4.5", "true"),
        ({"attributes": {"margin": 0.05}}, "attributes.margin", "must be at least 0.1", "0.05"),
        ({"stock": 99}, "stock", "must be at least 100", "99"),
        ({"stock": None}, "stock", "must be stated, and must be at least 100", None),
        ({"price": 99, "list_price": 1000}, "price", "must be at least 100", "99"),
        ({"price": 99901, "list_price": 999999}, "price", "must be at most 99900", "99901"),
        ({"price": 801}, "price", "must be at least 0.2 of list_price below it", "0.199"),
        ({"list_price": None}, "price", "must be stated, and must be at least 0.2 of list_price below it", None),
        ({"category": "food"}, "category", "must be one of audio, video", '"food"'),
        ({"category": None}, "category", "must be stated, and must be one of audio, video", None),
    ],
)
def test_what_is_unmet_names_field_value_and_what_would_be_right(
    given: dict[str, Any], field: str, expected: str, value: str | None
) -> None:
    assert unmet(parse_conditions(ALL), runner(**given)) == [Unmet(field, expected, value)]


def test_every_unmet_condition_is_told_at_once() -> None:
    bare = Runner("p", "m", "t")
    assert [each.field for each in unmet(parse_conditions(ALL), bare)] == [
        "attributes.rating",
        "attributes.margin",
        "stock",
        "price",
        "price",
        "price",
        "category",
    ]
    with pytest.raises(ConditionsError, match=r"runners\[3\]\.stock: must be stated") as caught:
        refuse(parse_conditions({"stock_min": 1}), bare, at="runners[3].")
    assert len(caught.value.fields) == 1


def test_what_meets_all_may_enter_at_the_very_bounds() -> None:
    for given in ({}, {"stock": 100}, {"price": 100}, {"price": 99900, "list_price": 124875}):
        assert unmet(parse_conditions(ALL), runner(**given)) == []
    assert unmet(parse_conditions(ALL), runner(attributes={"rating": 4.5, "margin": 0.1})) == []


def test_a_venue_without_conditions_asks_for_nothing() -> None:
    assert unmet(Conditions(), Runner("p", "m", "t")) == []
