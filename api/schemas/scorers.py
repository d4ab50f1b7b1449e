"""Who runs what: scorers, and the venues that they race."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ScorerOut(BaseModel):
    """One scorer process."""

    name: str = Field(examples=["node-3-4711-9f2c1a"])
    host: str = Field(examples=["node-3"])
    pid: int = Field(examples=[4711])
    state: Literal["live", "silent"] = Field(
        examples=["live"], description="silent: not heard of for a lease; its venues go to the others"
    )
    up_s: int = Field(examples=[86400], description="how long it had run when it was last heard of")
    heard_ms: int = Field(examples=[210], description="time since it was last heard of")
    venues: int = Field(examples=[2], description="how many venues it runs")


class VenueRunOut(BaseModel):
    """One venue and who runs it."""

    venue: str = Field(examples=["hall-1"])
    owner: str | None = Field(
        examples=["node-3-4711-9f2c1a"], description="name of the scorer that holds its lease; null: nobody"
    )
    state: Literal["racing", "restoring", "waiting", "unknown"] = Field(
        examples=["racing"], description="waiting: for an owner; unknown: the node that holds its keys does not answer"
    )
    epoch: int | None = Field(examples=[1763740800000], description="of the last take-over; null before the first")
    frame: int = Field(examples=[48210], description="0 before the first frame")
    lag_ms: int | None = Field(examples=[12], description="age of the last commit's data when it was written")
    commit_ms: int | None = Field(examples=[4], description="how long the last commit took: read, fold, write")
    frame_age_ms: int | None = Field(
        examples=[120], description="age of the data that readers get; null before the first commit"
    )
    conflicts: int = Field(examples=[0], description="how often scorers found that another had committed")
    last_error: str | None = Field(
        examples=["FencedError: venue hall-1: another owner has committed"],
        description="the newest that a scorer met in this venue; null: none",
    )
    last_error_age_ms: int | None = Field(examples=[90500])


class ScorersOut(BaseModel):
    """Who runs what."""

    scorers: list[ScorerOut] = Field(description="by name; one that has gone is shown for ten minutes more")
    venues: list[VenueRunOut] = Field(description="by name")
