"""Front ends: the current frame, from memory."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Query, Response

from api.frames import STALE_MS, VenueView
from api.schemas import SlotsOut, header
from api.service import Viewed

router = APIRouter(prefix="/v1/venues", tags=["front ends"])

CACHE_CONTROL = "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=60"
"""A shared cache asks at most once a second; an exclusion is everywhere within 2 s."""


_HEADERS = {
    "ETag": header("name of the frame, apart while it is stale"),
    "Cache-Control": header("how long a shared cache may keep it"),
    "Saima-Age-Ms": header("age of the data, ms; absent before the first commit", kind="integer", required=False),
    "Saima-Stale": header("true while the data does not move", required=False),
}


def etag_of(view: VenueView, *, stale: bool) -> str:
    """The strong ETag of the current frame: its name, apart for the answer that is marked stale."""
    return f'"{view.frame.name}{"-stale" if stale else ""}"'


@router.get(
    "/{venue}/slots",
    operation_id="readSlots",
    response_model=SlotsOut,
    responses={
        200: {"headers": _HEADERS},
        304: {"description": "the frame named by If-None-Match is still the current one", "headers": _HEADERS},
    },
)
async def read_slots(
    view: Viewed,
    limit: Annotated[int, Query(ge=1, le=1000, description="first slots of the board")] = 50,
    if_none_match: Annotated[str | None, Header(examples=['"1763740800000-48210"'])] = None,
) -> Response:
    """The first slots of the current frame, best first. Served from memory, also while Redis is away."""
    answer = slots_answer(view, limit, if_none_match)
    return Response(answer.body, status_code=answer.status, headers=answer.headers)


class SlotsAnswer(NamedTuple):
    """What GET slots answers: 200 with the frame's bytes, or 304 without."""

    status: int
    headers: dict[str, str]
    body: bytes


def slots_answer(view: VenueView, limit: int, if_none_match: str | None) -> SlotsAnswer:
    """The answer from the current frame in memory; its body is encoded once per frame."""
    age_ms = view.age()
    stale = age_ms is not None and age_ms > STALE_MS
    etag = etag_of(view, stale=stale)
    headers = {"etag": etag, "cache-control": CACHE_CONTROL}
    if age_ms is not None:
        headers["saima-age-ms"] = str(age_ms)
    if stale:
        headers["saima-stale"] = "true"
    if if_none_match is not None and _names(if_none_match, etag):
        return SlotsAnswer(304, headers, b"")
    headers["content-type"] = "application/json"
    return SlotsAnswer(200, headers, view.body(limit, stale=stale))


def _names(if_none_match: str, etag: str) -> bool:
    """Whether a list of ETags names this one (weak comparison, as RFC 9110 has it for If-None-Match)."""
    given = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return etag in given or if_none_match.strip() == "*"
