"""Entry conditions of a venue (报名门槛): what a product must bring to be let in, and which of it one does not.

The same check answers operators who enrol, files of many products, clones and finals. Applications of merchants are
held against conditions of their own (racing/entry_check.py).
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from racing.documents import Strict, in_words, shown, wrong, wrong_field
from racing.entries import Runner
from racing.errors import DocumentError

Money = Annotated[int, Field(ge=0, le=10**12)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ConditionsError(DocumentError):
    """Conditions that no venue can have, or a product that does not meet those of its venue."""


class Conditions(Strict):
    """What a product must bring; what is not named is not asked for. Money is in minor units."""

    rating_min: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="least attribute `rating`", examples=[4.5]
    )
    margin_min: Share | None = Field(None, description="least attribute `margin`, a share of the price", examples=[0.1])
    stock_min: Annotated[int, Field(ge=0, le=10**9)] | None = Field(None, description="least stock", examples=[100])
    price_min: Money | None = Field(None, description="lowest price", examples=[100])
    price_max: Money | None = Field(None, description="highest price", examples=[99900])
    discount_min: Share | None = Field(None, description="least share that price is below list_price", examples=[0.2])
    categories: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, min_length=1, max_length=100, description="category must be one of these", examples=[["audio", "video"]]
    )

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_max < self.price_min:
            raise wrong("must be at least price_min, {least}", at=("price_max",), least=self.price_min)
        return self


class Unmet(NamedTuple):
    """A condition that a product does not meet: its field, what would be right, what it has (None: it says nothing)."""

    field: str
    expected: str
    value: str | None


def parse_conditions(document: Any) -> Conditions:
    """The conditions in a JSON value. Raises ConditionsError, which names each wrong field."""
    try:
        return Conditions.model_validate(document)
    except ValidationError as exc:
        fields = [wrong_field(error) for error in exc.errors()]
        raise ConditionsError(in_words(fields), fields) from exc


def unmet(conditions: Conditions, runner: Runner) -> list[Unmet]:
    """The conditions that a product does not meet, in the order of the document; none where it may enter.

    A value that is asked for and not stated is unmet too.
    """
    found: list[Unmet] = []

    def least(field: str, wanted: float | None, value: object, words: str = "must be at least {wanted}") -> None:
        if wanted is not None and not (_is_number(value) and value >= wanted):  # type: ignore[operator]  # a number
            found.append(_unmet(field, words.format(wanted=_plain(wanted)), value))

    least("attributes.rating", conditions.rating_min, runner.attributes.get("rating"))
    least("attributes.margin", conditions.margin_min, runner.attributes.get("margin"))
    least("stock", conditions.stock_min, runner.stock)
    least("price", conditions.price_min, runner.price)
    if conditions.price_max is not None and (runner.price is None or runner.price > conditions.price_max):
        found.append(_unmet("price", f"must be at most {conditions.price_max}", runner.price))
    wanted = "must be at least {wanted} of list_price below it"
    least("price", conditions.discount_min, discount(runner), wanted)
    if conditions.categories is not None and runner.category not in conditions.categories:
        expected = f"must be one of {', '.join(conditions.categories)}"
        found.append(_unmet("category", expected, runner.category))
    return found


def discount(runner: Runner) -> float | None:
    """The share that the price is below the list price; None where either is not stated. Below 0 where it is above."""
    if runner.price is None or not runner.list_price:
        return None
    return (runner.list_price - runner.price) / runner.list_price


def refuse(conditions: Conditions, runner: Runner, *, at: str = "") -> None:
    """Raise ConditionsError, whose fields say what is unmet. at: what leads to the product within a request."""
    missing = unmet(conditions, runner)
    if missing:
        fields = [
            (f"{at}{each.field}", f"{each.expected}: an entry condition of the venue", each.value) for each in missing
        ]
        raise ConditionsError(in_words(fields), fields)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(number: float) -> str:
    return f"{number:.15g}"


def _unmet(field: str, expected: str, value: object) -> Unmet:
    return Unmet(
        field,
        f"{expected}" if value is not None else f"must be stated, and {expected}",
        None if value is None else shown(value),
    )
