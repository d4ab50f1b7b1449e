"""Log entries: event batches as packed columns, decisions as JSON, and empty ticks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from racing.errors import CorruptRecordError
from racing.events import EventBatch
from racing.model import Position

EVENTS_FIELD = b"events"
DECISION_FIELD = b"decision"
TICK_FIELD = b"tick"

Attribute = str | bool | int | float

NUMBER_MAX = 1e15
"""Attributes beyond this, either way, cannot be terms: times the largest weight, sums of them stay finite."""


NUMBERS_AHEAD_MAX = 100_000
"""Runner numbers are given one after the other, and lost enrolments leave a gap. A number as far ahead as this was never
given, and room for all below it would take the memory that the race needs."""


class Runner(msgspec.Struct, frozen=True, omit_defaults=True):
    """A product enrolled in a venue (参赛商品), as its operator gave it.

    price and list_price are minor units; stock is the last stated number, None where unknown;
    entry_score and numeric attributes can be terms of the rule.
    """

    product: str
    merchant: str
    title: str
    category: str | None = None
    series: str | None = None
    tier: str | None = None
    price: int | None = None
    list_price: int | None = None
    stock: int | None = None
    image: str | None = None
    url: str | None = None
    entry_score: float | None = None
    attributes: dict[str, Attribute] = {}

    def numbers(self) -> dict[str, float]:
        """What an attribute term can name: entry_score and every numeric attribute, within NUMBER_MAX."""
        given = dict(self.attributes)
        if self.entry_score is not None:
            given["entry_score"] = self.entry_score
        return {
            name: float(value)
            for name, value in given.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX
        }


class RuleChange(msgspec.Struct, frozen=True, tag="rule", tag_field="type"):
    """Rule version ``version`` holds from this entry on."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    rule: dict[str, Any]
    author: str = ""
    note: str = ""


class Enrolment(msgspec.Struct, frozen=True, tag="enrol", tag_field="type"):
    """Runners that join, or whose data changes: (enrolment number, data) pairs."""

    runners: list[tuple[Annotated[int, msgspec.Meta(ge=0)], Runner]]

    def follows(self, runners: int) -> bool:
        """Whether it can come after so many enrolments; one that cannot is damaged, and to be passed over."""
        return all(number < runners + NUMBERS_AHEAD_MAX for number, _ in self.runners)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time itself: nothing else happened, but a step was due."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that cannot be decoded; it is counted and passed over, the race goes on."""

    reason: str


Body = EventBatch | RuleChange | Enrolment | Tick | Unreadable
_decode_decision = msgspec.json.Decoder(RuleChange | Enrolment).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a venue's log. Its moment is the ms part of its position."""

    position: Position
    body: Body


def encode_decision(decision: RuleChange | Enrolment) -> bytes:
    """A decision as the JSON that stands in the log."""
    return _encode(decision)


def decode_body(fields: dict[bytes, bytes]) -> Body:
    """The body in a stream entry's fields; Unreadable rather than an error for anything unknown."""
    try:
        if EVENTS_FIELD in fields:
            return EventBatch.unpack(fields[EVENTS_FIELD])
        if DECISION_FIELD in fields:
            decision: RuleChange | Enrolment = _decode_decision(fields[DECISION_FIELD])
            return decision
        if TICK_FIELD in fields:
            return Tick()
    except (CorruptRecordError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return Unreadable(str(exc))
    return Unreadable(f"no known field among {sorted(fields)!r}")
