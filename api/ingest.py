"""Event batches from JSON to packed columns: decoded and checked by msgspec, refused one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from api.bodies import NOT_JSON, why_not_json
from api.tokens import Exposures, TokenRefusedError
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS, EventBatch, HashArray, hash_id, hash_user, table_of
from racing.model import ID_PATTERN, IntArray
from racing.rule import Rule

AMOUNT_MAX = 10**12
"""Largest amount of one event, minor units: sums of 2^23 such events are still exact in a sorted set."""

KIND_MAX = 32
USER_MAX = 128
TIME_MAX_MS = 2**53
TOKEN_MAX = 64
_ID = re.compile(ID_PATTERN + r"(?!\n)")
Id = Annotated[
    str,
    Meta(pattern=ID_PATTERN + r"(?!\n)"),  # Python's $ lets a line feed follow, as other languages' does not
]
_Millis = Annotated[int, Meta(ge=0, le=TIME_MAX_MS)]


class EventIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as sent. Only type and product are required; ts_ms defaults to arrival.

    The product's form is not checked while decoding: it must be an enrolled one, which is cheaper to look up.
    """

    type: Annotated[str, Meta(min_length=1, max_length=KIND_MAX, description="event kind", examples=["click"])]
    product: Annotated[str, Meta(examples=["p-1001"])]
    ts_ms: Annotated[_Millis | None, Meta(description="event time; arrival where absent")] = None
    amount: Annotated[
        Annotated[int, Meta(ge=0, le=AMOUNT_MAX)] | None,
        Meta(description="minor units, e.g. cents or fen", examples=[19900]),
    ] = None
    user: Annotated[
        Annotated[str, Meta(min_length=1, max_length=USER_MAX)] | None,
        Meta(description="kept only as a hash", examples=["u-1"]),
    ] = None
    quantity: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    id: Annotated[
        Id | None,
        Meta(description="counts once per kind; a refund names its payment by it", examples=["order-5"]),
    ] = None
    source: Annotated[Id | None, Meta(description="entrance (入口)", examples=["search"])] = None
    segment: Id | None = None
    frame: Annotated[Annotated[int, Meta(ge=0, le=2**53)] | None, Meta(description="frame that was shown")] = None
    slot: Annotated[Annotated[int, Meta(ge=1, le=10_000)] | None, Meta(description="slot that was shown")] = None
    token: Annotated[
        Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)] | None,
        Meta(description="of the slot where it happened, as the answer had it: fills frame and slot"),
    ] = None


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as sent: ``{"events": [...]}``."""

    events: list[EventIn]


def batch_schemas(
    ref_template: str, *, events_max: int, kinds: Sequence[type[msgspec.Struct]] = (BatchIn,)
) -> dict[str, Any]:
    """JSON Schemas of kinds of batches and their parts by name, made from what the decoder checks."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=ref_template)
    schemas["EventIn"]["properties"]["product"]["pattern"] = ID_PATTERN
    for kind in kinds:
        schemas[kind.__name__]["properties"]["events"] |= {"minItems": 1, "maxItems": events_max}
    for schema in (each for kind in schemas.values() for each in kind["properties"].values()):
        for part in (schema, *schema.get("anyOf", ())):
            if "pattern" in part:
                part["pattern"] = ID_PATTERN
    return schemas


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


