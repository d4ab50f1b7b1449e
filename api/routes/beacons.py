"""Pages: what shoppers saw and clicked, each event with the token of the slot where it happened."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from api.bodies import JSON, NOT_JSON, TEXT, media_type_of, why_not_json
from api.errors import ProblemError
from api.guard import GuardedRoute, needs
from api.schemas.events import EventsOut
from api.sending import Sent, send
from api.sent_events import EventIn, Id
from api.service import Serving, Viewed

BEACON_MAX_BYTES = 65_536
"""As much as browsers let a page send while it is left."""


class BeaconsIn(msgspec.Struct, forbid_unknown_fields=True):
    """A batch of events that a page sends: batch names it, key is one of role beacon."""

    batch: Id
    events: list[EventIn]
    key: str | None = None


class _Came(msgspec.Struct, forbid_unknown_fields=True):
    """As BeaconsIn, with its events yet to be read: they are refused one by one."""

    batch: Id
    events: msgspec.Raw
    key: str | None = None


_decode = msgspec.json.Decoder(_Came).decode


class BeaconRoute(GuardedRoute):
    """A route whose key may stand in the body: navigator.sendBeacon sends no headers of ours."""

    async def keys_of(self, request: Request) -> list[str]:
        """What the request brings as Authorization, else the key in its body. Raises ProblemError for no such body."""
        came = request.scope["saima.beacons"] = await _read(request)
        given = await super().keys_of(request)
        return given or ([f"Bearer {came.key}"] if came.key is not None else [])


async def _read(request: Request) -> _Came:
    media_type_of(request.headers, (TEXT, JSON))
    body = await request.body()
    if len(body) > BEACON_MAX_BYTES:
        raise ProblemError("too_large", f"a body of more than {BEACON_MAX_BYTES} bytes: send smaller batches")
    try:
        return _decode(body)
    except msgspec.ValidationError as exc:
        raise ProblemError("invalid", f'the body must be {{"batch": ..., "events": [...]}}: {exc}') from exc
    except NOT_JSON as exc:
        raise ProblemError("malformed", why_not_json(body, exc)) from exc


async def _came(request: Request) -> _Came:
    found: _Came = request.scope["saima.beacons"]
    return found


router = APIRouter(prefix="/v1/venues", tags=["front ends"], route_class=BeaconRoute)

_TOKEN = "AQGaqGP8AAAAAAC8UmkgoAAAAwAAABGh3vYk8X3RuQ"  # noqa: S105  # signed by nobody
_EXAMPLE = {
    "batch": "9f2c1a70-4711",
    "events": [
        {"type": "impression", "product": "p-1001", "token": _TOKEN},
        {"type": "click", "product": "p-1001", "token": _TOKEN, "user": "u-1"},
    ],
}
_BATCH = {"schema": {"$ref": "#/components/schemas/BeaconsIn"}, "example": _EXAMPLE}


@router.post(
    "/{venue}/beacons",
    status_code=202,
    operation_id="sendBeacons",
    response_model=EventsOut,
    openapi_extra={"requestBody": {"required": True, "content": {JSON: _BATCH, TEXT: _BATCH}}},
)
@needs("beacons:write")
async def send_beacons(view: Viewed, service: Serving, came: Annotated[_Came, Depends(_came)]) -> Response:
    """Append events that a page tells, of the kinds that the venue declares public (access.beacon_kinds).

    Each needs the token of its slot (GET slots with tokens=true), and is refused alone where that is forged, expired
    or used too often. It takes what navigator.sendBeacon sends: JSON as text/plain, no headers, the key in the body.
    Sent again with the same batch and events, within 15 min, it is counted once and answered alike.
    """
    # Apart from the Idempotency-Keys of servers: whoever reads a page's key must not use theirs up.
    sent = Sent(b'{"events":%b}' % came.events, JSON, f"beacon {came.batch}", frozenset(view.venue.access.beacon_kinds))
    return Response(await send(service, view, sent), status_code=202, media_type=JSON)
