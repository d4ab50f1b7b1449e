"""Targets of a venue: what is wanted, what was reached, and which factor is short."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.guard import Caller, GuardedRoute, needs
from api.schemas.targets import ReportOut
from api.service import Serving, Viewed
from racing.inquiries import AskTargets
from racing.targets import Targets

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

_REPORT_S = 10.0


@router.get("/{venue}/targets", operation_id="readTargets", response_model=ReportOut)
@needs("operate")
async def read_targets(view: Viewed, service: Serving) -> Response:
    """Targets beside what was reached, live: for the venue, each phase and each source; output of slots, and shares."""
    question = AskTargets(view.venue.venue, view.venue.targets)
    found = await service.followers().now.ask(question, within_s=_REPORT_S)
    return Response(found, media_type="application/json", headers={"Cache-Control": "private, no-store"})


@router.put("/{venue}/targets", operation_id="putTargets", response_model=Targets)
@needs("operate")
async def put_targets(view: Viewed, targets: Targets, service: Serving, caller: Caller) -> Targets:
    """Make these the venue's targets. Every API process follows within 2 s; no product moves by it."""
    wanted = targets.model_dump(mode="json", exclude_none=True)
    service.frames.take(await service.desk.venues.put_targets(view.venue.venue, wanted, author=caller.name))
    return targets
