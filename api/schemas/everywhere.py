"""Decisions about a product or a merchant in every venue at once."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas.decisions import Note
from api.schemas.fields import Id
from racing.documents import Strict, wrong


class EverywhereIn(Strict):
    """A product, or a merchant, to take off every board."""

    product: Id | None = Field(None, examples=["p-1001"])
    merchant: Id | None = Field(None, examples=[None])
    reason: Annotated[str, Field(min_length=1, max_length=200)] = Field(examples=["complaints of 11 November"])

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.product is None) == (self.merchant is None):
            raise wrong("exactly one of product and merchant says whom it means", at=("product",))
        return self


class RestoreEverywhereIn(Strict):
    """A product, or a merchant, to let back onto every board."""

    product: Id | None = Field(None, examples=["p-1001"])
    merchant: Id | None = Field(None, examples=[None])
    note: Note = ""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.product is None) == (self.merchant is None):
            raise wrong("exactly one of product and merchant says whom it means", at=("product",))
        return self


class InVenue(BaseModel):
    """What became of it in one venue."""

    venue: str = Field(examples=["hall-1"])
    result: Literal["done", "so already", "not there", "failed"] = Field(
        examples=["done"], description="failed: ask again, which changes nothing where it was done"
    )
    entry: str | None = Field(None, examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000])
    frame: int | None = Field(None, examples=[48213], description="from which it is visible; null while none holds it")
    why: str | None = Field(None, examples=[None])


class Everywhere(BaseModel):
    """What became of it in every venue that the key operates."""

    venues: list[InVenue]
