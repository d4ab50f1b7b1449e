"""Front ends: the slots of the current frame, from memory, and of those before it, from where they are kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from api.encoded import VARY, Slots, coding_for, newest_named
from api.guard import Caller, GuardedRoute, needs, needs_more
from api.plain import plain_slots
from api.reading import Asked, SlotsQuery, asked_of, found, known_segment, plain_part, state_of
from api.schemas.fields import header
from api.schemas.slots import SlotsOut
from api.service import Service, Serving, Viewed
from api.view import VenueView
from racing.errors import StoreError

router = APIRouter(prefix="/v1/venues", tags=["front ends"], route_class=GuardedRoute)

HEADERS = {
    "ETag": header("name of the frame, with a digest of all that is told: product data, state and choice too"),
    "Cache-Control": header("how long a shared cache may keep it"),
    "Vary": header("Accept-Encoding: br or gzip is sent to who takes it"),
    "Saima-Now-Ms": header("clock of the server, ms: what countdowns are told from", kind="integer"),
    "Saima-Age-Ms": header("age of the data, ms; absent before the first commit", kind="integer", required=False),
    "Saima-Stale": header("true while the data does not move", required=False),
}
UNCHANGED = {"description": "the answer named by If-None-Match is still right", "headers": HEADERS}
Known = Annotated[str | None, Header(alias="if-none-match", examples=['"1763740800000-48210-5d3e0f9a1b2c"'])]


@router.get(
    "/{venue}/slots",
    operation_id="readSlots",
    response_model=SlotsOut,
    responses={200: {"headers": HEADERS}, 304: UNCHANGED},
)
@needs("slots:read")
async def read_slots(
    request: Request,
    view: Viewed,
    service: Serving,
    caller: Caller,
    query: Annotated[SlotsQuery, Query()],
    if_none_match: Known = None,
) -> Response:
    """Slots of one frame, best first: of the current one, of the one that a cursor goes on in, or of a past one.

    The current frame is served from memory, also while Redis is away. A page, an ETag and `seen` name a frame: no
    process answers them with an older one. Scores, terms, stock and counts are left out where the venue keeps them to
    its operators. With `rules=off` operators get the first products by score alone, excluded and sold-out ones too.
    """
    if query.rules is not None:
        needs_more(caller, "operate", view.venue.venue)
        made = await plain_slots(service, view, plain_part(query))
        return answered(request, service, made, age_ms=view.age(), if_none_match=if_none_match)
    asked, details = asked_of(view.venue.venue, query), view.public_details or caller.sees_details(view.venue.venue)
    known_segment(view, query.segment)
    newer = await _newer_answer(service, view, asked, if_none_match)
    if newer is not None:
        return Response(status_code=304, headers={"etag": newer, "saima-stale": "true", "vary": VARY})
    shown = await found(service, view, asked)
    state = await state_of(service, view, shown, asked.part, details=details)
    made = view.part(shown, asked.part, state)
    return answered(request, service, made, age_ms=view.age(), if_none_match=if_none_match)


@router.head(
    "/{venue}/slots",
    operation_id="headSlots",
    response_class=Response,
    responses={
        200: {"description": "as GET answers, without its body", "headers": HEADERS},
        304: UNCHANGED,
    },
)
@needs("slots:read")
async def head_slots(
    request: Request,
    view: Viewed,
    service: Serving,
    caller: Caller,
    query: Annotated[SlotsQuery, Query()],
    if_none_match: Known = None,
) -> Response:
    """The head of what GET answers: which frame is the current one."""
    return await read_slots(request, view, service, caller, query, if_none_match)


async def _newer_answer(service: Service, view: VenueView, asked: Asked, if_none_match: str | None) -> str | None:
    """The ETag of an answer that the client has, of a newer frame than can be had while the store is away, if so."""
    seen = None if if_none_match is None else newest_named(if_none_match)
    if seen is None or asked.place is not None or asked.at_ms is not None:
        return None
    try:
        await service.frames.catch_up(view, seen)
    except StoreError:
        tags = [tag.strip() for tag in (if_none_match or "").split(",")]
        return next(tag for tag in tags if newest_named(tag) == seen)
    return None


def answered(
    request: Request, service: Service, made: Slots, *, age_ms: int | None, if_none_match: str | None
) -> Response:
    """The answer as it is sent: compressed for who takes it, and not at all to who has it."""
    made = made.packed(coding_for(", ".join(request.headers.getlist("accept-encoding"))))
    headers = {**made.headers, "saima-now-ms": str(service.now_ms())}
    if age_ms is not None:
        headers["saima-age-ms"] = str(age_ms)
    if if_none_match is not None and if_none_match_names(if_none_match, made.etag):
        return Response(status_code=304, headers=headers)
    if made.encoding:
        headers["content-encoding"] = made.encoding
    return Response(made.body, headers=headers, media_type="application/json")


def if_none_match_names(given: str, etag: str) -> bool:
    """Whether a list of ETags names this one (weak comparison, as RFC 9110 has it for If-None-Match)."""
    if given == etag:
        return True
    return given.strip() == "*" or etag in {each.strip().removeprefix("W/") for each in given.split(",")}
