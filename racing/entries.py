"""Log entries: event batches as packed columns, decisions as JSON, and empty ticks."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Annotated, Any

import msgspec

from racing.columns import checked_part
from racing.errors import CorruptRecordError
from racing.events import EventBatch
from racing.formats import FORMAT, format_of, refuse_newer
from racing.model import Position
from racing.roster import TRUE

EVENTS_FIELD = b"events"
DECISION_FIELD = b"decision"
TICK_FIELD = b"tick"
AFTER_FIELD = b"after"
"""Beside events and decisions: the position of the one before, as the server has it; empty where it knows none."""
SUM_FIELD = b"sum"
"""Beside a decision: SHA-1 of its JSON, hex, made by the server as it is logged. Event batches carry their own."""

Attribute = str | bool | int | float

NUMBER_MAX = 1e15
"""Attributes beyond this, either way, cannot be terms: times the largest weight, sums of them stay finite."""


NUMBERS_AHEAD_MAX = 100_000
"""Runner numbers are given one after the other, and lost enrolments leave a gap. A number as far ahead as this was
never given, and room for all below it would take the memory that the race needs."""


class Coupon(msgspec.Struct, frozen=True, omit_defaults=True):
    """A coupon for a product (优惠券): so much off, in minor units, where its price is at least ``above``."""

    off: int
    above: int = 0
    title: str | None = None

    def price_after(self, price: int) -> int | None:
        """The price with it, at least 0; None where it does not apply."""
        return max(0, price - self.off) if price >= self.above else None


Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Money and pieces: what JSON carries exactly. A damaged log may hold more, which no column of the race could."""


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
    price: Whole | None = None
    list_price: Whole | None = None
    stock: Whole | None = None
    image: str | None = None
    url: str | None = None
    entry_score: float | None = None
    attributes: dict[str, Attribute] = {}
    coupon: Coupon | None = None

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

    def words(self) -> dict[str, str]:
        """What an order or a setting of the board can name: merchant, category, series, tier, texts, and tags."""
        tags = {name: TRUE for name, value in self.attributes.items() if value is True}
        texts = {name: value for name, value in self.attributes.items() if isinstance(value, str)}
        own = {"merchant": self.merchant, "category": self.category, "series": self.series, "tier": self.tier}
        return {**tags, **texts, **{name: value for name, value in own.items() if value is not None}}


class RuleChange(msgspec.Struct, frozen=True, tag="rule", tag_field="type"):
    """Rule version ``version`` holds from this entry on.

    formula: the version of the scoring formula that it is scored by, for good; one that names none is scored by the
    first. format: of this entry (racing/formats.py).
    """

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    rule: dict[str, Any]
    author: str = ""
    note: str = ""
    formula: int = 1
    format: int = 1


class Enrolment(msgspec.Struct, frozen=True, tag="enrol", tag_field="type"):
    """Runners that join, or whose data changes: (enrolment number, data) pairs."""

    runners: list[tuple[Annotated[int, msgspec.Meta(ge=0)], Runner]]
    author: str = ""
    format: int = 1

    def follows(self, runners: int) -> bool:
        """Whether it can come after so many enrolments; one that cannot is damaged, and to be passed over."""
        ahead = runners + NUMBERS_AHEAD_MAX
        return all(number < ahead + place for place, (number, _) in enumerate(self.runners))


class OrdersChange(msgspec.Struct, frozen=True, tag="orders", tag_field="type"):
    """Orders of the desk that hold from this entry on, and ids of those that no longer do; all of it at once.

    put: documents of racing/orders.py, each in place of the one under its id. undoes: the entry that this one takes
    back; plan: the named set of changes that it applies or withdraws.
    """

    put: list[dict[str, Any]] = []
    withdraw: list[str] = []
    author: str = ""
    note: str = ""
    undoes: str = ""
    plan: str = ""
    format: int = 1


@dataclass(frozen=True, slots=True)
class Tick:
    """Time itself: nothing else happened, but a step was due."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that cannot be decoded; it is counted and passed over, the race goes on."""

    reason: str


Decision = RuleChange | Enrolment | OrdersChange
Body = EventBatch | Decision | Tick | Unreadable
_decode_known = msgspec.json.Decoder(Decision).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a venue's log. Its moment is the ms part of its position.

    mark: what the checksum of a log takes of its bytes, so that another byte is another mark; empty where it was
    made and not read.
    """

    position: Position
    body: Body
    mark: bytes = b""


def entry_from(name: bytes, fields: dict[bytes, bytes]) -> Entry:
    """A stream entry, (id, fields) as Redis gives it; a body that is none known is Unreadable, and no error."""
    body = decode_body(fields)
    if isinstance(body, EventBatch):  # its bytes are what their own checksum says, just now found right
        mark = name + checked_part(fields[EVENTS_FIELD])
    else:
        mark = b"\0".join([name, *(part for pair in fields.items() for part in pair)])
    return Entry(Position.parse(name), body, mark)


def sum_of(decision: bytes) -> bytes:
    """The checksum that is logged beside a decision."""
    return sha1(decision, usedforsecurity=False).hexdigest().encode()


def encode_decision(decision: Decision) -> bytes:
    """A decision as the JSON that stands in the log."""
    return _encode(msgspec.structs.replace(decision, format=FORMAT))


def _decode_decision(raw: bytes) -> Decision:
    refuse_newer("a decision in the log", format_of(raw))
    decision: Decision = _decode_known(raw)
    return decision


def decode_body(fields: dict[bytes, bytes]) -> Body:
    """The body in a stream entry's fields; Unreadable rather than an error for anything unknown.

    Raises NewerFormatError for what a newer Saima has written: to pass it over would lose it.
    """
    try:
        if EVENTS_FIELD in fields:
            return EventBatch.unpack(fields[EVENTS_FIELD])
        if DECISION_FIELD in fields:
            return _decision_of(fields)
        if TICK_FIELD in fields:
            return Tick()
    except (CorruptRecordError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        return Unreadable(str(exc))
    return Unreadable(f"no known field among {sorted(fields)!r}")


def _decision_of(fields: dict[bytes, bytes]) -> Decision:
    """A decision that is what was logged; one logged before there were checksums stands alone, and is believed."""
    raw = fields[DECISION_FIELD]
    if len(fields) > 1 and fields.get(SUM_FIELD) != sum_of(raw):
        raise CorruptRecordError("a decision's checksum does not match its bytes")
    decision: Decision = _decode_decision(raw)
    return decision
