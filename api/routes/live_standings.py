"""Merchants: a stream of what changes for their own products, standings and alerts in one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from api.guard import Caller, GuardedRoute, needs
from api.hub import Asked
from api.live_standings import NAME_PATTERN, Has, MerchantStandings, StandingsGroup
from api.routes.live import Follows, check_stays, named
from api.routes.merchants import MerchantName, OneVenue, reached
from api.schemas.merchants import STANDINGS_FOLLOWED
from api.service import Serving

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=GuardedRoute)


@router.get(
    "/merchants/{merchant}/live",
    operation_id="followStandings",
    response_class=Response,
    responses={200: STANDINGS_FOLLOWED},
)
@needs("runners:read")
async def follow_standings(
    merchant: MerchantName,
    service: Serving,
    caller: Caller,
    request: Request,
    *,
    venue: OneVenue = None,
    since: Annotated[
        str | None,
        Query(
            pattern=NAME_PATTERN,
            description="next of the last message that the client has",
            examples=["hall-1:1763740800000-48210.1763740800150~3f9c11d2.7"],
        ),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            description="as since; browsers send it by themselves",
            examples=["hall-1:1763740800000-48210.1763740800150~3f9c11d2.7"],
        ),
    ] = None,
) -> Response:
    """Follow all products of a merchant: server-sent events, all standings first, then what changes, with alerts.

    Twice a second at most. A client that names what it has, by Last-Event-ID or since, is told what has changed since;
    at another process all standings, and the alerts since then.
    """
    check_stays(service)
    service.merchant_quotas.take(caller.merchant)
    await reached(service, caller, venue)
    scope = caller.venues if venue is None else frozenset({venue})
    hub, has = service.standings_of(merchant), since or last_event_id or None
    group, followed = hub.group(scope), hub.followed
    assert isinstance(followed, MerchantStandings), "a merchant's hub follows a merchant"
    known = isinstance(group, StandingsGroup) and has is not None and group.knows(has)
    here = Has(has) if known and has is not None else await followed.catch_up(scope, has)
    return Follows(service.live, hub, Asked(scope, here, named(request, caller), caller.id))
