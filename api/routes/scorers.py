"""Operators: which scorer runs which venue, and how well."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from api.guard import GuardedRoute, needs
from api.schemas.scorers import ScorersOut
from api.service import Serving

router = APIRouter(prefix="/v1/scorers", tags=["operators"], route_class=GuardedRoute)


@router.get("", operation_id="listScorers")
@needs("metrics:read")
async def list_scorers(service: Serving) -> ScorersOut:
    """The scorers, and who runs each venue: epoch, lag, commit time, age of the data, last error."""
    return ScorersOut.model_validate(asdict(await service.desk.crew(lease_ms=service.settings.lease_ms)))
