"""Requests and answers of the operators' desk (pydantic), as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas import BULK_MAX, EnrolledOut, Id, RefusedProduct, RunnerIn, Text
from racing.conditions import Conditions
from racing.decisions import What
from racing.documents import Strict, wrong
from racing.lifecycle import State
from racing.model import ID_PATTERN
from racing.moments import WORDS, moment_text, parse_moment
from racing.orders import Boost, Emergency, Exclusion, Freeze, Moment, Order, Phase, Pin, parse_order
from racing.rule import DEFAULT_RULE, Rule
from racing.store.audit import Told
from racing.store.orders import KeptOrder, document_of

OrderId = Annotated[str, Field(pattern=ID_PATTERN)]
Note = Annotated[str, Field(max_length=500, description="why, for the audit")]
ENTRY_PATTERN = r"^[0-9]{1,15}-[0-9]{1,15}$"
"""A log entry, as answers name it."""
_RULE = DEFAULT_RULE.model_dump(mode="json", exclude_none=True)
_TIME: dict[str, Any] = {"format": "date-time"}


def _example(document: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [document]})


class _Timed(Strict):
    """Times as people write them, in place of milliseconds."""

    start: str | None = Field(
        None,
        description="in place of start_ms: RFC 3339 with its offset from UTC",
        examples=["2036-11-11T00:00:00+08:00"],
        json_schema_extra=_TIME,
    )
    end: str | None = Field(
        None,
        description="in place of end_ms: RFC 3339 with its offset from UTC",
        examples=["2036-11-11T02:00:00+08:00"],
        json_schema_extra=_TIME,
    )

    @model_validator(mode="before")
    @classmethod
    def _in_ms(cls, given: Any) -> Any:
        """Times in words become ms: what follows knows only those."""
        if not isinstance(given, dict):
            return given
        made = dict(given)
        for name in ("start", "end"):
            text = made.pop(name, None)
            if text is None:
                continue
            if made.get(f"{name}_ms") is not None:
                raise wrong("give {name} or {name}_ms, not both", at=(name,), name=name)
            if not isinstance(text, str):
                raise wrong(WORDS, at=(name,))
            try:
                made[f"{name}_ms"] = parse_moment(text)
            except ValueError as exc:
                raise wrong("{why}", at=(name,), why=str(exc)) from exc
        return made

    def order(self, name: str) -> Order:
        """The order under an id."""
        return parse_order({**self.model_dump(mode="json", exclude_none=True, exclude={"start", "end"}), "id": name})


class PinIn(Pin, _Timed):
    """A pin (坑位锁定) as it is sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "pin", "product": "p-1001", "slot": 1, "end": "2036-11-12T00:00:00+08:00", "note": "sold"}
            ]
        }
    )

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["hero"])
    kind: Literal["pin"] = "pin"


class PinnedIn(_Timed):
    """A pin whose slot, and with it whose id, the address says."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"product": "p-1001", "end": "2036-11-12T00:00:00+08:00", "note": "sold"}]}
    )

    product: OrderId = Field(examples=["p-1001"])
    hard: bool = Field(default=True, description="exactly there; false: never below it, and higher by its own score")
    label: Literal["pinned", "paid"] = Field("pinned", description="what shoppers are told")
    start_ms: Moment | None = Field(None, description="holds from this moment on; at once where not given")
    end_ms: Moment | None = Field(None, description="holds until just before this moment; for good where not given")
    active: bool = Field(default=True, description="false: kept, and without effect")
    note: Note = ""

    def at(self, slot: int) -> Order:
        """The pin at a slot."""
        given = self.model_dump(exclude_none=True, exclude={"start", "end"})
        return parse_order({**given, "kind": "pin", "id": f"pin.{slot}", "slot": slot})


class BoostIn(Boost, _Timed):
    """A boost, or below 1 a bury (加权, 打压), as it is sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"product": "p-1001", "factor": 1.5, "end": "2036-11-12T00:00:00+08:00"}]}
    )

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["nudge"])
    kind: Literal["boost"] = "boost"


