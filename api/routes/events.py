"""Event sources: batches in, each answered only when it is in the log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from api.asked import KEY_MAX
from api.bodies import JSON, NDJSON, media_type_of
from api.guard import GuardedRoute, needs
from api.packed import MEDIA_TYPE
from api.schemas.events import EventsOut
from api.sending import Sent, send
from api.service import Serving, Viewed

router = APIRouter(prefix="/v1/venues", tags=["event sources"], route_class=GuardedRoute)

_EXAMPLE = {
    "events": [
        {"type": "click", "product": "p-1001", "user": "u-1"},
        {"type": "pay", "product": "p-1001", "ts_ms": 1763740800000, "id": "order-5", "amount": 19900},
    ]
}
BATCH = {"schema": {"$ref": "#/components/schemas/BatchIn"}, "example": _EXAMPLE}
LINES = {
    "schema": {"type": "string", "description": "one event a line, each as in the JSON batch"},
    "example": '{"type":"click","product":"p-1001"}\n{"type":"cart","product":"p-1001"}\n',
}
_PACKED = {"schema": {"$ref": "#/components/schemas/PackedIn"}}


@router.post(
    "/{venue}/events",
    status_code=202,
    operation_id="sendEvents",
    response_model=EventsOut,
    openapi_extra={"requestBody": {"required": True, "content": {JSON: BATCH, NDJSON: LINES, MEDIA_TYPE: _PACKED}}},
)
@needs("events:write")
async def send_events(
    request: Request,
    view: Viewed,
    service: Serving,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="names this batch: sent again with it, within 15 min, it is counted once and answered alike",
            json_schema_extra={"minLength": 1, "maxLength": KEY_MAX, "pattern": "^[ -~]*$"},
            examples=["orders-2025-11-11-000123"],
        ),
    ] = None,
) -> Response:
    """Append a batch of events. 202: every accepted one is in the log and will be counted exactly once.

    An event that is wrong is refused alone, with its reason; the others are taken. After 503, or no
    answer, send the same body again with the same Idempotency-Key.
    """
    media_type = media_type_of(request.headers, (JSON, NDJSON, MEDIA_TYPE))
    body = await request.body()
    answer = await send(service, view, Sent(body, media_type, idempotency_key))
    return Response(answer, status_code=202, media_type=JSON)
