"""Questions about a venue and what followers answer, as OpenAPI shows them. The answers are relayed as they come."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas.fields import Id
from api.schemas.slots import StepOut, TermOut
from racing.documents import Strict, wrong
from racing.orders import Order
from racing.questions import Draft, rule_document
from racing.rule import DEFAULT_RULE, Rule

ORDERS_MAX = 200


class DraftIn(Strict):
    """What would be decided: another rule, with its board settings, and orders of the desk to put or to withdraw.

    What is left out stays as it is.
    """

    rule: Rule | None = Field(None, examples=[DEFAULT_RULE.model_dump(mode="json", exclude_none=True)])
    put: list[Order] = Field([], max_length=ORDERS_MAX, description="orders, each in place of the one under its id")
    withdraw: list[Id] = Field([], max_length=ORDERS_MAX, description="ids of orders that would no longer hold")

    def draft(self) -> Draft:
        """The draft as a follower takes it."""
        put = [order.model_dump(mode="json", exclude_none=True) for order in self.put]
        return Draft(None if self.rule is None else rule_document(self.rule), put, list(self.withdraw))


class WhatIfIn(DraftIn):
    """A draft, and over which time it is to be looked at."""

    minutes: int = Field(10, ge=1, le=10_080, description="back from the last commit; less where less is kept")
    every_s: int | None = Field(
        None, ge=1, le=3600, description="seconds between boards that are compared; about 120 boards where left out"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.rule is None and not self.put and not self.withdraw:
            raise wrong("names nothing that would be otherwise: give rule, put or withdraw")
        return self


class At(BaseModel):
    """Where an answer stands: all of the log up to position, under this rule version."""

    venue: str = Field(examples=["hall-1"])
    epoch: int = Field(examples=[1763740800000])
    frame: int = Field(examples=[48210], description="the last frame up to there; 0 where it is not known")
    position: str = Field(examples=["1763740800123-0"])
    at_ms: int = Field(examples=[1763740800123], description="moment of the last entry, ms of log time")
    rule_version: int = Field(examples=[3])


class HeldOut(BaseModel):
    """A slot of a board as its frame has it."""

    slot: int = Field(examples=[3])
    runner: int = Field(examples=[17], description="enrolment number")
    product: str = Field(examples=["p-1001"])
    score: float | None = Field(None, examples=[12.31], description="with boosts; this and terms: as explained")
    terms: list[TermOut] | None = None
    standing: int | None = Field(None, examples=[3])
    labels: list[str] = Field([], examples=[["pinned"]])
    steps: list[StepOut] = []


class TermChangeOut(BaseModel):
    """What a term contributes on either side; null where that rule has no such term."""

    name: str = Field(examples=["click surge"])
    before: float | None = Field(examples=[3.2])
    after: float | None = Field(examples=[1.6])


class ElsewhereOut(BaseModel):
    """A product that would be elsewhere."""

    product: str = Field(examples=["p-1001"])
    slot_before: int | None = Field(examples=[7], description="null: not on the board")
    slot_after: int | None = Field(examples=[4])
    standing_before: int = Field(examples=[7])
    standing_after: int = Field(examples=[4])
    score_before: float = Field(examples=[8.1])
    score_after: float = Field(examples=[9.4])
    terms: list[TermChangeOut]


class NotFullOut(BaseModel):
    """Something that the draft counts and that is not kept whole."""

    what: str = Field(examples=["events of kind scan"])
    full_from_ms: int = Field(examples=[1763741400123], description="from when it would be")


class HiddenOut(BaseModel):
    """A product that races and has no place on the draft's board."""

    product: str = Field(examples=["p-1002"])
    standing: int = Field(examples=[2])
    score: float = Field(examples=[11.9])
    why: str = Field(examples=["sold out"], description="the exclusion and its reason, or sold out")
    slot_before: int | None = Field(None, examples=[2])


