"""Orders of the desk as they are put and shown: pins, boosts, exclusions, freezes, phases, the operators' own order."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.decisions import Note, Visible
from api.schemas.fields import BULK_MAX, example
from racing.documents import Strict, wrong
from racing.model import ID_PATTERN
from racing.moments import WORDS, moment_text, parse_moment
from racing.orders import Boost, Emergency, Exclusion, Freeze, Moment, Order, Phase, Pin, parse_order
from racing.rule import DEFAULT_RULE
from racing.store.orders import KeptOrder, document_of

OrderId = Annotated[str, Field(pattern=ID_PATTERN)]
_RULE = DEFAULT_RULE.model_dump(mode="json", exclude_none=True)
_TIME: dict[str, Any] = {"format": "date-time"}


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

    model_config = example({"slots": 4, "end": "2036-11-12T00:00:00+08:00"})

    id: OrderId = Field("", validate_default=False, description="made where not given", examples=["freeze"])
    kind: Literal["freeze"] = "freeze"


class EmergencyIn(Emergency, _Timed):
    """The operators' own order (应急榜) as it is sent."""

    model_config = example({"products": ["p-1001"], "note": "runbook 7"})

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


class OrdersChanged(Visible):
    """What a decision did to orders; nothing where all was so already."""

    put: list[OrderOut] = Field([])
    withdrawn: list[str] = Field([], examples=[["nudge"]])
    rule_version: int | None = Field(None, examples=[None], description="of the rule that was put with them")


MaybeFreeze = Annotated[FreezeIn, Body(default_factory=FreezeIn)]
