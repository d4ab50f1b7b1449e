"""Operators: the life of a venue, its clones, and finals of sub venues."""

from __future__ import annotations

from fastapi import APIRouter

from api.enrolling import Waive, admitted, enrol
from api.guard import Caller, GuardedRoute, needs
from api.schemas.fields import BULK_MAX
from api.schemas.lives import Cloned, CloneIn, Finalists, Heat, MaybeFinalists, StateIn, StateOut
from api.schemas.runners import RefusedProduct
from api.service import Service, Serving, Viewed, no_venue
from api.view import VenueView
from racing.conditions import parse_conditions
from racing.entries import Runner
from racing.errors import ConflictError
from racing.lifecycle import may_become
from racing.orders import Order, Phase
from racing.rule import parse_rule
from racing.store.orders import Book, Wanted
from racing.store.venues import Venue

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)


@router.get("/{venue}/state", operation_id="readState")
@needs("operate")
async def read_state(view: Viewed) -> StateOut:
    """Where the venue is in its life, and what it can become."""
    return StateOut(state=view.venue.state, may_become=list(may_become(view.venue.state)))


@router.put("/{venue}/state", operation_id="putState")
@needs("operate")
async def put_state(view: Viewed, wanted: StateIn, service: Serving, caller: Caller) -> StateOut:
    """Move the venue on: draft, open, closed, archived, or of a rehearsal only archived; else 409.

    Events are taken while it is open or a rehearsal; readers see it open or closed. Every API process follows within
    2 s.
    """
    made, entry = await service.desk.venues.move(view.venue.venue, wanted.state, author=caller.name, note=wanted.note)
    service.frames.take(made)
    return StateOut(state=made.state, may_become=list(may_become(made.state)), entry=entry or None)


# -- clones ---------------------------------------------------------------------------------------------------


@router.post("/{venue}/clone", status_code=201, operation_id="cloneVenue")
@needs("admin")
async def clone_venue(
    view: Viewed, clone: CloneIn, service: Serving, caller: Caller, *, waive: Waive = False
) -> Cloned:
    """Make a venue with this one's rule, products in their order, orders, conditions and access; none of its events.

    Products that fail the entry conditions stay behind, each with what it lacks.
    It is a draft until it is complete. After a fault the same call completes it; 409 for any other venue of that id.
    """
    source = view.venue
    made = await _begun(service, source, clone, caller.name)
    runners, refused = await _copied_runners(service, source, clone.venue, caller.name, waive=waive)
    orders = await _copied_orders(service, source.venue, clone.venue, caller.name)
    if clone.state != made.state:
        made, _ = await service.desk.venues.move(clone.venue, clone.state, author=caller.name, note="complete")
    await service.frames.refresh()
    service.frames.take(made)
    return Cloned(venue=clone.venue, state=made.state, runners=runners, orders=orders, refused=refused)


async def _begun(service: Service, source: Venue, clone: CloneIn, author: str) -> Venue:
    """The venue of a clone as a draft, new or begun before. Raises ConflictError for another venue of that id."""
    rule = parse_rule((await service.desk.rules.read(source.venue)).rule)
    given = {"parent": source.parent, "cloned_from": source.venue, "conditions": source.conditions}
    try:
        return await service.desk.venues.create(
            clone.venue, clone.title or source.title, rule, author=author, access=source.access, state="draft", **given
        )
    except ConflictError:
        found = next((each for each in await service.desk.venues.all() if each.venue == clone.venue), None)
        if found is None or (found.state, found.cloned_from) != ("draft", source.venue):
            raise
        return found


async def _copied_runners(
    service: Service, source: Venue, venue: str, author: str, *, waive: bool
) -> tuple[int, list[RefusedProduct]]:
    """How many products were enrolled, in the order of their numbers, and which were not."""
    conditions = parse_conditions(source.conditions)
    copied, refused = 0, list[RefusedProduct]()
    count = await service.desk.runners.count(source.venue)
    for first in range(0, count, BULK_MAX):
        found = await service.desk.runners.by_number(source.venue, range(first, min(first + BULK_MAX, count)))
        good, lacking = admitted(conditions, [runner for _, runner in sorted(found.items())], waive=waive)
        refused += lacking
        copied += len(good)
        if good:
            await service.desk.runners.enrol(venue, good, author=author)
    return copied, refused


async def _copied_orders(service: Service, source: str, venue: str, author: str) -> int:
    """How many orders were put: those that have not ended, and of phases those that have not begun."""
    now_ms = service.now_ms()

    def goes_on(order: Order) -> bool:
        begun = isinstance(order, Phase) and order.active and order.holds(now_ms)
        return not begun and (order.end_ms is None or order.end_ms > now_ms)

    put = [order for order in (await service.orders.read(source)).orders.values() if goes_on(order)]

    def wanted(_: Book) -> Wanted:
        return Wanted(put=put, author=author, note=f"cloned from {source}")

    await service.orders.decide(venue, wanted)
    return len(put)


# -- heats and final ------------------------------------------------------------------------------------------


@router.post("/{venue}/finalists", operation_id="takeFinalists")
@needs("operate")
async def take_finalists(
    view: Viewed, wanted: MaybeFinalists, service: Serving, caller: Caller, *, waive: Waive = False
) -> Finalists:
    """Enrol the leaders of sub venues, by their frames as they stand, in this main venue. Safe to repeat.

    Their data are those of the sub venue; who is enrolled here already keeps its own. Leaders that fail this venue's
    entry conditions are told, each with what it lacks, and the others enter.
    """
    name = view.venue.venue
    subs = wanted.venues or sorted(each for each, sub in service.frames.views.items() if sub.venue.parent == name)
    if not subs:
        raise ConflictError(f"no venue has {name!r} for its parent: name the sub venues")
    await service.frames.look_for(subs)
    views = [_sub(service, sub) for sub in subs]
    if not all(caller.reaches(sub) for sub in subs):
        raise no_venue(next(sub for sub in subs if not caller.reaches(sub)))
    heats, runners = [], dict[str, Runner]()
    for sub in views:
        first = sub.frame.slots[: wanted.take]
        heats.append(Heat(venue=sub.venue.venue, frame=sub.frame.frame, products=[slot.product for slot in first]))
        data = await service.desk.runners.by_number(sub.venue.venue, [slot.runner for slot in first])
        runners = {data[slot.runner].product: data[slot.runner] for slot in first if slot.runner in data} | runners
    there = await service.desk.runners.numbers(name, list(runners))
    new = [runner for product, runner in runners.items() if product not in there]
    fresh, refused = admitted(parse_conditions(view.venue.conditions), new, waive=waive)
    enrolled = [
        each
        for first in range(0, len(fresh), BULK_MAX)
        for each in await enrol(service, view, caller, fresh[first : first + BULK_MAX], waive=True)
    ]
    return Finalists(heats=heats, runners=enrolled, refused=refused)


def _sub(service: Service, venue: str) -> VenueView:
    view = service.frames.views.get(venue)
    if view is None:
        raise no_venue(venue)
    return view
