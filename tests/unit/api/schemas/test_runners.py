"""Products to enrol are checked field by field; what passes reaches the store as it was given."""

from __future__ import annotations

from typing import Any

import pytest

from api.schemas.runners import RunnerIn, RunnersIn
from racing.entries import Coupon, Runner
from tests.unit.api.schemas.wrong import fault

RUNNER = {"product": "p-1", "merchant": "m-1", "title": "One"}


@pytest.mark.parametrize("field", ["product", "merchant"])
@pytest.mark.parametrize("name", ["", "a b", "a{b}", "a:b", "a*", "a\0", "a\n", "é", "x" * 65, ".", ".."])
def test_a_name_that_could_not_stand_in_a_key_or_an_address_is_refused(field: str, name: str) -> None:
    assert fault(RunnerIn, {**RUNNER, field: name}).startswith(f"{field}: must ")


@pytest.mark.parametrize(
    ("field", "smallest", "largest"),
    [("price", 0, 10**12), ("list_price", 0, 10**12), ("stock", 0, 10**9), ("entry_score", -1e9, 1e9)],
)
def test_a_number_is_taken_up_to_its_bounds_and_not_beyond(field: str, smallest: float, largest: float) -> None:
    for value in (smallest, largest, None):
        assert getattr(RunnerIn.model_validate({**RUNNER, field: value}), field) == value
    assert "must be at least" in fault(RunnerIn, {**RUNNER, field: smallest - 1})
    assert "must be at most" in fault(RunnerIn, {**RUNNER, field: largest + 1})


@pytest.mark.parametrize("value", [1.0, "1", True, [1]])
def test_money_is_a_whole_number_and_nothing_that_looks_like_one(value: object) -> None:
    """199.0 is a price in the wrong unit more often than one that was written oddly."""
    assert fault(RunnerIn, {**RUNNER, "price": value}).startswith("price: must be a whole number, not ")


@pytest.mark.parametrize(
    "value", [None, [], {}, "x" * 257, 1.0000001e15, -(10**400), float("nan"), float("inf"), float("-inf")]
)
def test_an_attribute_is_a_short_text_or_a_number_or_a_truth(value: object) -> None:
    words = "attributes.a: must be true, false, a number within +-1e15, or a text of at most 256 characters"
    assert fault(RunnerIn, {**RUNNER, "attributes": {"a": value}}).startswith(words)


@pytest.mark.parametrize("value", ["", "x" * 256, True, False, 0, 1, -2.5, 1e15, -(10**15)])
def test_an_attribute_keeps_its_value_and_its_type(value: object) -> None:
    """A truth does not become 1, nor 1 a truth: only numbers can be terms of a rule."""
    kept = RunnerIn.model_validate({**RUNNER, "attributes": {"a": value}}).attributes["a"]
    assert kept == value
    assert isinstance(kept, bool) == isinstance(value, bool)
    assert isinstance(kept, str) == isinstance(value, str)


def test_attributes_are_at_most_sixteen() -> None:
    many = {f"a{n}": n for n in range(17)}
    assert "at most 16" in fault(RunnerIn, {**RUNNER, "attributes": many})
    assert len(RunnerIn.model_validate({**RUNNER, "attributes": dict(list(many.items())[:16])}).attributes) == 16


def test_a_product_comes_once_in_a_bulk() -> None:
    other = {**RUNNER, "product": "p-2"}
    words = fault(RunnersIn, {"runners": [RUNNER, other, {**RUNNER, "title": "Again"}]})
    assert words == "runners[2].product: 'p-1' comes twice: name each product once"


@pytest.mark.parametrize("size", [0, 1001])
def test_a_bulk_out_of_bounds_is_refused(size: int) -> None:
    assert fault(RunnersIn, {"runners": [{**RUNNER, "product": f"p{n}"} for n in range(size)]}).startswith("runners: ")


def test_a_runner_reaches_the_store_as_it_was_given() -> None:
    given: dict[str, Any] = {
        **RUNNER,
        "category": "c",
        "series": "s",
        "tier": "t",
        "image": "i",
        "url": "u",
        "price": 1,
        "list_price": 2,
        "stock": 3,
        "entry_score": 0.5,
        "attributes": {"new": True},
        "coupon": {"off": 1, "above": 2, "title": "1 off from 2"},
    }
    assert set(given) == set(RunnerIn.model_fields)
    assert RunnerIn.model_validate(given).runner() == Runner(**{**given, "coupon": Coupon(1, 2, "1 off from 2")})
