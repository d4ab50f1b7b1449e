"""Event sources: batches in, each answered only when it is in the log."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Request, Response

from api.errors import RESPONSES, ProblemError
from api.frames import VenueView
from api.ingest import Decoded, Door, EventIn, MalformedBatchError, RecentIds, RefusedEvent, columns, decode
from api.schemas import EventsOut
from api.service import JsonBody, Service, Serving, Viewed
from racing.metrics import METRICS

router = APIRouter(prefix="/v1/venues", tags=["event sources"], responses=RESPONSES)

KEY_MAX = 255
_EXAMPLE = {
    "events": [
        {"type": "click", "product": "p-1001", "user": "u-1"},
        {"type": "pay", "product": "p-1001", "ts_ms": 1763740800000, "id": "order-5", "amount": 19900},
    ]
}
_INTEGER = {"type": "integer", "minimum": 0}
_ID = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
BATCH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    "properties": {
        "events": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": {
                "type": "object",
                "required": ["type", "product"],
                "additionalProperties": False,
                "properties": {
                    "type": {"type": "string", "minLength": 1, "maxLength": 32, "description": "event kind"},
                    "product": _ID,
                    "ts_ms": {
                        **_INTEGER,
                        "maximum": 2**53,
                        "description": "event time; arrival where absent",
                    },
                    "user": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 128,
                        "description": "kept only as a hash",
                    },
                    "amount": {**_INTEGER, "maximum": 10**12, "description": "minor units"},
                    "quantity": {**_INTEGER, "maximum": 10**9},
                    "id": {**_ID, "description": "counts once per kind; a refund names its payment by it"},
                    "source": _ID,
                    "segment": _ID,
                    "frame": {**_INTEGER, "maximum": 2**53},
                    "slot": {"type": "integer", "minimum": 1, "maximum": 10_000},
                },
            },
        }
    },
}
_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct):
    accepted: int
    duplicate: int
    refused: list[RefusedEvent]


@router.post(
    "/{venue}/events",
    status_code=202,
    dependencies=[JsonBody],
    operation_id="sendEvents",
    response_model=EventsOut,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BATCH_SCHEMA, "example": _EXAMPLE}},
        }
    },
)
async def send_events(
    request: Request,
    view: Viewed,
    service: Serving,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="names this batch: sent again with it, within 15 min, it is counted once and answered alike"
        ),
    ] = None,
) -> Response:
    """Append a batch of events. 202: every accepted one is in the log and will be counted exactly once.

    An event that is wrong is refused alone, with its reason; the others are taken. After 503, or no
    answer, send the same body again with the same Idempotency-Key.
    """
    _check_key(idempotency_key)
    body = await request.body()
    try:
        decoded = decode(body, events_max=service.settings.batch_max_events)
    except MalformedBatchError as exc:
        raise ProblemError(exc.code, str(exc)) from exc
    taken, refused = await _sort_out(service, view, decoded)
    answer, position = await _append(service, view, taken, refused, body, idempotency_key)
    head = _encode(position)
    return Response(b'{"position":' + head + b"," + answer[1:], status_code=202, media_type="application/json")


def _check_key(key: str | None) -> None:
    if key is not None and not (1 <= len(key) <= KEY_MAX and key.isprintable()):
        raise ProblemError("malformed", f"Idempotency-Key: 1 to {KEY_MAX} printable characters, not {key[:80]!r}")


async def _sort_out(service: Service, view: VenueView, decoded: Decoded) -> tuple[list[EventIn], list[RefusedEvent]]:
    """What is taken and what is refused, after one look at Redis for products or kinds not known here."""
    numbers = await service.frames.numbers(view, {event.product for event in decoded.events})
    if any(event.type not in view.rule.kinds() for event in decoded.events):
        await service.frames.refresh_rule(view)
    return Door(view.venue.venue, view.rule, numbers, service.now_ms()).sort_out(decoded)


async def _append(  # one call site
    service: Service,
    view: VenueView,
    taken: list[EventIn],
    refused: list[RefusedEvent],
    body: bytes,
    key: str | None,
) -> tuple[bytes, str | None]:
    """(answer, log entry or None) once the taken events are in the log."""
    venue = view.venue.venue
    recent = service.recent_ids.setdefault(venue, RecentIds())
    duplicate = recent.repeats(taken)
    answer = _encode(_Answer(len(taken) - duplicate, duplicate, refused))
    position: str | None = None
    repeated = False
    if taken:
        packed = columns(taken, view.numbers, await service.secret()).pack()
        begun = time.perf_counter()
        if key is None:
            position = await service.desk.append(venue, packed)
        else:
            appended = await service.desk.append_once(
                venue,
                packed,
                key=blake2b(key.encode(), digest_size=16).hexdigest(),
                digest=blake2b(body, digest_size=16).hexdigest(),
                answer=answer,
                keep_ms=service.settings.idempotency_ms,
            )
            position, answer, repeated = appended.entry, appended.answer, appended.repeated
        METRICS.observe("saima_append_seconds", venue, time.perf_counter() - begun)
        recent.add(taken)
    if not repeated:
        METRICS.count("saima_events_accepted_total", venue, len(taken) - duplicate)
        METRICS.count("saima_events_duplicate_total", venue, duplicate)
        for each in refused:
            METRICS.count("saima_events_refused_total", venue, reason=each.code)
    return answer, position
