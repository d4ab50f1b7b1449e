"""Plans (备案): what is to be decided at once when they are applied."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas.decisions import Note
from api.schemas.fields import BULK_MAX
from api.schemas.orders import OrderId, Sent
from racing.documents import Strict, wrong
from racing.rule import Rule


class PlanIn(Strict):
    """A plan (备案): what is to be put, withdrawn and ruled, all at once, when it is applied."""

    put: list[Sent] = Field(
        [],
        max_length=BULK_MAX,
        examples=[[{"kind": "pin", "id": "spare", "product": "p-1001", "slot": 1}]],
        description="orders, as in POST …/orders",
    )
    withdraw: list[OrderId] = Field([], max_length=BULK_MAX, examples=[[]], description="ids of orders that end")
    rule: Rule | None = Field(None, examples=[None], description="the rule from then on; it stays where left out")
    note: Note = Field("", examples=["if the stream fails"])

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.put and not self.withdraw and self.rule is None:
            raise wrong("names nothing to do: give put, withdraw or rule")
        return self


class PlanOut(BaseModel):
    """A plan as it is kept."""

    id: str = Field(examples=["rain"])
    put: list[dict[str, Any]] = Field(examples=[[{"kind": "pin", "id": "spare", "product": "p-1001", "slot": 1}]])
    withdraw: list[str] = Field(examples=[[]])
    rule: dict[str, Any] | None = Field(None, examples=[None])
    note: str = Field("", examples=["if the stream fails"])
    who: str = Field(examples=["night-shift"], description="name of the key that saved it last")
    applied: str | None = Field(
        None, examples=[None], description="entry that applied it; null: not applied, or listed"
    )


class PlanList(BaseModel):
    """The plans of a venue, by id."""

    plans: list[PlanOut]