class PreviewOut(At):
    """The board that a draft would make now, beside the present one."""

    slots: list[HeldOut] = Field(description="the draft's board")
    entered: list[ElsewhereOut]
    left: list[ElsewhereOut]
    rose: list[ElsewhereOut]
    fell: list[ElsewhereOut]
    unmoved: int = Field(examples=[41], description="products in the same slot on both")
    overlap: float = Field(examples=[0.96], description="share of the slots whose products are on both boards")
    not_full: list[NotFullOut]
    told: list[str] = Field(examples=[[]], description="what the draft's board could not do as it was asked, in words")
    served: str = Field(examples=["race"], description="race, opening or operators")
    phase: str = Field(examples=[""], description="the phase that would hold; empty without one")
    hidden: list[HiddenOut] | None = Field(None, description="on request, the best 500 of them")
    segment: str | None = Field(None, examples=[None], description="whose boards these are, where one was asked for")


class ComparedOut(BaseModel):
    """Both boards just before a moment."""

    at_ms: int = Field(examples=[1763740800000])
    position: str = Field(examples=["1763740799980-0"])
    overlap: float = Field(examples=[0.94])
    rank_change: float = Field(examples=[1.2], description="mean of the slots that a product on both is moved")
    entered: list[str] = Field(examples=[["p-1002"]])
    left: list[str] = Field(examples=[["p-1003"]])


class TermShareOut(BaseModel):
    """What a term contributes to a slot on average, over all boards; null: no term of that rule."""

    name: str = Field(examples=["click surge"])
    served: float | None = Field(examples=[3.2])
    draft: float | None = Field(examples=[1.6])


class WhatIfOut(At):
    """The last minutes under a draft, beside what was served."""

    from_ms: int = Field(examples=[1763740200000])
    until_ms: int = Field(examples=[1763740800123], description="the last commit, or as far as it came")
    whole: bool = Field(examples=[True], description="false: its time ran out at until_ms; ask for fewer minutes")
    every_ms: int = Field(examples=[5000])
    events: int = Field(examples=[180204], description="events folded")
    boards: list[ComparedOut]
    same: int = Field(examples=[12], description="boards that are the same, slot by slot")
    overlap: float | None = Field(examples=[0.93], description="mean over the boards")
    rank_change: float | None = Field(examples=[1.4])
    terms: list[TermShareOut]
    warm_from_ms: int = Field(examples=[1763739600000], description="from when the draft's windows were whole")
    assumed: list[str] = Field(examples=[["no sales are forecast"]])


class MetricSumsOut(BaseModel):
    """What one metric counts for a product."""

    metric: str = Field(examples=["order"])
    event: str = Field(examples=["order"])
    sum: Literal["count", "amount"] = Field(examples=["count"])
    window: int = Field(examples=[14])
    base: float = Field(examples=[9.5], description="exact to a tenth")
    total: int = Field(examples=[230], description="since the race began")


class OpeningOut(BaseModel):
    """The opening order of a phase in a score s, which becomes (1 - weight) * s + weight * value."""

    weight: float = Field(examples=[0.25])
    value: float = Field(examples=[3.0])


class DrawnSumsOut(BaseModel):
    """What one metric counts for a product in a segment, and what of it is scored."""

    metric: str = Field(examples=["order"])
    part: float = Field(examples=[0.31], description="the segment's part of the venue's sum; 0: the venue's are scored")
    window: int = Field(examples=[4])
    base: float = Field(examples=[2.5], description="exact to a tenth")
    drawn_window: float = Field(examples=[13.6])
    drawn_base: float = Field(examples=[9.1])


class DrawnOut(BaseModel):
    """How a product's sums in a segment are drawn towards the whole venue's: weight * own / part + the rest of it."""

    name: str = Field(examples=["new"])
    events: float = Field(examples=[6.5], description="of the rule's metrics, the product's own in the segment")
    prior: float = Field(examples=[20.0])
    weight: float = Field(examples=[0.245], description="events / (events + prior)")
    sums: list[DrawnSumsOut]


