"""Operators: venues and runners."""

from __future__ import annotations

from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Query, Response

from api.errors import ProblemError
from api.guard import Caller, GuardedRoute, needs, shows_details
from api.schemas.fields import BULK_MAX, header
from api.schemas.runners import RunnerList, RunnerOut
from api.schemas.venues import AccessDoc, VenueGone, VenueIn, VenueList, VenueOut
from api.service import Service, Serving, VenueName, Viewed
from api.view import VenueView
from racing.lifecycle import SHOWN
from racing.model import ID_PATTERN
from racing.rule import DEFAULT_RULE

log = structlog.get_logger("saima.api")

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

Limit = Annotated[int, Query(ge=1, le=200, description="at most this many")]


async def _out(service: Service, view: VenueView, *, details: bool) -> VenueOut:
    return VenueOut(
        venue=view.venue.venue,
        title=view.venue.title,
        created_ms=view.venue.created_ms,
        state=view.venue.state,
        parent=view.venue.parent or None,
        slots=view.rule.board.slots,
        runners=await service.desk.runners.count(view.venue.venue) if details else None,
        rule_version=view.rule_version,
        frame=view.frame.frame,
        counts=view.commit.counts if details else None,
    )


@router.post(
    "",
    status_code=201,
    operation_id="createVenue",
    responses={201: {"headers": {"Location": header("path of the venue")}}},
)
@needs("admin")
async def create_venue(venue: VenueIn, service: Serving, caller: Caller, response: Response) -> VenueOut:
    """Create a venue; it races from now on. 409 if it exists."""
    rule, access = venue.rule or DEFAULT_RULE, venue.access.access() if venue.access else None
    if venue.parent is not None and await service.frames.view(venue.parent) is None:
        raise ProblemError("not_found", f"parent: there is no venue {venue.parent!r}")
    given = {"state": venue.state, "parent": venue.parent or ""}
    await service.desk.venues.create(
        venue.venue, venue.title or venue.venue, rule, author=caller.name, access=access, **given
    )
    await service.frames.refresh()
    response.headers["Location"] = f"/v1/venues/{venue.venue}"
    return await _out(service, service.frames.views[venue.venue], details=True)


@router.get("", operation_id="listVenues")
@needs("slots:read")
async def list_venues(
    service: Serving,
    caller: Caller,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(pattern=ID_PATTERN, description="next_cursor of the page before")] = None,
) -> VenueList:
    """Venues that are for this caller, in order of id, a page at a time."""
    if caller.needs:
        await service.frames.refresh()
    else:
        await service.frames.list_again()  # whoever asks without a key costs Redis nothing to speak of
    views, open_views = service.frames.views, service.frames.open_views
    own = views if "slots:read" in caller.needs else open_views
    names = sorted(
        name
        for name, view in own.items()
        if name > (cursor or "")
        and (name in open_views or caller.reaches(name))
        and (view.venue.state in SHOWN or "operate" in caller.needs)
    )
    page = [await _out(service, views[name], details=shows_details(views[name], caller)) for name in names[:limit]]
    return VenueList(venues=page, next_cursor=page[-1].venue if len(names) > limit else None)


@router.get("/{venue}", operation_id="readVenue")
@needs("slots:read")
async def read_venue(view: Viewed, service: Serving, caller: Caller) -> VenueOut:
    """One venue as it stands."""
    return await _out(service, view, details=shows_details(view, caller))


@router.delete("/{venue}", operation_id="deleteVenue")
@needs("admin")
async def delete_venue(
    venue: VenueName,
    service: Serving,
    caller: Caller,
    confirm: Annotated[str, Query(max_length=64, description="the id of the venue once more", examples=["hall-1"])],
) -> VenueGone:
    """Delete a venue for good: its race, its log, its runners, and its files on the machine that answers.

    Takes some seconds: scorers and other API processes let go of it first. Safe to repeat, until it answers 404.
    """
    if confirm != venue:
        expected = f"must be the id of the venue, {venue!r}"
        raise ProblemError("invalid", f"confirm: {expected}, not {confirm!r}: nothing is done")
    log.warning("venue is deleted", venue=venue, by=caller.name)
    keys = await service.remove(venue)
    service.forget(venue)
    await service.frames.refresh()
    await service.desk.venues.tell_deletion(venue, author=caller.name)
    return VenueGone(venue=venue, keys=keys)


@router.get("/{venue}/access", operation_id="readAccess")
@needs("operate")
async def read_access(view: Viewed) -> AccessDoc:
    """What the venue lets whom do while keys are in force."""
    return AccessDoc.of(view.venue.access)


@router.put("/{venue}/access", operation_id="putAccess")
@needs("operate")
async def put_access(view: Viewed, access: AccessDoc, service: Serving, caller: Caller) -> AccessDoc:
    """Make this what the venue lets whom do. Every API process follows within 2 s."""
    service.frames.take(await service.desk.venues.put_access(view.venue.venue, access.access(), author=caller.name))
    return access


@router.get("/{venue}/runners", operation_id="listRunners")
@needs("runners:read")
async def list_runners(
    view: Viewed,
    service: Serving,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=BULK_MAX, description="at most this many")] = 100,
    cursor: Annotated[int, Query(ge=0, description="next_cursor of the page before: an enrolment number")] = 0,
) -> RunnerList:
    """Enrolled products in enrolment order, a page at a time: a merchant's key sees its own ones."""
    found = await service.desk.runners.by_number(view.venue.venue, range(cursor, cursor + limit + 1))
    rows = [
        RunnerOut.model_validate({**msgspec.to_builtins(runner), "runner": number})
        for number, runner in sorted(found.items())
        if number < cursor + limit and caller.owns(runner.merchant)
    ]
    return RunnerList(runners=rows, next_cursor=str(cursor + limit) if cursor + limit in found else None)