class Rows(NamedTuple):
    """Events by field, as EventIn names them: a list each, one element an event; None for what no event has.

    An event without a time has None or NO_TIME_MS there, one without an amount None or 0.
    """

    type: list[str]
    product: list[str]
    ts_ms: list[int | None] | None = None
    amount: list[int | None] | None = None
    user: list[str | None] | None = None
    quantity: list[int | None] | None = None
    id: list[str | None] | None = None
    source: list[str | None] | None = None
    segment: list[str | None] | None = None
    frame: list[int | None] | None = None
    slot: list[int | None] | None = None
    token: list[str | None] | None = None

    @classmethod
    def of(cls, events: Sequence[EventIn]) -> Rows:
        """Whole events turned around."""
        if not events:
            return cls([], [])
        size = len(events)
        columns: Any = map(list, zip(*map(msgspec.structs.astuple, events), strict=True))
        shown: list[Any] = [column if column.count(None) < size else None for column in columns]
        return cls(*shown)

    @classmethod
    def of_plain(cls, events: Sequence[Any]) -> Rows:
        """Events that have no other fields than _PlainIn. Cost: a list a field, half of turning tuples around."""
        times = [event.ts_ms for event in events]
        amounts = [event.amount for event in events]
        return cls(
            [event.type for event in events],
            [event.product for event in events],
            times if times.count(NO_TIME_MS) < len(times) else None,
            amounts if any(amounts) else None,
        )

    def only(self, places: Sequence[int]) -> Rows:
        """The events at these places."""
        columns: list[Any] = [column and [column[place] for place in places] for column in self]
        return Rows(*columns)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """The events of several batches as those of one."""
        columns: list[Any] = []
        for several in zip(*parts, strict=True):
            filled = [
                [None] * len(part.type) if column is None else column
                for column, part in zip(several, parts, strict=True)
            ]
            columns.append(None if several.count(None) == len(several) else list(chain.from_iterable(filled)))
        return cls(*columns)


class Decoded(msgspec.Struct):
    """The well-formed events of a batch with their places in it, and the refused ones."""

    rows: Rows
    places: Sequence[int]
    refused: list[RefusedEvent] = []


class Taken(msgspec.Struct, frozen=True):
    """Events that are taken, in order. kind: an index into kinds a byte; runners: int64 (n,), enrolment numbers."""

    rows: Rows
    kinds: tuple[str, ...]
    kind: bytes
    runners: IntArray

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def joined(cls, parts: Sequence[Taken]) -> Taken:
        """The events of several batches, taken under the same kinds, as those of one."""
        if len(parts) == 1:
            return parts[0]
        rows = Rows.joined([part.rows for part in parts])
        runners = np.concatenate([part.runners for part in parts])
        return cls(rows, parts[0].kinds, b"".join([part.kind for part in parts]), runners)

    def named(self) -> list[tuple[str, str]]:
        """(kind, id) of the events that have an id."""
        if self.rows.id is None:
            return []
        return [(kind, name) for kind, name in zip(self.rows.type, self.rows.id, strict=True) if name is not None]

    def batch(self, secret: bytes) -> EventBatch:
        """The events as columns; users hashed under the deployment's secret."""
        rows = self.rows
        source, sources = table_of(rows.source)
        segment, segments = table_of(rows.segment)
        return EventBatch(
            kinds=self.kinds,
            kind=np.frombuffer(self.kind, np.uint8),
            runner=self.runners,
            time_ms=given_column(rows.ts_ms, NO_TIME_MS),
            amount=given_column(rows.amount),
            quantity=given_column(rows.quantity),
            slot=given_column(rows.slot),
            frame=given_column(rows.frame),
            id_hash=id_column(rows.id),
            user_hash=user_column(rows.user, secret),
            source=source,
            sources=sources,
            segment=segment,
            segments=segments,
        )


_ABSENT = {"ts_ms": NO_TIME_MS, "amount": 0}
_PlainIn = msgspec.defstruct(
    "_PlainIn",
    [
        (each.name, each.type) if each.required else (each.name, each.type, _ABSENT[each.name])
        for each in msgspec.structs.fields(EventIn)
        if each.required or each.name in _ABSENT
    ],
    forbid_unknown_fields=True,
    gc=False,
)
"""An event of type, product, ts_ms and amount, which most have alone: a struct costs by its fields, given or not. What
is absent stands there as it will in the column."""


class _PlainBatchIn(msgspec.Struct, forbid_unknown_fields=True):
    events: list[_PlainIn]  # type: ignore[valid-type]  # made at run time, of EventIn's own fields


_decode_plain = msgspec.json.Decoder(_PlainBatchIn).decode
_decode_batch = msgspec.json.Decoder(BatchIn).decode
_decode_raws = msgspec.json.Decoder(_Raws).decode
_decode_event = msgspec.json.Decoder(EventIn).decode
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_VALUE_MAX = 80
_JSON_KINDS = {b"[": "a list", b'"': "a text", b"n": "null", b"t": "true", b"f": "false"}
NOT_REPEATED = "; what came is personal and not repeated"
"""Ends the reason of a wrong user id: answers, and logs that keep them, name no shopper."""


