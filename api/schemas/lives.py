"""Lives of venues: states, entry conditions, clones, and whom a main venue takes from its sub venues."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Body
from pydantic import BaseModel, Field

from api.schemas.decisions import Note
from api.schemas.fields import BULK_MAX, Id, Text
from api.schemas.runners import EnrolledOut, RefusedProduct
from racing.conditions import Conditions
from racing.documents import Strict
from racing.lifecycle import State


class ConditionsOut(Conditions):
    """The entry conditions of a venue."""


class StateIn(Strict):
    """Where a venue is to go in its life."""

    state: State = Field(examples=["closed"])
    note: Note = Field("", examples=["the promotion is over"])


class StateOut(BaseModel):
    """Where a venue is in its life."""

    state: State = Field(examples=["closed"])
    may_become: list[State] = Field(examples=[["open", "archived"]])
    entry: str | None = Field(None, examples=["1763740800123-0"], description="null: it was so already")


class CloneIn(Strict):
    """The venue that a clone is to be."""

    venue: Id = Field(examples=["hall-2"])
    title: Text | None = Field(
        None, examples=["Rehearsal of the main hall"], description="that of the source by default"
    )
    state: Literal["draft", "rehearsal", "open"] = Field("draft", description="where its life begins")


class Cloned(BaseModel):
    """What a clone begins with."""

    venue: str = Field(examples=["hall-2"])
    state: State = Field(examples=["draft"])
    runners: int = Field(examples=[1200])
    orders: int = Field(examples=[12], description="those that had not ended, and phases that had not begun")
    refused: list[RefusedProduct] = Field([], examples=[[]], description="products that fail the entry conditions")


class FinalistsIn(Strict):
    """Whom a main venue takes from its sub venues."""

    take: int = Field(10, ge=1, le=BULK_MAX, description="the first so many slots of each", examples=[10])
    venues: list[Id] | None = Field(
        None, min_length=1, max_length=100, description="sub venues; all whose parent it is by default", examples=[None]
    )
    note: Note = ""


class Heat(BaseModel):
    """One sub venue and whom it sends."""

    venue: str = Field(examples=["hall-1-audio"])
    frame: int = Field(examples=[48210], description="whose first slots they are")
    products: list[str] = Field(examples=[["p-1001"]])


class Finalists(BaseModel):
    """Who was taken from where; a product that leads several is enrolled once."""

    heats: list[Heat]
    runners: list[EnrolledOut]
    refused: list[RefusedProduct] = Field([], examples=[[]], description="leaders that fail the entry conditions")


MaybeFinalists = Annotated[FinalistsIn, Body(default_factory=FinalistsIn)]
"""Bodies that need not be sent: without one, all is by default."""
