"""What became of a batch of events. How events are sent is in api.sent_events: it is decoded without pydantic."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Refused(BaseModel):
    """An event that was not taken, and why."""

    index: int = Field(examples=[2], description="place in the batch, from 0")
    code: str = Field(examples=["unknown_product"])
    reason: str = Field(examples=["product: 'p-9' is not enrolled in venue 'hall-1'"])


class EventsOut(BaseModel):
    """What became of a batch: accepted + duplicate + refused = all that were sent."""

    accepted: int = Field(examples=[498], description="in the log; each is counted exactly once")
    duplicate: int = Field(examples=[1], description="ids known to have come before; counted once, as ever")
    refused: list[Refused]
    position: str | None = Field(
        examples=["1763740800123-0"], description="log entry of the batch; null if none was taken"
    )


class EventsInVenue(BaseModel):
    """What became of a batch in one venue."""

    venue: str = Field(examples=["hall-1"])
    accepted: int = Field(examples=[1], description="in its log; each is counted exactly once")
    duplicate: int = Field(examples=[0])
    position: str | None = Field(examples=["1763740800123-0"], description="log entry; null if it took none")


class EventsEverywhere(BaseModel):
    """What became of a batch in every venue that its products race in."""

    venues: list[EventsInVenue]
    refused: list[Refused] = Field(description="events that no venue took")
