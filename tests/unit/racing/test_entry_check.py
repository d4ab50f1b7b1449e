"""Entry conditions: each told as passed or failed, with value and bound."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from racing.entries import Runner
from racing.entry_check import EntryConditions, checks

ALL = EntryConditions(rating_min=4.5, stock_min=100, margin_min=0.1, price_min=1_000, price_max=20_000)
GOOD = Runner("p", "m", "t", price=1_000, stock=100, attributes={"rating": 4.5, "margin": 0.1})


def told(conditions: EntryConditions, runner: Runner) -> dict[str, bool]:
    return {check.condition: check.passed for check in checks(conditions, runner)}


@pytest.mark.parametrize(
    "given", [{"price_min": 2, "price_max": 1}, {"stock_min": -1}, {"rating_min": float("nan")}, {"colour": "red"}]
)
def test_conditions_that_nothing_meets_or_nobody_knows_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        EntryConditions.model_validate(given)


def test_bounds_belong_to_what_passes() -> None:
    assert told(ALL, GOOD) == dict.fromkeys(ALL.model_fields_set, True)
    upper = Runner("p", "m", "t", price=20_000, stock=100, attributes=GOOD.attributes)
    assert all(told(ALL, upper).values())


@pytest.mark.parametrize(
    ("failing", "runner"),
    [
        ("rating_min", {"attributes": {"rating": 4.4, "margin": 0.1}}),
        ("stock_min", {"stock": 99}),
        ("margin_min", {"attributes": {"rating": 4.5, "margin": 0.09}}),
        ("price_min", {"price": 999}),
        ("price_max", {"price": 20_001}),
    ],
)
def test_each_condition_fails_alone(failing: str, runner: dict[str, object]) -> None:
    given = {"price": 1_000, "stock": 100, "attributes": GOOD.attributes, **runner}
    found = told(ALL, Runner("p", "m", "t", **given))  # type: ignore[arg-type]  # as the fields are
    assert [name for name, passed in found.items() if not passed] == [failing]


def test_what_was_not_given_is_failed_with_no_value() -> None:
    found = checks(ALL, Runner("p", "m", "t", attributes={"rating": "high"}))
    assert [(check.value, check.passed) for check in found] == [(None, False)] * 5


def test_what_is_not_asked_for_is_not_told() -> None:
    assert checks(EntryConditions(), GOOD) == []
    (check,) = checks(EntryConditions(stock_min=5), GOOD)
    assert (check.condition, check.value, check.bound, check.at_least) == ("stock_min", 100, 5, True)
