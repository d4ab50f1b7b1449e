"""Front ends with several venues on one page: their current frames in one answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.encoded import CACHE_CONTROL, PRIVATE_CACHE_CONTROL, Slots
from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs
from api.parts import Part, State
from api.reading import FIELDS_PATTERN, fields_of
from api.routes.slots import HEADERS, UNCHANGED, Known, answered
from api.schemas.slots import BoardsOut
from api.service import Service, Serving
from api.view import VenueView, is_stale
from racing.documents import ID_WORDS, in_words, shown
from racing.errors import StoreUnavailableError
from racing.model import ID_PATTERN

router = APIRouter(prefix="/v1", tags=["front ends"], route_class=GuardedRoute)

VENUES_MAX = 20
_JOINED_MAX = 8
"""Joined answers kept: a page asks for the same venues again and again."""
_encode = msgspec.json.Encoder().encode


class BoardsQuery(BaseModel):
    """What may be asked of several venues at once."""

    model_config = ConfigDict(frozen=True)

    venues: str = Field(
        max_length=2_048,
        description="ids of up to 20 venues, comma-separated",
        examples=["hall-1,hall-2"],
        json_schema_extra={"pattern": r"^[A-Za-z0-9._-]{1,64}(,[A-Za-z0-9._-]{1,64}){0,19}$"},
    )
    limit: int = Field(50, ge=1, le=1000, description="first slots of each board")
    fields: str | None = Field(
        None,
        max_length=512,
        description="as of one venue's slots",
        examples=["title,price"],
        json_schema_extra={"pattern": FIELDS_PATTERN},
    )


@router.get(
    "/slots",
    operation_id="readManySlots",
    response_model=BoardsOut,
    responses={200: {"headers": HEADERS}, 304: UNCHANGED},
)
@needs("slots:read")
async def read_many_slots(
    request: Request,
    service: Serving,
    caller: Caller,
    query: Annotated[BoardsQuery, Query()],
    if_none_match: Known = None,
) -> Response:
    """The current frames of several venues, in the order asked for, each as its own slots are answered.

    A venue that is not there, or not for this caller, is named as missing and spoils nothing.
    """
    names, part = _names(query.venues), Part(query.limit, fields=fields_of(query.fields))
    with suppress(StoreUnavailableError):  # those that are known are shown all the same
        await service.frames.look_for(names)
    views = [view for name in names if (view := _readable(service, caller, name)) is not None]
    made = [_made(view, part, caller) for view in views]
    missing = [name for name in names if name not in {view.venue.venue for view in views}]
    age_ms = max((age for view in views if (age := view.age()) is not None), default=None)
    return answered(request, service, _joined(service, made, missing), age_ms=age_ms, if_none_match=if_none_match)


def _names(venues: str) -> list[str]:
    """The venues named, each once. Raises ProblemError (422)."""
    names = list(dict.fromkeys(name.strip() for name in venues.split(",")))
    wrong = next((name for name in names if not re.fullmatch(ID_PATTERN, name)), None)
    if wrong is not None:
        errors = [("query.venues", f"each id {ID_WORDS}", shown(wrong))]
    elif len(names) > VENUES_MAX:
        errors = [("query.venues", f"must name at most {VENUES_MAX} venues", str(len(names)))]
    else:
        return names
    raise ProblemError("invalid", in_words(errors), errors=errors)


def _readable(service: Service, caller: Grant, name: str) -> VenueView | None:
    """A venue that this caller may read; None for any other, and where nobody can tell."""
    view = service.frames.views.get(name)
    open_to_all = name in service.frames.open_views
    return view if open_to_all or ("slots:read" in caller.needs and caller.reaches(name)) else None


def _made(view: VenueView, part: Part, caller: Grant) -> Slots:
    details = view.public_details or caller.sees_details(view.venue.venue)
    return view.part(view.now, part, State(stale=is_stale(view.age()), details=details))


def _joined(service: Service, made: Sequence[Slots], missing: Sequence[str]) -> Slots:
    """One answer of several, kept until one of them is another."""
    key = (tuple(made), tuple(missing))
    if key not in service.joined:
        if len(service.joined) >= _JOINED_MAX:
            service.joined.clear()
        names = "".join([*(each.etag for each in made), *missing])
        body = b'{"boards":[%b],"missing":%b}' % (b",".join(each.body for each in made), _encode(missing))
        public = all(each.cache_control == CACHE_CONTROL for each in made)
        service.joined[key] = Slots(
            body,
            f"many-{blake2b(names.encode(), digest_size=8).hexdigest()}",
            stale=any(each.stale for each in made),
            cache_control=CACHE_CONTROL if public else PRIVATE_CACHE_CONTROL,
        )
    return service.joined[key]
