"""Front ends: the current frame, from memory."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.frames import is_stale
from api.guard import Caller, GuardedRoute, needs
from api.schemas import SlotsOut, header
from api.service import Viewed

router = APIRouter(prefix="/v1/venues", tags=["front ends"], route_class=GuardedRoute)

HEADERS = {
    "ETag": header("name of the frame, apart while it is stale"),
    "Cache-Control": header("how long a shared cache may keep it"),
    "Saima-Age-Ms": header("age of the data, ms; absent before the first commit", kind="integer", required=False),
    "Saima-Stale": header("true while the data does not move", required=False),
}


@router.get(
    "/{venue}/slots",
    operation_id="readSlots",
    response_model=SlotsOut,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "the frame named by If-None-Match is still the current one", "headers": HEADERS},
    },
)
@needs("slots:read")
async def read_slots(
    view: Viewed,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=1000, description="first slots of the board")] = 50,
    if_none_match: Annotated[str | None, Header(examples=['"1763740800000-48210"'])] = None,
) -> Response:
    """The first slots of the current frame, best first. Served from memory, also while Redis is away.

    Scores, terms, stock and counts are left out where the venue keeps them to its operators.
    """
    age_ms = view.age()
    made = view.detailed if caller.sees_details(view.venue.venue) else view.slots
    slots = made(limit, stale=is_stale(age_ms))
    headers = slots.headers if age_ms is None else {**slots.headers, "saima-age-ms": str(age_ms)}
    if if_none_match is not None and if_none_match_names(if_none_match, slots.etag):
        return Response(status_code=304, headers=headers)
    return Response(slots.body, headers=headers, media_type="application/json")


def if_none_match_names(given: str, etag: str) -> bool:
    """Whether a list of ETags names this one (weak comparison, as RFC 9110 has it for If-None-Match)."""
    if given == etag:
        return True
    return given.strip() == "*" or etag in {each.strip().removeprefix("W/") for each in given.split(",")}
