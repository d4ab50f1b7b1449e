"""Event batches from JSON to packed columns: decoded and checked by msgspec, refused one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from racing.events import NO_TIME_MS, EventBatch, hash_id, hash_user, table_of
from racing.model import ID_PATTERN
from racing.rule import Rule

AMOUNT_MAX = 10**12
"""Largest amount of one event, minor units: sums of 2^23 such events are still exact in a sorted set."""

_Id = Annotated[str, Meta(pattern=ID_PATTERN)]


class EventIn(msgspec.Struct, forbid_unknown_fields=True):
    """One event as sent. Only type and product are required; ts_ms defaults to arrival."""

    type: Annotated[str, Meta(min_length=1, max_length=32)]
    product: _Id
    ts_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    user: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    amount: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)] | None = None
    quantity: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    id: _Id | None = None
    source: _Id | None = None
    segment: _Id | None = None
    frame: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    slot: Annotated[int, Meta(ge=1, le=10_000)] | None = None


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as sent: ``{"events": [...]}``."""

    events: list[EventIn]


class _Raws(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event that is not taken: its place in the batch and why."""

    index: int
    code: str
    reason: str


class MalformedBatchError(Exception):
    """The body is no batch that can be taken; code says of which kind, the text why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(slots=True)
class Decoded:
    """The well-formed events of a batch with their places in it, and the refused ones."""

    events: list[EventIn]
    places: list[int]
    refused: list[RefusedEvent] = field(default_factory=list)


_decode_batch = msgspec.json.Decoder(BatchIn).decode
_decode_raws = msgspec.json.Decoder(_Raws).decode
_decode_event = msgspec.json.Decoder(EventIn).decode
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_PATH = re.compile(r" - at `\$\.?(.*)`$")


def decode(body: bytes, *, events_max: int) -> Decoded:
    """The events of a JSON batch. Raises MalformedBatchError where the body is no batch or too long a one."""
    try:
        events = _decode_batch(body).events
        decoded = Decoded(events, list(range(len(events))))
    except msgspec.ValidationError:
        decoded = _one_by_one(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedBatchError("malformed", f"the body is not JSON: {exc}") from exc
    size = len(decoded.events) + len(decoded.refused)
    if not size:
        raise MalformedBatchError("invalid", "events: a batch of 0 events; send at least one")
    if size > events_max:
        raise MalformedBatchError("too_large", f"events: a batch of {size} events; send at most {events_max}")
    return decoded


def _one_by_one(body: bytes) -> Decoded:
    try:
        raws = _decode_raws(body).events
    except msgspec.ValidationError as exc:
        raise MalformedBatchError("invalid", f'the body must be {{"events": [...]}}: {exc}') from exc
    decoded = Decoded([], [])
    for index, raw in enumerate(raws):
        try:
            decoded.events.append(_decode_event(raw))
            decoded.places.append(index)
        except msgspec.ValidationError as exc:
            decoded.refused.append(RefusedEvent(index, "invalid", _reason(raw, str(exc))))
    return decoded


def _reason(raw: msgspec.Raw, message: str) -> str:
    """A validation message as field, expectation and value."""
    match = _PATH.search(message)
    expected = _PATH.sub("", message)
    expected = expected[:1].lower() + expected[1:]
    unknown = _UNKNOWN.search(message)
    if unknown is not None:
        return f"{unknown.group(1)}: no such field; an event has {', '.join(EventIn.__struct_fields__)}"
    if match is None:
        return f"event: {expected}"
    name = match.group(1)
    came = msgspec.json.decode(raw)
    value = came.get(name) if isinstance(came, dict) else came
    return f"{name}: {expected}, not {str(msgspec.json.encode(value).decode())[:80]}"


@dataclass(frozen=True, slots=True)
class Door:
    """What the venue takes just now: its rule, the clock, and the numbers of its products."""

    venue: str
    rule: Rule
    numbers: Mapping[str, int]
    now_ms: int

    def sort_out(self, decoded: Decoded) -> tuple[list[EventIn], list[RefusedEvent]]:
        """The events that are taken, in order, and all that are refused, by index."""
        kinds = self.rule.kinds()
        last_ms = self.now_ms + 1000 * self.rule.clock_skew_s
        first_ms = self._first_ms()
        taken: list[EventIn] = []
        refused = decoded.refused
        for event, index in zip(decoded.events, decoded.places, strict=True):
            ts_ms = event.ts_ms
            if (
                event.type in kinds
                and event.product in self.numbers
                and (ts_ms is None or first_ms <= ts_ms <= last_ms)
            ):
                taken.append(event)
            else:
                refused.append(RefusedEvent(index, *self._why(event, kinds, first_ms)))
        return taken, sorted(refused, key=lambda each: each.index)

    def _first_ms(self) -> int:
        rule = self.rule
        oldest = self.now_ms // rule.bucket_ms - 2 * (rule.window_ms // rule.bucket_ms) + 1
        return max(oldest * rule.bucket_ms, self.now_ms - rule.lateness_ms)

    def _why(self, event: EventIn, kinds: set[str], first_ms: int) -> tuple[str, str]:
        if event.type not in kinds:
            return "unknown_kind", f"type: {event.type!r} is none of {', '.join(sorted(kinds))}"
        if event.product not in self.numbers:
            return "unknown_product", f"product: {event.product!r} is not enrolled in venue {self.venue!r}"
        if event.ts_ms is not None and event.ts_ms < first_ms:
            return "late", f"ts_ms: {event.ts_ms} is before {first_ms}, where the base window begins"
        return (
            "future",
            f"ts_ms: {event.ts_ms} is more than {self.rule.clock_skew_s} s ahead of the server's {self.now_ms}",
        )


def columns(events: Sequence[EventIn], numbers: Mapping[str, int], secret: bytes) -> EventBatch:
    """The events as columns. numbers must know every product."""
    codes: dict[str, int] = {}
    kind = [codes.setdefault(event.type, len(codes)) for event in events]
    source, sources = table_of([event.source for event in events])
    segment, segments = table_of([event.segment for event in events])
    return EventBatch(
        kinds=tuple(codes),
        kind=np.array(kind, np.int64),
        runner=np.array([numbers[event.product] for event in events], np.int64),
        time_ms=np.array([NO_TIME_MS if event.ts_ms is None else event.ts_ms for event in events], np.int64),
        amount=_given([event.amount for event in events]),
        quantity=_given([event.quantity for event in events]),
        slot=_given([event.slot for event in events]),
        frame=_given([event.frame for event in events]),
        id_hash=_hashed([None if event.id is None else hash_id("id", event.id) for event in events]),
        user_hash=_hashed([None if event.user is None else hash_user(secret, event.user) for event in events]),
        source=source,
        sources=sources,
        segment=segment,
        segments=segments,
    )


def _given(values: Sequence[int | None]) -> Any:  # int64 (n,) or None
    return np.array([value or 0 for value in values], np.int64) if any(values) else None


def _hashed(values: Sequence[int | None]) -> Any:  # uint64 (n,) or None
    return np.array([value or 0 for value in values], np.uint64) if any(values) else None


class RecentIds:
    """Event ids that this process has put into the log, to tell senders of repeats; the fold decides exactly.

    Bound: two generations of at most ``most`` ids.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._now: set[tuple[str, str]] = set()
        self._before: set[tuple[str, str]] = set()

    def repeats(self, events: Sequence[EventIn]) -> int:
        """How many of the events repeat an id of their kind, within the batch or from before."""
        seen: set[tuple[str, str]] = set()
        count = 0
        for event in events:
            if event.id is None:
                continue
            key = (event.type, event.id)
            if key in seen or key in self._now or key in self._before:
                count += 1
            seen.add(key)
        return count

    def add(self, events: Sequence[EventIn]) -> None:
        """Take note that these events are in the log."""
        self._now.update((event.type, event.id) for event in events if event.id is not None)
        if len(self._now) > self._most:
            self._before, self._now = self._now, set()
