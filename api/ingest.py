"""Event batches from JSON to rows: decoded and checked by msgspec; a wrong event is refused alone, with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from api.bodies import NOT_JSON, why_not_json
from api.sent_events import BatchIn, EventIn, Id
from api.taken import VALUE_MAX, Decoded, MalformedBatchError, RefusedEvent, Rows
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS


class _Raws(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


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
            return f"{name[:VALUE_MAX]}: no such field; an event has {', '.join(_FIELDS)}"
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
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"


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
