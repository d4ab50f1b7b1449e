"""Whoever follows a venue: a stream of what changes, the same for who cannot hold one, and tickets for streams."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated, Generic

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator
from starlette.types import Receive, Scope, Send

from api import sse
from api.boards import changes_since
from api.encoded import parse_place
from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs
from api.hub import Asked, Hub, K
from api.live import Live
from api.live_boards import LIMITS, Kind
from api.parts import Sight
from api.reading import FRAME_PATTERN, known_segment
from api.routes.slots import HEADERS, UNCHANGED, Known, answered
from api.schemas.live import FOLLOWED, ChangesOut, TicketOut
from api.service import Service, Serving, Viewed
from api.tickets import LIVES_S, issue
from api.tokens import issued_s
from api.view import VenueView
from racing.documents import wrong
from racing.errors import StoreError
from racing.model import ID_PATTERN, Place

router = APIRouter(prefix="/v1/venues", tags=["front ends"], route_class=GuardedRoute)


def _one_of_few(limit: int) -> int:
    if limit not in LIMITS:
        raise wrong(f"must be one of {', '.join(map(str, LIMITS))}")
    return limit


Since = Annotated[
    str | None,
    Query(pattern=FRAME_PATTERN, description="name of the frame that the client has", examples=["1763740800000-48210"]),
]
OfSegment = Annotated[
    str | None,
    Query(
        alias="segment",
        pattern=ID_PATTERN,
        examples=["new"],
        description="the board as this segment of shoppers has it, one of those that the rule declares",
    ),
]
Tokens = Annotated[bool, Query(description="each slot with a token, as in GET slots; one that stays keeps its token")]


async def caught_up(service: Service, view: VenueView, place: Place) -> None:
    """Show what another process has shown already, if Redis has it: nobody is told less than what they know."""
    with suppress(StoreError):  # told by the age of the frame
        await service.frames.catch_up(view, place)


class Follows(Response, Generic[K]):
    """The head of a stream; then the connection is handed over to those that are written to."""

    def __init__(self, live: Live, hub: Hub[K], asked: Asked[K]) -> None:
        self._live, self._hub, self._asked = live, hub, asked
        self.status_code, self.background = 200, None
        # proxies pass it on as it comes: nginx by the last one, others as it is not to be kept or transformed
        self.init_headers({"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
        self.headers["Content-Type"] = sse.MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI has it
        """Begin the answer, if there is room for it."""
        self._live.check_room(self._hub.label, self._asked.caller)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        scope["saima.hand_over"](partial(self._live.open, self._hub, self._asked))


def check_stays(service: Service) -> None:
    """Raise ProblemError (503) where this process is about to end."""
    if service.draining:
        raise ProblemError("overloaded", "this process is about to end: open the stream again, it goes to another")


def named(request: Request, caller: Grant) -> str:
    """Who is held to account for a stream."""
    peer = request.client.host if request.client is not None else "unknown"
    return f"the key {caller.name!r}" if caller.id else f"the address {peer}"


@router.get("/{venue}/live", operation_id="followSlots", response_class=Response, responses={200: FOLLOWED})
@needs("slots:read", tickets=True)
async def follow_slots(
    *,
    view: Viewed,
    caller: Caller,
    service: Serving,
    request: Request,
    limit: Annotated[
        int,
        AfterValidator(_one_of_few),
        Query(description="first slots of the board", json_schema_extra={"enum": list(LIMITS)}),
    ] = 50,
    tokens: Tokens = False,
    segment: OfSegment = None,
    since: Since = None,
    last_event_id: Annotated[
        str | None, Header(description="as since; browsers send it by themselves", examples=["1763740800000-48210"])
    ] = None,
    ticket: Annotated[  # noqa: ARG001  # the guard has looked at it
        str | None, Query(description="in place of a key: opens one stream", examples=["3q2-7wAA"])
    ] = None,
) -> Response:
    """Follow the first slots: server-sent events, the whole board first, then what changes, ten times a second at most.

    A client that names the frame it has, by Last-Event-ID or since, is told what has changed since then, or the whole
    board where that is no longer kept.
    """
    check_stays(service)
    known_segment(view, segment)
    name = view.venue.venue
    place = parse_place(since or last_event_id or "")
    if place is not None:
        await caught_up(service, view, place)
    kind = Kind(limit, caller.sees_details(name), tokens, segment)
    return Follows(service.live, service.live.boards(view), Asked(kind, place, named(request, caller), caller.id))


@router.get(
    "/{venue}/changes",
    operation_id="readChanges",
    response_model=ChangesOut,
    responses={200: {"headers": HEADERS}, 304: UNCHANGED},
)
@needs("slots:read")
async def read_changes(
    *,
    request: Request,
    view: Viewed,
    caller: Caller,
    service: Serving,
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="first slots of the board")] = 50,
    tokens: Tokens = False,
    segment: OfSegment = None,
    if_none_match: Known = None,
) -> Response:
    """What has changed in the first slots since a frame, for those who cannot hold a stream: mini programs, scripts.

    Where since is left out, or names a frame that this process does not have (any more), full is the whole board.
    """
    known_segment(view, segment)
    place = parse_place(since or "")
    if place is not None:
        await caught_up(service, view, place)
    issued = issued_s(view.frame.at_ms, service.now_ms()) if tokens else 0
    details = view.public_details or caller.sees_details(view.venue.venue)
    sight = Sight(limit, details, view.stale(), tokens, issued, segment)
    made = changes_since(view, place, sight, service.settings.token_lives_s)
    return answered(request, service, made, age_ms=view.age(), if_none_match=if_none_match)


@router.post("/{venue}/tickets", status_code=201, operation_id="issueTicket")
@needs("live:read")
async def issue_ticket(view: Viewed, service: Serving, caller: Caller, response: Response) -> TicketOut:
    """A ticket that opens one private live stream of the venue, once, within a minute: a key never stands in a URL."""
    response.headers["Cache-Control"] = "no-store"
    return TicketOut(ticket=await issue(service, caller, view.venue.venue), expires_in_s=LIVES_S)
