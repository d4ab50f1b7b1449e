"""Machines: is the process alive, is it ready, what does it measure; and help on error codes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.errors import CODES, ProblemError
from api.guard import GuardedRoute, needs
from api.schemas import Health, ProblemHelp, Readiness, VenueHealth
from api.service import Serving
from racing.errors import StoreError
from racing.metrics import METRICS
from racing.rule import Rule

router = APIRouter(tags=["machines"], route_class=GuardedRoute)


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """The process lives. Looks at nothing else, so that a fault of Redis restarts no API."""
    return Health(status="ok")


_NOT_READY = {
    "status": "not ready",
    "redis": "Redis is away: Connection refused",
    "venues": [{"venue": "hall-1", "frame": 48210, "age_ms": 4200, "stale": True}],
}


@router.get(
    "/readyz",
    operation_id="readyz",
    responses={
        503: {
            "model": Readiness,
            "description": "Redis is away",
            "content": {"application/json": {"example": _NOT_READY}},
        }
    },
)
async def readyz(service: Serving, response: Response) -> Readiness:
    """Redis answers: writes are possible. Readers are served from memory also when this says no.

    Venues that are not open to everyone are left out.
    """
    try:
        await service.desk.ping()
        redis = "ok"
    except StoreError as exc:
        redis, response.status_code = str(exc) if service.settings.keys == "off" else "Redis is away", 503
    venues = [
        VenueHealth(venue=name, frame=view.frame.frame, age_ms=view.age(), stale=view.stale())
        for name, view in sorted(service.frames.open_views.items())
    ]
    return Readiness(status="ready" if redis == "ok" else "not ready", redis=redis, venues=venues)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@needs("metrics:read")
async def metrics() -> Response:
    """Metrics of this process in Prometheus text form."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/v1/rule/schema",
    operation_id="readRuleSchema",
    responses={200: {"content": {"application/json": {"example": {"title": "Rule", "type": "object"}}}}},
)
async def read_rule_schema() -> dict[str, Any]:
    """The JSON Schema of the rule document."""
    return Rule.model_json_schema()


@router.get("/problems/{code}", operation_id="readProblem")
async def read_problem(code: Annotated[str, Path(examples=["not_found"])]) -> ProblemHelp:
    """What an error code means and what to do about it."""
    if code not in CODES:
        raise ProblemError("not_found", f"there is no error code {code[:80]!r}; there are {', '.join(CODES)}")
    status, title, meaning, _ = CODES[code]
    return ProblemHelp(code=code, status=status, title=title, help=meaning)
