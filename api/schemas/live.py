"""A board as those have it who follow it: whole, then what changes; and the ticket to a private stream."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import header
from api.schemas.slots import HeadOut, SlotOut


class TicketOut(BaseModel):
    """A ticket: opens one private live stream of the venue, once."""

    ticket: str = Field(
        examples=["3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], description="for the query of its address"
    )
    expires_in_s: int = Field(examples=[60])


class BoardOut(HeadOut):
    """The first slots of the current frame, as those have them who follow it: without the terms of scores."""

    slots: list[SlotOut]


class MoveOut(BaseModel):
    """A product that has another slot."""

    product: str = Field(examples=["p-1001"])
    was: int = Field(examples=[4], description="the slot it had")
    slot: int = Field(examples=[1])


class ChangedOut(BaseModel):
    """A product with other fields than it had: their values as in a slot, null for one that is gone."""

    model_config = ConfigDict(extra="allow")

    product: str = Field(examples=["p-1001"])
    price: int | None = Field(None, examples=[18900], description="and likewise every other field of a slot")


class ChangesOut(BaseModel):
    """What makes the current board of an older one, or the whole board.

    Take away what left, set the slots of moves and the fields of changed, add what entered, and sort by slot.
    """

    since: str | None = Field(
        examples=["1763740800000-48209"], description="the frame of the older board; null: take full, forget the rest"
    )
    next: str = Field(examples=["1763740800000-48210"], description="the current frame: since of the next request")
    full: BoardOut | None = Field(None, examples=[None], description="the whole board, where since is null")
    head: HeadOut | None = Field(None, description="all fields of the current board but slots")
    left: list[str] = Field([], examples=[["p-1007"]], description="products that are no longer among the slots")
    moves: list[MoveOut] = []
    entered: list[SlotOut] = Field([], description="products that were not among the slots")
    changed: list[ChangedOut] = []


FOLLOWED: dict[str, Any] = {
    "description": "Events until either side ends it. `frame`: data is the whole board (BoardOut); it replaces all that"
    " the client had. `changes`: data is what GET changes answers (ChangesOut). `bye`: the service ends it, come"
    " again after retry ms. The id of an event is the name of its frame. Lines that begin with a colon are to be passed"
    " over: one comes every 15 s at least.",
    "headers": {"Cache-Control": header("no-cache, no-transform")},
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": "retry: 2417\n\n"
            "event: frame\nid: 1763740800000-48210\n"
            'data: {"venue":"hall-1","frame":48210,"epoch":1763740800000,"slots":[{"slot":1,"product":"p-1001"}]}\n\n'
            "event: changes\nid: 1763740800000-48211\n"
            'data: {"since":"1763740800000-48210","next":"1763740800000-48211","head":{"frame":48211},"left":[],'
            '"moves":[{"product":"p-1001","was":1,"slot":2}],'
            '"entered":[{"slot":1,"product":"p-1002"}],"changed":[]}\n\n',
        }
    },
}
"""The answer of a live stream."""