def batch_of_lines(body: bytes) -> bytes:
    """A body of one event a line (NDJSON) as the JSON batch of the same events; empty lines are left out.

    Raises MalformedBatchError for a line that is no JSON, by its number, so that no other line can be misread.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            _decode_any(line)
        except NOT_JSON as exc:
            why = why_not_json(line, exc).removeprefix("the body ")
            raise MalformedBatchError("malformed", f"line {number} {why}") from exc
    return b'{"events":[' + b",".join(lines) + b"]}"


def decode(body: bytes, *, events_max: int) -> Decoded:
    """The events of a JSON batch. Raises MalformedBatchError where the body is no batch or too long a one."""
    try:
        decoded = _decoded(body, events_max)
    except NOT_JSON as exc:
        raise MalformedBatchError("malformed", why_not_json(body, exc)) from exc
    _check_size(len(decoded.places) + len(decoded.refused), events_max)
    return decoded


def _check_size(size: int, events_max: int) -> None:
    if not size:
        raise MalformedBatchError("invalid", "events: a batch of 0 events; send at least one")
    if size > events_max:
        raise MalformedBatchError("too_large", f"events: a batch of {size} events; send at most {events_max}")


def _decoded(body: bytes, events_max: int) -> Decoded:
    """The events, well-formed ones and others. Raises one of NOT_JSON, MalformedBatchError for another shape."""
    for decode_batch, rows_of in ((_decode_plain, Rows.of_plain), (_decode_batch, Rows.of)):
        try:
            events = decode_batch(body).events
        except msgspec.ValidationError:
            continue  # other fields, or wrong ones
        return Decoded(rows_of(events), range(len(events)))
    return _one_by_one(body, events_max)


def _one_by_one(body: bytes, events_max: int) -> Decoded:
    try:
        raws = _decode_raws(body).events
    except msgspec.ValidationError as exc:
        msgspec.json.decode(body)  # a body that is no JSON at all is told so
        raise MalformedBatchError("invalid", f'the body must be {{"events": [...]}}: {exc}') from exc
    _check_size(len(raws), events_max)  # before a reason is made for each of too many
    events, places, refused = [], [], []
    for index, raw in enumerate(raws):
        try:
            events.append(_decode_event(raw))
            places.append(index)
        except msgspec.ValidationError:
            refused.append(RefusedEvent(index, "invalid", _reason(raw)))
    return Decoded(Rows.of(events), places, refused=refused)


def _reason(raw: msgspec.Raw) -> str:
    """The first wrong field of an event, what it must be, and the value that came."""
    try:
        fields = _decode_fields(raw)
    except msgspec.ValidationError:
        return f"event: must be an object, not {_JSON_KINDS.get(bytes(raw)[:1], 'a number')}"  # it may hold a user id
    for name, value in fields.items():
        if name not in _FIELDS:
            return f"{name[:_VALUE_MAX]}: no such field; an event has {', '.join(_FIELDS)}"
        decoder, must_be = _FIELDS[name]
        try:
            decoder.decode(value)
        except msgspec.ValidationError:
            return f"{name}: must be {must_be}{NOT_REPEATED if name == 'user' else f', not {_cut(value)}'}"
    required = (each.name for each in msgspec.structs.fields(EventIn) if each.required)
    missing = next((name for name in required if name not in fields), None)
    return "event: a field comes more than once" if missing is None else f"{missing}: is required"


def _cut(raw: msgspec.Raw) -> str:
    """A JSON value as it came, of a long one the beginning."""
    text = bytes(raw).decode()
    return text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}…"


def _fields() -> Iterable[tuple[str, tuple[msgspec.json.Decoder[Any], str]]]:
    """Each field's decoder, and what its value must be, in words made of its bounds."""
    for each in msgspec.structs.fields(EventIn):
        kind = Id if each.name == "product" else each.type
        schema = msgspec.json.schema(kind)
        bounds = {name: value for part in schema.get("anyOf", [schema]) for name, value in part.items()}
        if "pattern" in bounds:
            words = ID_WORDS.removeprefix("must be ")
        elif "maxLength" in bounds:
            words = f"a text of {bounds['minLength']} to {bounds['maxLength']} characters"
        else:
            words = f"a whole number from {bounds['minimum']} to {bounds['maximum']}"
        yield each.name, (msgspec.json.Decoder(kind), words)


