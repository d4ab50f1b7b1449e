"""Calls over all venues: exclusions, and events of senders that know only the product."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from api.asked import KEY_MAX
from api.bodies import JSON, NDJSON, media_type_of
from api.everywhere import exclude_everywhere, restore_everywhere
from api.guard import Caller, GuardedRoute, needs
from api.routes.events import BATCH, LINES
from api.routes.orders import accepted
from api.schemas.events import EventsEverywhere
from api.schemas.everywhere import Everywhere, EverywhereIn, InVenue, RestoreEverywhereIn
from api.sending_everywhere import send_everywhere
from api.service import Serving

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
_DONE = accepted(Everywhere)


def _answered(venues: list[InVenue], response: Response) -> Everywhere:
    """200 where each venue has a frame that holds it, else 202."""
    waits = any(each.result == "failed" or (each.entry is not None and each.frame is None) for each in venues)
    response.status_code = 202 if waits else 200
    return Everywhere(venues=venues)


@router.post("/exclusions", operation_id="excludeEverywhere", tags=["operators"], responses=_DONE)
@needs("operate")
async def post_exclusion(wanted: EverywhereIn, service: Serving, caller: Caller, response: Response) -> Everywhere:
    """Take a product, or all of a merchant's, off the board of every venue that the key operates; a result for each.

    200 where each venue has a frame that holds it, else 202: then ask again, which changes nothing where it was done.
    """
    aim = {"product": wanted.product, "merchant": wanted.merchant}
    return _answered(await exclude_everywhere(service, caller, **aim, reason=wanted.reason), response)


@router.post("/exclusions/restore", operation_id="restoreEverywhere", tags=["operators"], responses=_DONE)
@needs("operate")
async def restore_exclusion(
    wanted: RestoreEverywhereIn, service: Serving, caller: Caller, response: Response
) -> Everywhere:
    """Take that back wherever it was done by such a call. What a venue has excluded by itself stays so."""
    aim = {"product": wanted.product, "merchant": wanted.merchant}
    return _answered(await restore_everywhere(service, caller, **aim, note=wanted.note), response)


@router.post(
    "/events",
    status_code=202,
    operation_id="sendEventsEverywhere",
    response_model=EventsEverywhere,
    tags=["event sources"],
    openapi_extra={"requestBody": {"required": True, "content": {JSON: BATCH, NDJSON: LINES}}},
)
@needs("events:write")
async def send_events_everywhere(
    request: Request,
    caller: Caller,
    service: Serving,
    idempotency_key: Annotated[
        str,
        Header(
            description="names this batch in every venue: sent again with it, within 15 min, each counts it once",
            json_schema_extra={"minLength": 1, "maxLength": KEY_MAX, "pattern": "^[ -~]*$"},
            examples=["orders-2025-11-11-000123"],
        ),
    ],
) -> Response:
    """Append a batch of events in every venue that its products race in, once each.

    202: every one of them has appended. 503: some have, perhaps; the same body with the same key completes the rest.
    Venues that take no events now, and those that the key does not reach, are left out.
    """
    media_type = media_type_of(request.headers, (JSON, NDJSON))
    answer = await send_everywhere(service, caller, await request.body(), media_type, idempotency_key)
    return Response(answer, status_code=202, media_type=JSON)
