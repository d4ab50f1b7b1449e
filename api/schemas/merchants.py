"""Answers to merchants (pydantic), as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.alerts import Kind
from api.schemas.fields import BULK_MAX, Id, header
from api.schemas.slots import StepOut, TermOut
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


class MovementOut(BaseModel):
    """Slots won since an earlier board, negative for lost; null for a product that was not on it, or is not now."""

    one_min: int | None = Field(examples=[3])
    five_min: int | None = Field(examples=[-2])
    since_start: int | None = Field(examples=[12], description="since a minute after the venue was made")


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
    movement: MovementOut
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


class ExcludedOut(BaseModel):
    """The exclusion that keeps a product off the board."""

    order: str = Field(examples=["x-1"])
    reason: str = Field(examples=["price not as agreed"])
    withdrawn: bool = Field(examples=[False], description="taken out of the race by its merchant or an operator")
    until_ms: int | None = Field(examples=[1763744400000], description="null: for good")


class LikelyOut(BaseModel):
    """The standings that chance allows: 8th, likely 6 to 11."""

    best: int = Field(examples=[6])
    worst: int = Field(examples=[11])
    share: float = Field(examples=[0.8], description="how often such a range holds the true standing")


class NeighbourOut(BaseModel):
    """One that stands next to a product."""

    standing: int = Field(examples=[7])
    gap: float = Field(examples=[0.42], description="difference of the scores")
    product: str | None = Field(
        examples=["p-1002"], description="this and title: null unless the venue names neighbours"
    )
    title: str | None = Field(examples=["Earbuds with a case"])


class NeighboursOut(BaseModel):
    """Who stands next to a product, the nearest first."""

    above: list[NeighbourOut]
    below: list[NeighbourOut]


class ForecastOut(BaseModel):
    """What becomes of the stock at the pace of the last window, each payment taken for one piece."""

    per_hour: float = Field(examples=[36.0], description="pieces; the range is what chance allows in 80 of 100 cases")
    per_hour_low: float = Field(examples=[14.2])
    per_hour_high: float = Field(examples=[67.1])
    sold_out_in_s: int | None = Field(examples=[48000], description="null: never at this pace, or stock unknown")
    sold_out_soonest_s: int | None = Field(examples=[25752])
    sold_out_latest_s: int | None = Field(examples=[121690])
    lead_time_s: int = Field(examples=[86400])
    restock: int | None = Field(examples=[422], description="pieces to order so that they last through the lead time")
    order_in_s: int | None = Field(examples=[0], description="until they must be ordered; 0: now")


class StandingDetail(StandingOut):
    """One product in one venue, looked at closely."""

    state: Literal["racing", "excluded", "withdrawn"] = Field(examples=["excluded"])
    excluded: ExcludedOut | None = Field(
        examples=[{"order": "x-1", "reason": "price not as agreed", "withdrawn": False, "until_ms": 1763744400000}],
        description="null while nothing keeps it off the board",
    )
    steps: list[StepOut] = Field(description="what moved it from its standing to its slot, in the order of operations")
    likely: LikelyOut | None = Field(
        examples=[{"best": 6, "worst": 11, "share": 0.8}], description="null for a field without noise"
    )
    neighbours: NeighboursOut
    stock_forecast: ForecastOut


class ProductOut(BaseModel):
    """One product of a merchant, in each venue that it races in."""

    merchant: str = Field(examples=["m-7"])
    product: str = Field(examples=["p-1001"])
    frames: list[FrameOut]
    venues: list[StandingDetail]


class ProductsIn(Strict):
    """Products to look up, at most 1,000."""

    products: Annotated[list[Id], Field(min_length=1, max_length=BULK_MAX, examples=[["p-1001", "p-1002"]])]


class BulkOut(BaseModel):
    """Where products of one venue stand."""

    frames: list[FrameOut]
    runners: list[StandingOut] = Field(description="in the order asked for, each once")
    absent: list[str] = Field(examples=[["p-1002"]], description="not enrolled, or not for this key")


class AlertOut(BaseModel):
    """One change of a merchant's product, or, where product is null, of all that it has."""

    kind: Kind = Field(examples=["excluded"])
    product: str | None = Field(examples=["p-1001"], description="null: all of the merchant's")
    title: str | None = Field(examples=["Noise-cancelling earbuds"], description="null: it was on neither board")
    slot: int | None = Field(examples=[8], description="slot on the current board; null: not on it")
    was: int | None = Field(examples=[12], description="slot on the board of since")
    stock: int | None = Field(examples=[7], description="as last stated, of a product on the current board")
    order: str | None = Field(examples=["x-1"], description="this and the rest: of excluded and restored")
    reason: str | None = Field(examples=["price not as agreed"], description="why it was excluded")
    withdrawn: bool | None = Field(examples=[False], description="taken out of the race by its merchant or an operator")
    until_ms: int | None = Field(examples=[1763744400000], description="end of the exclusion; null: for good")