class ExplainedOut(BaseModel):
    """A product's place and what makes it."""

    product: str = Field(examples=["p-1001"])
    runner: int = Field(examples=[17], description="enrolment number; decides ties")
    standing: int = Field(examples=[3], description="among all that race, from 1")
    of: int = Field(examples=[1200])
    slot: int | None = Field(examples=[2], description="null: not on the board")
    score: float = Field(examples=[1.6], description="with boosts")
    summed: float = Field(examples=[1.6], description="the contributions, added in their order, to the last bit")
    boost: float = Field(examples=[1.0], description="the score is s * boost where s > 0, else s / boost")
    opening: OpeningOut | None = Field(
        None, description="of a phase that begins; with boosts, it makes score of summed"
    )
    terms: list[TermOut]
    sums: list[MetricSumsOut] = Field(description="the whole venue's")
    labels: list[str] = []
    steps: list[StepOut] = Field(description="what moved it away from its standing, in the order of operations")
    out: StepOut | None = Field(None, description="what took it off the board, or standings; null on the board")
    segment: DrawnOut | None = Field(
        None, examples=[None], description="where one was asked for: what is scored there in place of sums"
    )


class ExplainOut(At, ExplainedOut):
    """Why a product stands where it stands, or stood."""


class SlotExplainOut(At):
    """Who holds a slot, or held it, and why."""

    slot: int = Field(examples=[3])
    held: HeldOut
    explained: ExplainedOut | None = Field(
        None,
        description="null where the log no longer reaches back so far, or it is not for this key",
        examples=[None],
    )


class FurtherEventsOut(BaseModel):
    """So many further events of a kind; coarse advice gives a range."""

    event: str = Field(examples=["order"])
    number: int | None = Field(None, examples=[12])
    at_least: int | None = Field(None, examples=[10])
    at_most: int | None = Field(None, examples=[20])
    amount: int = Field(0, examples=[19900], description="of each, minor units; 0: without one")
    reaches_standing: int | None = Field(None, examples=[19])
    reaches_slot: int | None = Field(None, examples=[19])


class MixOut(BaseModel):
    """Further events of several kinds together, in the venue's own proportions."""

    changes: list[FurtherEventsOut]
    reaches_standing: int = Field(examples=[19])
    reaches_slot: int | None = Field(examples=[19])


class AdviceOut(At):
    """What would take a product to a place, and how long it keeps its own."""

    product: str = Field(examples=["p-1001"])
    mode: Literal["coarse", "exact"] = Field(examples=["exact"])
    standing: int = Field(examples=[37])
    of: int = Field(examples=[1200])
    slot: int | None = Field(examples=[37])
    wanted: int | None = Field(examples=[20], description="the standing to reach; null: the present one is as good")
    alone: list[FurtherEventsOut] = Field(description="the fewest events of each kind by itself")
    not_alone: list[str] = Field(examples=[["refund"]], description="kinds that do not get there by themselves")
    mix: MixOut | None = None
    lasts_ms: int | None = Field(
        examples=[48000], description="until the standing is worse if nothing more happens; null: it stays"
    )
    assumed: list[str] = Field(examples=[["nothing else happens meanwhile: others keep their scores"]])


class StockAlertOut(BaseModel):
    """A product that sells out before new goods can come."""

    product: str = Field(examples=["p-1001"])
    runner: int = Field(examples=[17], description="enrolment number")
    stock: int = Field(examples=[120], description="pieces, as last stated")
    per_hour: float = Field(examples=[36.0], description="pieces: the window's payments, each taken for one")
    threshold: float = Field(examples=[864.0], description="safety stock + velocity x lead time; stock is no more")
    sells_out_in_s: float | None = Field(examples=[12000.0], description="at this pace; null while nothing sells")
    sells_out_at_ms: int | None = Field(examples=[1763752800123], description="ms of log time")


class StockAlertsOut(At):
    """Products to restock now, the first to sell out first; those that do not sell come last."""

    safety_stock: int = Field(examples=[0])
    lead_time_s: int = Field(examples=[86400])
    window_s: int = Field(examples=[600], description="the window that velocity is told from")
    watched: int = Field(examples=[1180], description="products whose stock is known and that are not excluded")
    alerts: list[StockAlertOut]
    more: int = Field(examples=[0], description="alerts beyond limit")
