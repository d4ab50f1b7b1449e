"""Machines: is the process alive, is it ready, what does it measure; and help on error codes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.errors import CODES, RESPONSES, ProblemError
from api.schemas import Health, Readiness, VenueHealth
from api.service import Serving
from racing.errors import StoreError
from racing.metrics import METRICS
from racing.rule import Rule

router = APIRouter(tags=["machines"], responses=RESPONSES)


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Health:
    """The process lives. Looks at nothing else, so that a fault of Redis restarts no API."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readyz", responses={503: {"model": Readiness, "description": "Redis is away"}})
async def readyz(service: Serving, response: Response) -> Readiness:
    """Redis answers: writes are possible. Readers are served from memory also when this says no."""
    try:
        await service.desk.ping()
        redis = "ok"
    except StoreError as exc:
        redis, response.status_code = str(exc), 503
    venues = [
        VenueHealth(venue=name, frame=view.frame.frame, age_ms=view.age(), stale=view.stale())
        for name, view in sorted(service.frames.views.items())
    ]
    return Readiness(status="ready" if redis == "ok" else "not ready", redis=redis, venues=venues)


@router.get("/metrics", operation_id="metrics", response_class=Response)
async def metrics() -> Response:
    """Metrics of this process in Prometheus text form."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/rule/schema", operation_id="readRuleSchema")
async def read_rule_schema() -> dict[str, Any]:
    """The JSON Schema of the rule document."""
    return Rule.model_json_schema()


@router.get("/problems/{code}", operation_id="readProblem")
async def read_problem(code: str) -> dict[str, str]:
    """What an error code means and what to do about it."""
    if code not in CODES:
        raise ProblemError("not_found", f"there is no error code {code[:80]!r}")
    status, title, meaning = CODES[code]
    return {"code": code, "status": str(status), "title": title, "help": meaning}