class AlertsOut(BaseModel):
    """What changed for a merchant's products in one venue, or what holds now."""

    merchant: str = Field(examples=["m-7"])
    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210], description="the current frame, up to which alerts are told")
    epoch: int = Field(examples=[1763740800000])
    at_ms: int = Field(examples=[1763740800123], description="moment of the frame")
    stale: bool = Field(examples=[False], description="true while Redis or the scorer is away")
    page: int = Field(examples=[10], description="slots of the first page")
    full: bool = Field(
        examples=[False],
        description="true: since was not given, or is not known (any more): alerts are all that holds now",
    )
    next: str = Field(examples=["1763740800000-48210.1763740800150"], description="since of the next request")
    alerts: list[AlertOut]


class HistoryOut(BaseModel):
    """How a product stood: a column each, of the same length. Null: it was not on the board, or among the first 10,000.

    Also where nothing is kept of that moment. Behind the first 10,000 a product is kept where somebody asked for it.
    """

    merchant: str = Field(examples=["m-7"])
    product: str = Field(examples=["p-1001"])
    venue: str = Field(examples=["hall-1"])
    kept_until_ms: int | None = Field(
        examples=[1763827200000],
        description="until then it is kept wherever it stands; null: among the first 10,000 alone",
    )
    from_ms: int = Field(examples=[1763737200000], description="moment of the first point, log time")
    every_s: int = Field(examples=[10], description="between two points")
    slot: list[int | None] = Field(examples=[[8, 7, 7]])
    standing: list[int | None] = Field(examples=[[8, 7, 6]])
    score: list[float | None] = Field(examples=[[12.31, 12.4, 12.6]])


class HistoryKept(BaseModel):
    """A product whose standings are kept wherever it stands."""

    merchant: str = Field(examples=["m-7"])
    product: str = Field(examples=["p-1001"])
    venue: str = Field(examples=["hall-1"])
    kept_until_ms: int = Field(examples=[1763827200000], description="when that ends, if nobody asks again")


STANDINGS_FOLLOWED: dict[str, Any] = {
    "description": "Events until either side ends it. `standings`: data is all rows, best first, as the list of"
    " products has them but for terms, metrics and some more, with `frames`, and `alerts`: all that holds in"
    " the venues that `full` names, what changed since in others. `changes`: what makes the rows of those before:"
    " `frames` that are new, venues that are `gone`, rows that have `left` (venue and runner), whole ones that have"
    " `entered`, those that have `changed` (venue, runner and the fields that differ), and the alerts that came;"
    " `since` and `next` name both. `bye`: the service ends it, come again after retry ms. The id of an event is its"
    " `next`. Lines that begin with a colon are to be passed over: one comes every 15 s at least.",
    "headers": {"Cache-Control": header("no-cache, no-transform")},
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": "retry: 2417\n\n"
            "event: standings\nid: hall-1:1763740800000-48210.1763740800150~3f9c11d2.0\n"
            'data: {"merchant":"m-7","next":"hall-1:1763740800000-48210.1763740800150~3f9c11d2.0","frames":['
            '{"venue":"hall-1","frame":48210}],"runners":[{"venue":"hall-1","product":"p-1001","runner":0,'
            '"title":"Earbuds","slot":8,"standing":8,"score":12.31,"movement":{"one_min":3,"five_min":-2,'
            '"since_start":null}}],"full":["hall-1"],"alerts":[{"venue":"hall-1","kind":"entered_board",'
            '"product":"p-1001"}]}\n\n'
            "event: changes\nid: hall-1:1763740800000-48215.1763740800650~3f9c11d2.1\n"
            'data: {"merchant":"m-7","since":"hall-1:1763740800000-48210.1763740800150~3f9c11d2.0",'
            '"next":"hall-1:1763740800000-48215.1763740800650~3f9c11d2.1","frames":[{"venue":"hall-1","frame":48215}],'
            '"gone":[],"left":[],"entered":[],"changed":[{"venue":"hall-1","runner":0,"slot":7,"standing":7}],'
            '"full":[],"alerts":[]}\n\n',
        }
    },
}
"""The answer of a merchant's live stream."""