class ExclusionIn(Exclusion, _Timed):
    """An exclusion (下架) as it is sent."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"product": "p-1001", "reason": "complaints of 11 November"}]}
    )

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["recall"])
    kind: Literal["exclude"] = "exclude"


class FreezeIn(Freeze, _Timed):
    """A freeze (冻结) as it is sent."""

    model_config = _example({"slots": 4, "end": "2036-11-12T00:00:00+08:00"})

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["freeze"])
    kind: Literal["freeze"] = "freeze"


class EmergencyIn(Emergency, _Timed):
    """The operators' own order (应急榜) as it is sent."""

    model_config = _example({"products": ["p-1001"], "note": "runbook 7"})

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["emergency"])
    kind: Literal["emergency"] = "emergency"


class PhaseIn(Phase, _Timed):
    """A phase (预热, 爆发, 返场) as it is sent. Its rule is kept as a version of its own, whose number is given."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Burst", "start": "2036-11-11T00:00:00+08:00", "rule": _RULE}]}
    )

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["burst"])
    kind: Literal["phase"] = "phase"
    version: int = Field(1, ge=1, description="given by the service, whatever is sent; so is formula")


OrderIn = PinIn | BoostIn | ExclusionIn | FreezeIn | EmergencyIn | PhaseIn
Sent = Annotated[OrderIn, Field(discriminator="kind")]


class OrdersIn(Strict):
    """Orders to put and ids of orders to withdraw, all or none, as one decision."""

    put: list[Sent] = Field(
        [],
        max_length=BULK_MAX,
        description="each new, or in place of the one under its id",
        examples=[[{"kind": "pin", "id": "hero", "product": "p-1001", "slot": 1}]],
    )
    withdraw: list[OrderId] = Field([], max_length=BULK_MAX, description="ids of orders that end now", examples=[[]])
    note: Note = Field("", examples=["the hero slot is sold"])

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.put and not self.withdraw:
            raise wrong("names nothing to do: give put or withdraw")
        return self


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


class OrderOut(BaseModel):
    """An order as it is kept: its own fields, in which time it holds, and who put it."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(examples=["hero"])
    kind: Literal["pin", "boost", "exclude", "freeze", "emergency", "phase"] = Field(examples=["pin"])
    state: Literal["scheduled", "in force", "ended", "inactive"] = Field(examples=["in force"])
    start_ms: int | None = Field(None, examples=[2093961600000], description="null: from when it was put")
    start: str | None = Field(None, examples=["2036-11-10T16:00:00Z"], description="start_ms, in UTC")
    end_ms: int | None = Field(None, examples=[2093968800000], description="null: for good")
    end: str | None = Field(None, examples=["2036-11-10T18:00:00Z"], description="end_ms, in UTC")
    who: str = Field(examples=["night-shift"], description="name of the key that put it")
    entry: str = Field(examples=["1763740800123-0"], description="log entry that put it; its ETag")

    @classmethod
    def of(cls, kept: KeptOrder, now_ms: int) -> Self:
        """The answer for an order at a moment."""
        order = kept.order
        times = {
            name: None if at_ms is None else moment_text(at_ms)
            for name, at_ms in (("start", order.start_ms), ("end", order.end_ms))
        }
        told = {"state": _state(order, now_ms), "who": kept.who, "entry": kept.entry}
        return cls.model_validate({**document_of(order), **times, **told})


def _state(order: Order, now_ms: int) -> str:
    if not order.active:
        return "inactive"
    if order.holds(now_ms):
        return "in force"
    return "ended" if order.end_ms is not None and order.end_ms <= now_ms else "scheduled"


class OrderList(BaseModel):
    """Orders of a venue, by id."""

    orders: list[OrderOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["hero"])


class Visible(BaseModel):
    """A decision's entry in the log, and the frame from which it is visible."""

    entry: str = Field(examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000], description="null while no frame holds it yet")
    frame: int | None = Field(None, examples=[48213], description="null while no frame holds it yet")


class OrdersChanged(Visible):
    """What a decision did to orders; nothing where all was so already."""

    put: list[OrderOut] = []
    withdrawn: list[str] = Field([], examples=[["nudge"]])
    rule_version: int | None = Field(None, examples=[None], description="of the rule that was put with them")


class SwapIn(Strict):
    """The product that takes another's place."""

    model_config = _example({"runner": {"product": "p-1002", "merchant": "m-7", "title": "Earbuds, second edition"}})

    runner: RunnerIn
    note: Note = Field("", examples=["the first edition is sold out"])


class Swapped(Visible):
    """A product in another's place."""

    product: str = Field(examples=["p-1002"])
    orders: list[str] = Field([], examples=[[]], description="ids of orders that still name the one that went")


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


