"""Runners (参赛商品) as they are enrolled, changed and shown."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.schemas.fields import BULK_MAX, Id, Link, Money, Text
from racing.documents import Strict, wrong
from racing.entries import Coupon, Runner
from racing.model import ID_PATTERN


def _attribute(value: Any) -> Any:
    """The value; pydantic's own errors would name every type of the union one by one."""
    fits = isinstance(value, bool)
    fits |= isinstance(value, str) and len(value) <= ATTRIBUTE_TEXT_MAX
    fits |= isinstance(value, (int, float)) and abs(value) <= ATTRIBUTE_NUMBER_MAX and not math.isnan(value)
    if not fits:
        raise wrong("must be true, false, a number within +-1e15, or a text of at most 256 characters")
    return value


ATTRIBUTES_MAX = 16
ATTRIBUTE_TEXT_MAX = 256
ATTRIBUTE_NUMBER_MAX = 1e15
AttributeName = Annotated[str, Field(pattern=ID_PATTERN)]
AttributeValue = Annotated[
    Annotated[str, Field(max_length=ATTRIBUTE_TEXT_MAX)]
    | bool
    | Annotated[float, Field(ge=-ATTRIBUTE_NUMBER_MAX, le=ATTRIBUTE_NUMBER_MAX)],
    BeforeValidator(_attribute),
]


class CouponDoc(Strict):
    """A coupon (优惠券) that comes with a product."""

    off: Annotated[int, Field(ge=1, le=10**12, description="so much off the price, minor units")] = Field(
        examples=[2000]
    )
    above: Money = Field(0, examples=[15000])
    title: Text | None = Field(None, examples=["20 off from 150"])


class RunnerFields(Strict):
    """What a product is told to be."""

    product: Id = Field(examples=["p-1001"])
    title: Text = Field(examples=["Noise-cancelling earbuds"])
    category: Text | None = Field(None, examples=["audio"])
    series: Text | None = Field(None, examples=["air"])
    tier: Text | None = Field(None, examples=["A"])
    price: Money | None = Field(None, examples=[19900])
    list_price: Money | None = Field(None, examples=[29900])
    stock: Annotated[int, Field(ge=0, le=10**9)] | None = Field(None, examples=[500])
    image: Link | None = Field(None, examples=["https://img.example/p-1001.webp"])
    url: Link | None = Field(None, examples=["https://shop.example/p-1001"])
    entry_score: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)] | None = Field(None, examples=[0.8])
    attributes: dict[AttributeName, AttributeValue] = Field(
        default={},
        max_length=ATTRIBUTES_MAX,
        examples=[{"new": True, "brand": "Hai"}],
        json_schema_extra={"additionalProperties": False},  # a name that fits no pattern is refused
    )

    coupon: CouponDoc | None = Field(None, description="shown with the price after it")


class RunnerIn(RunnerFields):
    """A product to enrol (参赛商品). Enrolling it again replaces its data and keeps its number."""

    merchant: Id = Field(examples=["m-7"])

    def runner(self) -> Runner:
        """The runner as the store keeps it."""
        given = self.model_dump()
        return Runner(**{**given, "coupon": None if self.coupon is None else Coupon(**given["coupon"])})


class RunnersIn(Strict):
    """Up to 1,000 products to enrol at once; all or none."""

    runners: Annotated[list[RunnerIn], Field(min_length=1, max_length=BULK_MAX)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for index, runner in enumerate(self.runners):
            if runner.product in seen:
                at = ("runners", index, "product")
                raise wrong("{product} comes twice: name each product once", at=at, product=repr(runner.product))
            seen.add(runner.product)
        return self


class RunnerChange(Strict):
    """What changes of a product: what is left out stays."""

    stock: Annotated[int, Field(ge=0, le=10**9)] | None = Field(None, examples=[480])
    price: Money | None = Field(None, examples=[18900])

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.changes():
            raise wrong("names nothing to change: give stock or price")
        return self

    def changes(self) -> dict[Literal["stock", "price"], int]:
        """The new values."""
        given: dict[Literal["stock", "price"], int | None] = {"stock": self.stock, "price": self.price}
        return {name: value for name, value in given.items() if value is not None}


class RunnerChanged(BaseModel):
    """What was changed, and its entry in the log."""

    product: str = Field(examples=["p-1001"])
    entry: str = Field(examples=["1763740800123-0"])
    stock: int | None = Field(None, examples=[480])
    price: int | None = Field(None, examples=[18900])


class EnrolledOut(BaseModel):
    """What became of one product."""

    product: str = Field(examples=["p-1001"])
    runner: int = Field(examples=[0], description="enrolment number; decides ties, never reused")
    state: str = Field(examples=["enrolled"], description="enrolled, changed or unchanged")
    row: int | None = Field(None, examples=[None], description="its line of the file that was sent, from 1")


class FieldOut(BaseModel):
    """A field that is not as it must be."""

    field: str = Field(examples=["price"])
    expected: str = Field(examples=["must be at least 0"])
    value: str | None = Field(None, examples=["-5"])


class RefusedRow(BaseModel):
    """A row of a file that was not taken, and why."""

    row: int = Field(examples=[3], description="its line of the file, the header being 1")
    product: str = Field(examples=["p-9"])
    errors: list[FieldOut]


class RefusedProduct(BaseModel):
    """A product that does not meet the entry conditions of a venue, and which."""

    product: str = Field(examples=["p-9"])
    errors: list[FieldOut]


class EnrolledList(BaseModel):
    """What became of each product, in the order sent; of a file also of the rows that were not taken."""

    runners: list[EnrolledOut]
    refused: list[RefusedRow] = Field([], examples=[[]])


class RunnerDoc(BaseModel):
    """A product and its data as it stands."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    merchant: str = Field(examples=["m-7"])
    title: str = Field(examples=["Noise-cancelling earbuds"])


class RunnerOut(BaseModel):
    """A product and its data as given at enrolment."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    merchant: str = Field(examples=["m-7"])
    title: str = Field(examples=["Noise-cancelling earbuds"])
    runner: int = Field(examples=[0])


class RunnerList(BaseModel):
    """A page of runners in enrolment order."""

    runners: list[RunnerOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["100"])
