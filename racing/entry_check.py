"""Entry conditions of a venue (报名门槛): which products may apply, each condition told as passed or failed.

Rating and margin are numeric attributes of the product, as its merchant gives them: rating in the shop's own unit,
margin as a share of the price. A condition on what was not given is failed. What operators enrol is held against
conditions of its own (racing/conditions.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from racing.documents import Strict, wrong
from racing.entries import Runner

_MONEY_MAX = 10**12


class EntryConditions(Strict):
    """What a product must have to be let in without a second look; what is left out is not asked for."""

    rating_min: float | None = Field(
        None, ge=0, le=1000, allow_inf_nan=False, description="least attribute `rating`", examples=[4.6]
    )
    stock_min: int | None = Field(None, ge=0, le=10**9, description="least stock, pieces", examples=[200])
    margin_min: float | None = Field(
        None,
        ge=-1,
        le=1,
        allow_inf_nan=False,
        description="least attribute `margin`, share of the price",
        examples=[0.1],
    )
    price_min: int | None = Field(None, ge=0, le=_MONEY_MAX, description="lowest price, minor units", examples=[990])
    price_max: int | None = Field(None, ge=0, le=_MONEY_MAX, description="highest price, minor units", examples=[99900])

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise wrong("must be at least price_min = {least}", at=("price_max",), least=self.price_min)
        return self


@dataclass(frozen=True, slots=True)
class Check:
    """One condition, held against one product. value: None where it was not given. at_least: else at most."""

    condition: str
    value: float | None
    bound: float
    at_least: bool
    passed: bool


def checks(conditions: EntryConditions, runner: Runner) -> list[Check]:
    """Each condition that is asked for, in the order of the document, passed or failed."""
    given = runner.numbers()
    values: dict[str, float | None] = {
        "rating_min": given.get("rating"),
        "stock_min": runner.stock,
        "margin_min": given.get("margin"),
        "price_min": runner.price,
        "price_max": runner.price,
    }
    asked: dict[str, float] = conditions.model_dump(exclude_none=True)
    return [_check(name, values[name], bound) for name, bound in asked.items()]


def _check(name: str, value: float | None, bound: float) -> Check:
    at_least = name.endswith("_min")
    passed = value is not None and (value >= bound if at_least else value <= bound)
    return Check(name, value, bound, at_least, passed)