_FIELDS = dict(_fields())


class Door(msgspec.Struct, frozen=True):
    """What the venue takes just now: its rule, its kinds by code, the clock, and the numbers of its products.

    exposures: reads the tokens of events.
    """

    venue: str
    rule: Rule
    kinds: Mapping[str, int]
    numbers: Mapping[str, int]
    now_ms: int
    exposures: Exposures | None = None

    def sort_out(self, decoded: Decoded) -> tuple[Taken, list[RefusedEvent]]:
        """The events that are taken, in order, and all that are refused, by index.

        Where all products and kinds are known and all times fit, no event is looked at alone.
        """
        rows = decoded.rows
        from_page = self.exposures is not None and self.exposures.page_kinds is not None
        taken = None if from_page else self.take(rows)
        if taken is not None:
            return taken, decoded.refused
        whys = list(map(self.why, rows.type, rows.product, rows.ts_ms or repeat(None)))
        rows = self._tied(rows, whys)
        good = [place for place, why in enumerate(whys) if why is None]
        wrong = [RefusedEvent(decoded.places[place], *why) for place, why in enumerate(whys) if why is not None]
        refused = sorted([*decoded.refused, *wrong], key=lambda each: each.index)
        taken = self.take(rows.only(good))
        assert taken is not None, "events that nothing is wrong with are taken"
        return taken, refused

    def take(self, rows: Rows) -> Taken | None:
        """All of these events; None if one of them is to be refused, or has a token that is to be read."""
        if rows.token is not None:
            return None
        if rows.ts_ms is not None:
            first_ms, last_ms = self.times_ms()
            earliest_ms, latest_ms = _ends(rows.ts_ms, first_ms)
            if earliest_ms < first_ms or latest_ms > last_ms:
                return None
        try:
            kind = bytes(map(self.kinds.__getitem__, rows.type))
            runners = np.fromiter(map(self.numbers.__getitem__, rows.product), np.int64, len(rows.product))
        except KeyError:
            return None
        return Taken(rows, tuple(self.kinds), kind, runners)

    def _tied(self, rows: Rows, whys: list[tuple[str, str] | None]) -> Rows:
        """Events with the frame and slot of their tokens for their own; whys gets why a token is refused."""
        page_kinds = None if self.exposures is None else self.exposures.page_kinds
        if self.exposures is None or (rows.token is None and page_kinds is None):
            return rows._replace(token=None)
        size = len(rows.type)
        frames, slots = list(rows.frame or repeat(None, size)), list(rows.slot or repeat(None, size))
        for place, token in enumerate(rows.token or repeat(None, size)):
            if whys[place] is None and page_kinds is not None:
                whys[place] = _not_for_pages(rows, place, page_kinds)
            if whys[place] is not None:
                continue
            try:
                shown = self.exposures.shown(token, rows.type[place], self.numbers[rows.product[place]])
            except TokenRefusedError as exc:
                whys[place] = exc.code, str(exc)
            else:
                frames[place], slots[place] = shown or (frames[place], slots[place])
        return rows._replace(frame=frames, slot=slots, token=None)

    def times_ms(self) -> tuple[int, int]:
        """The earliest and the latest event time that is taken."""
        rule = self.rule
        oldest = self.now_ms // rule.bucket_ms - 2 * (rule.window_ms // rule.bucket_ms) + 1
        first_ms = max(oldest * rule.bucket_ms, self.now_ms - rule.lateness_ms)
        return first_ms, self.now_ms + 1000 * rule.clock_skew_s

    def why(self, kind: str, product: str, ts_ms: int | None) -> tuple[str, str] | None:
        """Why an event is refused, as (code, reason); None for one that is taken."""
        if product not in self.numbers and not is_id(product):
            return "invalid", f"product: {ID_WORDS}, not {product[:_VALUE_MAX]!r}"
        if kind not in self.kinds:
            return "unknown_kind", f"type: {kind!r} is none of {', '.join(sorted(self.kinds))}"
        if product not in self.numbers:
            return "unknown_product", f"product: {product!r} is not enrolled in venue {self.venue!r}: enrol it first"
        return None if ts_ms is None or ts_ms == NO_TIME_MS else self._why_time(ts_ms)

    def _why_time(self, ts_ms: int) -> tuple[str, str] | None:
        first_ms, last_ms = self.times_ms()
        if ts_ms < first_ms:
            return "late", f"ts_ms: {ts_ms} is before {first_ms}, the earliest time that still counts"
        if ts_ms > last_ms:
            ahead = f"more than {self.rule.clock_skew_s} s ahead of the server's {self.now_ms}"
            return "future", f"ts_ms: {ts_ms} is {ahead}"
        return None


