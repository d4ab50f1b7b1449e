"""Merchants: what has changed for their own products since they asked last."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from api.alert_reading import SINCE_PATTERN, Since, alerts_since
from api.guard import Caller, GuardedRoute, needs
from api.routes.merchants import PRIVATE, MerchantName, reached
from api.schemas.merchants import AlertsOut
from api.service import Serving
from racing.badges import FIRST_PAGE
from racing.board_settings import SLOTS_MAX
from racing.model import ID_PATTERN

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=GuardedRoute)

_encode = msgspec.json.Encoder().encode


@router.get("/merchants/{merchant}/alerts", operation_id="readAlerts", response_model=AlertsOut)
@needs("runners:read")
async def read_alerts(  # each is a part of the request
    merchant: MerchantName,
    service: Serving,
    caller: Caller,
    *,
    venue: Annotated[str, Query(pattern=ID_PATTERN, description="the venue that is watched", examples=["hall-1"])],
    since: Annotated[
        str | None,
        Query(
            pattern=SINCE_PATTERN,
            description="next of the answer before, or the name of a frame; without it all that holds now is told",
            examples=["1763740800000-48210.1763740800150"],
        ),
    ] = None,
    page: Annotated[int, Query(ge=1, le=SLOTS_MAX, description="slots of the first page")] = FIRST_PAGE,
) -> Response:
    """What has changed for a merchant's products: board, first page, stock, exclusions. Every process tells the same.

    Nothing is remembered of who asked: where since is no longer known, full is true, and all that holds now is told.
    """
    service.merchant_quotas.take(caller.merchant)
    (view,) = await reached(service, caller, venue)
    told = await alerts_since(service, view, merchant, since=None if since is None else Since.parse(since), page=page)
    frame = told.until.frame
    body = {
        "merchant": merchant,
        "venue": venue,
        "frame": frame.frame,
        "epoch": frame.epoch,
        "at_ms": frame.at_ms,
        "stale": view.stale(),
        "page": page,
        "full": told.full,
        "next": told.next,
        "alerts": told.alerts,
    }
    return Response(_encode(body), headers=PRIVATE, media_type="application/json")
