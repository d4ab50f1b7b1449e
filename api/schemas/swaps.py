"""A product that takes another's place."""

from __future__ import annotations

from pydantic import Field

from api.schemas.decisions import Note, Visible
from api.schemas.fields import example
from api.schemas.runners import RunnerIn
from racing.documents import Strict


class SwapIn(Strict):
    """The product that takes another's place."""

    model_config = example({"runner": {"product": "p-1002", "merchant": "m-7", "title": "Earbuds, second edition"}})

    runner: RunnerIn
    note: Note = Field("", examples=["the first edition is sold out"])


class Swapped(Visible):
    """A product in another's place."""

    product: str = Field(examples=["p-1002"])
    orders: list[str] = Field([], examples=[[]], description="ids of orders that still name the one that went")
