"""Slots (坑位) and the frame (帧) that they are of."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.schemas.runners import CouponDoc


class TermOut(BaseModel):
    """One term of a score."""

    name: str = Field(examples=["click surge"])
    weight: float = Field(examples=[1.0])
    value: float = Field(examples=[3.2])
    contribution: float = Field(examples=[3.2])


class StepOut(BaseModel):
    """A step of the board that moved a product."""

    step: str = Field(examples=["hard pins"])
    from_slot: int | None = Field(None, examples=[7], description="before the step; null: not in the order")
    to_slot: int | None = Field(None, examples=[1])
    by: str = Field("", examples=["pin spring-1"], description="the order or setting that did it")


class SlotOut(BaseModel):
    """One slot (坑位) of the board."""

    slot: int = Field(examples=[1], description="counted from 1")
    product: str = Field(examples=["p-1001"])
    merchant: str | None = Field(None, examples=["m-7"], description="this and the next: as given at enrolment")
    title: str | None = Field(None, examples=["Noise-cancelling earbuds"])
    category: str | None = Field(None, examples=["audio"])
    series: str | None = Field(None, examples=["air"])
    tier: str | None = Field(None, examples=["A"])
    price: int | None = Field(None, examples=[19900], description="minor units")
    list_price: int | None = Field(None, examples=[29900], description="minor units")
    coupon: CouponDoc | None = None
    price_after_coupon: int | None = Field(None, examples=[17900], description="absent where the coupon does not apply")
    stock: int | None = Field(None, examples=[500], description="as score")
    image: str | None = Field(None, examples=["https://img.example/p-1001.webp"])
    url: str | None = Field(None, examples=["https://shop.example/p-1001"])
    moved: int | None = Field(
        None,
        examples=[2],
        description="slots gained since moved_since_ms, negative when lost; absent where it was not on",
    )
    badges: list[str] | None = Field(
        None,
        examples=[["hot", "rising"]],
        description="pinned, paid, hot, rising, new, low_stock, sold_out; absent without any",
    )
    gone: bool | None = Field(
        None, examples=[True], description="true in an older frame for a product that has left the race since"
    )
    filtered_slot: int | None = Field(None, examples=[1], description="with category or tier: its place among those")
    standing: int | None = Field(None, examples=[1], description="as score")
    token: str | None = Field(
        None,
        examples=["AQGaVy0OAAAAAAC8UmkhTQAAAQAAAAB0QmFzZTY0eA"],
        description="with `tokens=true`: ties what happens to it to its slot and frame",
    )
    score: float | None = Field(
        None, examples=[12.31], description="this, standing, terms and stock: absent unless they are public"
    )
    terms: list[TermOut] | None = None


class HeadOut(BaseModel):
    """What holds of a whole frame (帧)."""

    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210], description="0 before the first frame")
    epoch: int = Field(examples=[1763740800000])
    position: str = Field(examples=["1763740800123-0"], description="log entry up to which everything is counted")
    at_ms: int = Field(examples=[1763740800123])
    rule_version: int = Field(examples=[3])
    runners: int | None = Field(None, examples=[1200], description="as score")
    served: str = Field(
        examples=["race"],
        description="where the order comes from: race, opening, operators, standings (rules=off); last_frame if stale",
    )
    phase: str = Field(examples=["burst"], description="id of the phase that holds; empty without one")
    phase_ends_ms: int | None = Field(None, examples=[1763827200000])
    told: list[str] | None = Field(None, examples=[[]], description="what the board could not do as asked; as score")
    conflicts: int | None = Field(None, examples=[0], description="orders without effect because of others; as score")
    moved_since_ms: int | None = Field(
        None, examples=[1763740739980], description="moment of the board that movement is told from: 60 to 70 s before"
    )
    stale: bool = Field(examples=[False], description="true while Redis or the scorer is away")
    segment: str | None = Field(None, examples=["new"], description="the segment whose board it is, where one is asked")


class SlotsOut(HeadOut):
    """The first slots of one frame (帧)."""

    evolved: bool = Field(examples=[False], description="whether there is a newer frame than this one")
    slots: list[SlotOut]
    next: str | None = Field(
        None,
        examples=["hOFPmJWmaGFsbC0xzwAAAZqnVSAAzbxSMsDAkA"],
        description="cursor of the next page; null at the end",
    )


class BoardsOut(BaseModel):
    """The current frames of several venues."""

    boards: list[SlotsOut] = Field(description="in the order asked for")
    missing: list[str] = Field(examples=[[]], description="venues that are not there, or not for this caller")
