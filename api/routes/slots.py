"""Front ends: the current frame, from memory."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from api.errors import RESPONSES
from api.frames import VenueView
from api.schemas import SlotsOut
from api.service import Viewed

router = APIRouter(prefix="/v1/venues", tags=["front ends"], responses=RESPONSES)

CACHE_CONTROL = "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=60"
"""A shared cache asks at most once a second; an exclusion is everywhere within 2 s."""


def etag_of(view: VenueView, *, stale: bool) -> str:
    """The strong ETag of the current frame: its name, apart for the answer that is marked stale."""
    return f'"{view.frame.name}{"-stale" if stale else ""}"'


@router.get(
    "/{venue}/slots",
    operation_id="readSlots",
    response_model=SlotsOut,
    responses={304: {"description": "the frame named by If-None-Match is still the current one"}},
)
async def read_slots(
    view: Viewed,
    limit: Annotated[int, Query(ge=1, le=1000, description="first slots of the board")] = 50,
    if_none_match: Annotated[str | None, Header(examples=['"1763740800000-48210"'])] = None,
) -> Response:
    """The first slots of the current frame, best first. Served from memory, also while Redis is away."""
    stale = view.stale()
    etag = etag_of(view, stale=stale)
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL}
    age_ms = view.age()
    if age_ms is not None:
        headers["Saima-Age-Ms"] = str(age_ms)
    if stale:
        headers["Saima-Stale"] = "true"
    if if_none_match is not None and _names(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(view.body(limit, stale=stale), media_type="application/json", headers=headers)


def _names(if_none_match: str, etag: str) -> bool:
    """Whether a list of ETags names this one (weak comparison, as RFC 9110 has it for If-None-Match)."""
    given = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return etag in given or "*" in given