def _not_for_pages(rows: Rows, place: int, kinds: frozenset[str]) -> tuple[str, str] | None:
    """Why an event is refused of a page, where anyone may have made it up; None if it may be sent from there."""
    if rows.type[place] not in kinds:
        taken = ", ".join(sorted(kinds)) or "none"
        return "unknown_kind", f"type: {rows.type[place]!r} is not for pages to send; access.beacon_kinds: {taken}"
    for name, column in (("amount", rows.amount), ("quantity", rows.quantity)):
        if column is not None and column[place]:
            return "invalid", f"{name}: a page tells of no {name}, not {column[place]}: send it from a server"
    return None


def _ends(times_ms: Sequence[int | None], default_ms: int) -> tuple[int, int]:
    """The earliest and the latest of the times that are given; the default twice where none is."""
    known: Any = times_ms
    with suppress(TypeError):  # a None among them; to look for it first would cost as much as both ends
        latest_ms = max(known, default=NO_TIME_MS)
        if latest_ms not in {None, NO_TIME_MS}:  # None where it is the only one
            return min(known), latest_ms
    known = [ts_ms for ts_ms in times_ms if ts_ms is not None and ts_ms != NO_TIME_MS]
    return min(known, default=default_ms), max(known, default=default_ms)


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.match(text) is not None


def is_user(text: str) -> bool:
    """Whether a text can be a user id."""
    return 1 <= len(text) <= USER_MAX


def given_column(values: Sequence[int | None] | None, absent: int = 0) -> IntArray | None:
    """Numbers as a column, absent where there is none."""
    if values is None:
        return None
    given: Any = values
    with suppress(TypeError):  # a None among them
        return np.fromiter(given, np.int64, len(values))
    return np.array([absent if value is None else value for value in values], np.int64)


def id_column(ids: Sequence[str | None] | None) -> HashArray | None:
    """Ids as hashes, 0 where there is none."""
    if ids is None:
        return None
    return np.array([0 if each is None else hash_id("id", each) for each in ids], np.uint64)


def user_column(users: Sequence[str | None] | None, secret: bytes) -> HashArray | None:
    """Users as keyed hashes, 0 where there is none."""
    if users is None:
        return None
    return np.array([0 if each is None else hash_user(secret, each) for each in users], np.uint64)


class RecentIds:
    """Event ids that this process has put into the log, to tell senders of repeats; the fold decides exactly.

    Bound: two generations of at most ``most`` ids and one batch.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._now: dict[tuple[str, str], int] = {}  # (kind, id) -> when it came first, ms
        self._before: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def repeats(self, named: Sequence[tuple[str, str]], *, since_ms: int) -> int:
        """How many of the (kind, id) pairs repeat one from before: within the batch, or from since_ms on."""
        seen: set[tuple[str, str]] = set()
        now, before = self._now.get, self._before.get
        count = 0
        for key in named:
            if key in seen or now(key, before(key, -1)) >= since_ms:
                count += 1
            seen.add(key)
        return count

    def add(self, named: Sequence[tuple[str, str]], *, now_ms: int, since_ms: int) -> None:
        """Take note that events of these (kind, id) are in the log; a repeat from since_ms on is no news."""
        known, before = self._now, self._before.get
        for key in named:
            if known.get(key, before(key, -1)) < since_ms:
                known[key] = now_ms
        if len(known) > self._most:
            self._before, self._now = known, {}
