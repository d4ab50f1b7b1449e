"""Tickets for private live streams."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.guard import Caller, GuardedRoute, needs
from api.schemas import TicketOut
from api.service import Serving, Viewed
from api.tickets import LIVES_S, issue

router = APIRouter(prefix="/v1/venues", tags=["front ends"], route_class=GuardedRoute)


@router.post("/{venue}/tickets", status_code=201, operation_id="issueTicket")
@needs("live:read")
async def issue_ticket(view: Viewed, service: Serving, caller: Caller, response: Response) -> TicketOut:
    """A ticket that opens one private live stream of the venue, once, within a minute: a key never stands in a URL."""
    response.headers["Cache-Control"] = "no-store"
    return TicketOut(ticket=await issue(service, caller, view.venue.venue), expires_in_s=LIVES_S)
