"""Answers to merchants (pydantic), as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas import BULK_MAX, Id, TermOut
from racing.documents import Strict


class FrameOut(BaseModel):
    """What the rows of a venue are of."""

    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210], description="the frame that slots, and all of products on the board, are of")
    epoch: int = Field(examples=[1763740800000])
    at_ms: int = Field(examples=[1763740800123], description="moment of the frame")
    rule_version: int = Field(examples=[3])
    runners: int = Field(examples=[1200])
    position: str = Field(
        examples=["1763740800123-0"], description="log entry of the commit at which the rest was read"
    )
    settled: bool = Field(
        examples=[True],
        description="false for up to a second after a bucket ends, while all standings are written anew",
    )
    stale: bool = Field(examples=[False], description="true while Redis or the scorer is away")


class MetricOut(BaseModel):
    """What a metric of the rule comes to; amounts in minor units."""

    window: float = Field(examples=[120], description="sum of the window")
    base: float = Field(examples=[84.5], description="sum of the window before it")
    delta: float = Field(examples=[35.5], description="window - base")
    total: float = Field(examples=[3120], description="since the race began")


class StandingOut(BaseModel):
    """One product in one venue."""

    venue: str = Field(examples=["hall-1"])
    product: str = Field(examples=["p-1001"])
    merchant: str = Field(examples=["m-7"])
    title: str = Field(examples=["Noise-cancelling earbuds"])
    runner: int = Field(examples=[0], description="enrolment number; decides ties")
    slot: int | None = Field(examples=[8], description="slot (坑位) on the board of the frame; null: not shown")
    standing: int | None = Field(
        examples=[8], description="place among all runners, each its own; null for a second after enrolment"
    )
    rank: int | None = Field(
        examples=[8], description="1 + how many have a higher score: equal scores share it (competition rank)"
    )
    of: int = Field(examples=[1200], description="runners in the standings")
    percentile: float | None = Field(examples=[99.3], description="share of runners that stand behind, percent")
    score: float | None = Field(examples=[12.31], description="with boosts, as it ranks")
    terms: list[TermOut] = Field(description="what makes the score, in the rule's order")
    rest: float = Field(
        examples=[0.0],
        description="score less the terms: what boosts and an opening order add to a product that is not on the board,"
        " and for a moment what is on its way to the sums",
    )
    metrics: dict[str, MetricOut] = Field(
        examples=[{"click": {"window": 120, "base": 84.5, "delta": 35.5, "total": 3120}}]
    )
    stock: int | None = Field(examples=[480])
    price: int | None = Field(examples=[19900], description="minor units")
    badges: list[str] = Field(examples=[["first_page"]])


class StandingsOut(BaseModel):
    """A page of a merchant's products."""

    merchant: str = Field(examples=["m-7"])
    frames: list[FrameOut] = Field(description="one for each venue that rows are of")
    runners: list[StandingOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["WzEyLCJoYWxsLTEiLDBd"])


class ProductsIn(Strict):
    """Products to look up, at most 1,000."""

    products: Annotated[list[Id], Field(min_length=1, max_length=BULK_MAX, examples=[["p-1001", "p-1002"]])]


class BulkOut(BaseModel):
    """Where products of one venue stand."""

    frames: list[FrameOut]
    runners: list[StandingOut] = Field(description="in the order asked for, each once")
    absent: list[str] = Field(examples=[["p-1002"]], description="not enrolled, or not for this key")
