"""Event batches from JSON to rows: decoded and checked by msgspec; a wrong event is refused alone, with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal

import msgspec

from api.bodies import NOT_JSON, why_not_json
from api.sent_events import EventIn, Id, is_id
from api.taken import VALUE_MAX, Decoded, MalformedBatchError, RefusedEvent, Rows
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS


class _Raws(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


Names = tuple[str, ...]
_ABSENT = {"ts_ms": NO_TIME_MS, "amount": 0}
_ALWAYS = ("type", "product", *_ABSENT)
_EVENT_FIELDS = msgspec.structs.fields(EventIn)
"""Kept: to ask for them takes a millisecond."""
_OTHERS = frozenset(each.name for each in _EVENT_FIELDS if each.name not in _ALWAYS)
_LABELS = ("source", "segment")
"""Fields of few values in many events: their form is looked at once a value, which is ten times cheaper than to have
the decoder match each against the pattern."""


@lru_cache(maxsize=1024)
def _batches_with(others: frozenset[str], kinds: Names, segments: Names) -> Callable[[bytes], Any]:
    """A decoder of batches whose events have no fields but type, product, ts_ms, amount and these.

    An event costs by the fields of its struct, given or not, so batches are decoded as the narrowest that holds them.
    What is absent stands there as it will in the column. A label is any text. kinds, segments: the only ones, any where
    none are given: the same texts each time, whose hash is known, save a twelfth of an event's cost up to its number.
    """
    simple: dict[str, Any] = dict.fromkeys(_LABELS, str | None)
    if kinds:
        simple["type"] = Literal[kinds]
    if segments:
        simple["segment"] = Literal[segments] | None
    fields: list[Any] = [
        (each.name, simple.get(each.name, each.type), *([] if each.required else [_ABSENT.get(each.name)]))
        for each in _EVENT_FIELDS
        if each.name in _ALWAYS or each.name in others
    ]
    event = msgspec.defstruct("Event", fields, forbid_unknown_fields=True, gc=False)
    batch = msgspec.defstruct("Batch", [("events", list[event])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(batch).decode


_GUESSES, _PASSES_MAX = 2, 5
"""After two guesses at the fields come all of them, then any kind."""
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)` - at `\$.events")
_decode_raws = msgspec.json.Decoder(_Raws).decode
_decode_event = msgspec.json.Decoder(EventIn).decode
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
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


def decode(body: bytes, *, events_max: int, kinds: Names = (), segments: Names = ()) -> Decoded:
    """The events of a JSON batch. Raises MalformedBatchError where the body is no batch or too long a one.

    kinds, segments: those that its events are likely of; batches of these alone cost less.
    """
    try:
        decoded = _decoded(body, events_max, kinds, segments)
    except NOT_JSON as exc:
        raise MalformedBatchError("malformed", why_not_json(body, exc)) from exc
    _check_size(len(decoded.places) + len(decoded.refused), events_max)
    return decoded


def _check_size(size: int, events_max: int) -> None:
    if not size:
        raise MalformedBatchError("invalid", "events: a batch of 0 events; send at least one")
    if size > events_max:
        raise MalformedBatchError("too_large", f"events: a batch of {size} events; send at most {events_max}")


def _decoded(body: bytes, events_max: int, kinds: Names, segments: Names) -> Decoded:
    """The events, well-formed ones and others. Raises one of NOT_JSON, MalformedBatchError for another shape."""
    others: frozenset[str] = frozenset()
    for passed in range(_PASSES_MAX):
        try:
            events = _batches_with(others, kinds, segments)(body).events
        except msgspec.ValidationError as exc:
            unknown = _unknown_field(exc) - others
            if not unknown:
                if not kinds and not segments:
                    break
                kinds = segments = ()
            others = (others | unknown) if passed < _GUESSES else _OTHERS
            continue
        rows = Rows.of(events)
        if _labels_fit(rows, segments):
            return Decoded(rows, range(len(events)))
        break
    return _one_by_one(body, events_max)


def _unknown_field(exc: msgspec.ValidationError) -> frozenset[str]:
    """The field of an event that a decoder did not know: itself where it is one, nothing where something is wrong."""
    found = _UNKNOWN.match(str(exc))
    return _OTHERS.intersection(found.groups() if found else ())


def _labels_fit(rows: Rows, segments: Names) -> bool:
    """Whether all are ids. segments: the only ones that were decoded; none where any text was."""
    labels = set(rows.source or ()) if segments else {*(rows.source or ()), *(rows.segment or ())}
    return all(label is None or is_id(label) for label in labels)


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
            return f"{name[:VALUE_MAX]}: no such field; an event has {', '.join(_FIELDS)}"
        decoder, must_be = _FIELDS[name]
        try:
            decoder.decode(value)
        except msgspec.ValidationError:
            return f"{name}: must be {must_be}{NOT_REPEATED if name == 'user' else f', not {_cut(value)}'}"
    required = (each.name for each in _EVENT_FIELDS if each.required)
    missing = next((name for name in required if name not in fields), None)
    return "event: a field comes more than once" if missing is None else f"{missing}: is required"


def _cut(raw: msgspec.Raw) -> str:
    """A JSON value as it came, of a long one the beginning."""
    text = bytes(raw).decode()
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"


def _fields() -> Iterable[tuple[str, tuple[msgspec.json.Decoder[Any], str]]]:
    """Each field's decoder, and what its value must be, in words made of its bounds."""
    for each in _EVENT_FIELDS:
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
