"""Machines: is the process alive, is it ready, what does it measure; and help on error codes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.errors import CODES, ProblemError
from api.guard import GuardedRoute, needs
from api.schemas.machines import DurabilityHealth, Health, ProblemHelp, Readiness, VenueHealth
from api.scrape import look
from api.service import Serving
from racing.errors import StoreError, StoreUnavailableError
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
    "durability": {"asked": "safe", "in_force": "unknown", "found": "", "promise": ""},
    "venues": [{"venue": "hall-1", "frame": 48210, "age_ms": 4200, "stale": True}],
}


@router.get(
    "/readyz",
    operation_id="readyz",
    responses={
        503: {
            "model": Readiness,
            "description": "Redis is away, or cannot keep what safe mode promises",
            "content": {"application/json": {"example": _NOT_READY}},
        }
    },
)
async def readyz(service: Serving, response: Response) -> Readiness:
    """Writes are possible: Redis answers and can keep them as promised. Readers are served also when this says no.

    Venues that are not open to everyone are left out.
    """
    try:
        if service.draining:
            raise StoreUnavailableError("this process is ending: send elsewhere")
        found = await service.desk.durability(service.settings)
        redis, reached = "ok", found.in_force != "not reached"
        durability = DurabilityHealth(
            asked=found.asked, in_force=found.in_force, found=found.found, promise=found.promise
        )
    except StoreError as exc:
        redis, reached = (str(exc) if service.settings.keys == "off" else "Redis is away"), False
        durability = DurabilityHealth(asked=service.settings.durability, in_force="unknown", found="", promise="")
    if not reached:
        response.status_code = 503
    venues = [
        VenueHealth(venue=name, frame=view.frame.frame, age_ms=view.age(), stale=view.stale())
        for name, view in sorted(service.frames.open_views.items())
    ]
    status = "ready" if reached else "not ready"
    return Readiness(status=status, redis=redis, durability=durability, venues=venues)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@needs("metrics:read")
async def metrics(service: Serving) -> Response:
    """Metrics of this process in Prometheus text form, and for each venue its books and who runs it."""
    await look(service)
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