class EverywhereIn(Strict):
    """A product, or a merchant, to take off every board."""

    product: Id | None = Field(None, examples=["p-1001"])
    merchant: Id | None = Field(None, examples=[None])
    reason: Annotated[str, Field(min_length=1, max_length=200)] = Field(examples=["complaints of 11 November"])

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.product is None) == (self.merchant is None):
            raise wrong("exactly one of product and merchant says whom it means", at=("product",))
        return self


class RestoreEverywhereIn(Strict):
    """A product, or a merchant, to let back onto every board."""

    product: Id | None = Field(None, examples=["p-1001"])
    merchant: Id | None = Field(None, examples=[None])
    note: Note = ""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.product is None) == (self.merchant is None):
            raise wrong("exactly one of product and merchant says whom it means", at=("product",))
        return self


class InVenue(BaseModel):
    """What became of it in one venue."""

    venue: str = Field(examples=["hall-1"])
    result: Literal["done", "so already", "not there", "failed"] = Field(
        examples=["done"], description="failed: ask again, which changes nothing where it was done"
    )
    entry: str | None = Field(None, examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000])
    frame: int | None = Field(None, examples=[48213], description="from which it is visible; null while none holds it")
    why: str | None = Field(None, examples=[None])


class Everywhere(BaseModel):
    """What became of it in every venue that the key operates."""

    venues: list[InVenue]


class ChangeOut(BaseModel):
    """One thing that a decision changed."""

    of: str = Field(examples=["hero"], description="id of an order, a product, or the name of what there is once")
    before: Any = Field(None, alias="from", examples=[None], description="null: there was none")
    after: Any = Field(None, alias="to", examples=[{"kind": "pin", "slot": 1}], description="null: there is none")


class DecisionOut(BaseModel):
    """One decision: who changed what, when, from what, to what."""

    entry: str = Field(examples=["1763740800123-0"], description="log entry that made it")
    at_ms: int = Field(examples=[1763740800123])
    at: str = Field(examples=["2025-11-21T16:00:00.123Z"])
    who: str = Field(examples=["night-shift"], description="name of the key that decided")
    what: What = Field(examples=["orders"])
    note: str = Field("", examples=["the hero slot is sold"])
    undoes: str = Field("", examples=[""], description="entry of the decision that this one takes back")
    plan: str = Field("", examples=[""], description="the plan that it applies or withdraws")
    changes: list[ChangeOut]

    @classmethod
    def of(cls, told: Told) -> Self:
        """The answer for a decision. Of runners' data only the fields that differ are told."""
        decision = told.decision
        changes = [
            dict(zip(("of", "from", "to"), _change(change.of, change.before, change.after), strict=True))
            for change in decision.changes
        ]
        return cls.model_validate(
            {
                "entry": told.entry,
                "at_ms": told.at_ms,
                "at": moment_text(told.at_ms),
                "who": decision.who,
                "what": decision.what,
                "note": decision.note,
                "undoes": decision.undoes,
                "plan": decision.plan,
                "changes": changes,
            }
        )


def _change(of: str, before: Any, after: Any) -> tuple[str, Any, Any]:
    if of or not isinstance(after, dict):
        return of, before, after
    product = str(after.get("product", ""))
    before, after = (_without_sum(side) for side in (before, after))
    if not isinstance(before, dict):
        return product, before, after
    moved = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return product, {name: before.get(name) for name in moved}, {name: after.get(name) for name in moved}


def _without_sum(side: Any) -> Any:
    """Data of a runner without the checksum that their hash keeps with them."""
    return {name: value for name, value in side.items() if name != "sum"} if isinstance(side, dict) else side


class AuditOut(BaseModel):
    """A page of decisions, newest first."""

    decisions: list[DecisionOut]
    next_cursor: str | None = Field(
        None, description="pass as cursor for the next page; null at the end", examples=["1763740800123-0"]
    )


class UndoIn(Strict):
    """Why a decision is taken back."""

    note: Note = Field("", examples=["wrong product"])


MaybeNote = Annotated[UndoIn, Body(default_factory=UndoIn)]
MaybeFreeze = Annotated[FreezeIn, Body(default_factory=FreezeIn)]
MaybeFinalists = Annotated[FinalistsIn, Body(default_factory=FinalistsIn)]
"""Bodies that need not be sent: without one, all is by default."""
