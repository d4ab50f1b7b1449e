"""How far a venue has come, as OpenAPI shows it; the answer is relayed as a follower makes it (racing/targets.py)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class FigureOut(BaseModel):
    """One figure; null where there is none."""

    target: float | None = Field(examples=[200_000])
    actual: float | None = Field(examples=[151_204.8])
    delta: float | None = Field(examples=[-0.244], description="actual over target - 1")


class ReachedOut(BaseModel):
    """How far the venue, a phase or a source has come: sales = traffic x conversion x basket."""

    sales: FigureOut = Field(description="paid in all, minor units")
    traffic: FigureOut = Field(description="different users seen, an estimate")
    conversion: FigureOut = Field(description="different payers over different users")
    basket: FigureOut = Field(description="paid per payer, minor units")
    short: Literal["traffic", "conversion", "basket"] | None = Field(
        examples=["traffic"], description="the factor that is furthest below its target"
    )
    payments: int = Field(examples=[4120])
    refunded: int = Field(examples=[830_000], description="stated by refunds, minor units; not taken off sales")
    refunds: int = Field(examples=[61])
    impressions: int = Field(examples=[1_900_310])
    paid_per_1000_impressions: float | None = Field(examples=[21_504.7])


class SlotOutputOut(BaseModel):
    """What a slot brought (坑产), of events that name their slot."""

    slot: int = Field(examples=[1])
    impressions: int = Field(examples=[90_310])
    paid: int = Field(examples=[4_410_000])
    paid_per_1000_impressions: float | None = Field(examples=[48_831.8])


class MerchantShareOut(BaseModel):
    """A merchant's share of all impressions beside that of all sales, since the race began."""

    merchant: str = Field(examples=["m-17"])
    impressions: int = Field(examples=[190_031])
    paid: int = Field(examples=[9_100_000])
    impressions_share: float | None = Field(examples=[0.1])
    paid_share: float | None = Field(examples=[0.22])


class SharingOut(BaseModel):
    """How impressions and sales are shared among merchants: Gini, 0 for equal shares, towards 1 for all to one."""

    merchants: int = Field(examples=[84])
    impressions_gini: float | None = Field(examples=[0.61])
    paid_gini: float | None = Field(examples=[0.74])
    largest: list[MerchantShareOut] = Field(description="by sales, at most 100")


class ReportOut(BaseModel):
    """Targets and what was reached, as the race stands at position."""

    venue: str = Field(examples=["hall-1"])
    epoch: int = Field(examples=[1763740800000])
    frame: int = Field(examples=[48210])
    position: str = Field(examples=["1763740800123-0"])
    at_ms: int = Field(examples=[1763740800123])
    rule_version: int = Field(examples=[3])
    traffic_error: float = Field(
        examples=[0.01625],
        description="relative standard error of traffic; of payers, in conversion and basket, too",
    )
    whole: ReachedOut = Field(description="the whole venue")
    phases: dict[str, ReachedOut] = Field(examples=[{}], description="by id of the phase")
    sources: dict[str, ReachedOut] = Field(examples=[{}], description="by name of the entrance")
    slots: list[SlotOutputOut]
    sharing: SharingOut
