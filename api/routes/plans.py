"""Operators: plans (备案), changes prepared beforehand and applied as one decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Response

from api.guard import Caller, GuardedRoute, needs
from api.routes.orders import CHANGED, accepted, order_of
from api.schemas.decisions import MaybeNote, Visible
from api.schemas.orders import OrdersChanged
from api.schemas.plans import PlanIn, PlanList, PlanOut
from api.service import Serving, Viewed
from api.steering import Steer, Steering, checked_by, enrolled_only
from racing.errors import ConflictError
from racing.model import ID_PATTERN, START
from racing.orders import Order, parse_order
from racing.refusals import check_present
from racing.rule import parse_rule
from racing.store.audit import Told
from racing.store.documents import Plan
from racing.store.orders import Book, document_of

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

PlanName = Annotated[
    str, Path(description="id of the plan", examples=["rain"], json_schema_extra={"pattern": ID_PATTERN})
]


@router.get("/{venue}/plans", operation_id="listPlans")
@needs("operate")
async def list_plans(view: Viewed, service: Serving) -> PlanList:
    """Every plan of the venue, by id; a venue keeps at most 200."""
    plans = await service.plans.all(view.venue.venue)
    return PlanList(plans=[PlanOut.model_validate(msgspec.to_builtins(plan)) for plan in plans])


@router.get("/{venue}/plans/{plan}", operation_id="readPlan")
@needs("operate")
async def read_plan(view: Viewed, plan: PlanName, service: Serving) -> PlanOut:
    """One plan, and whether it is applied."""
    found = await service.plans.read(view.venue.venue, plan)
    applied = await _applied(service, view.venue.venue, plan)
    return PlanOut.model_validate({**msgspec.to_builtins(found), "applied": applied})


async def _applied(service: Serving, venue: str, plan: str) -> str | None:
    """The entry that applied a plan, unless a later one withdrew it."""
    newest = await service.audit.newest(venue, _of(plan), after=str(START))
    return None if newest is None or newest.decision.undoes else newest.entry


def _of(plan: str) -> Callable[[Told], bool]:
    return lambda told: told.decision.plan == plan


@router.put("/{venue}/plans/{plan}", operation_id="savePlan")
@needs("operate")
async def save_plan(plan: PlanName, sent: PlanIn, steer: Steering) -> PlanOut:
    """Save a plan. It is checked as if it were applied now, and again when it is."""
    put = [order_of(order) for order in sent.put]
    await _check(steer, put, sent.withdraw)
    rule = None if sent.rule is None else sent.rule.model_dump(mode="json", exclude_none=True)
    made = Plan(plan, [document_of(order) for order in put], sent.withdraw, rule, sent.note)
    await steer.service.plans.put(steer.venue, made, author=steer.caller.name)
    return PlanOut.model_validate(msgspec.to_builtins(await steer.service.plans.read(steer.venue, plan)))


async def _check(steer: Steer, put: list[Order], withdraw: list[str]) -> None:
    """Raise what would refuse the changes now."""
    await enrolled_only(steer.service, steer.view, put)
    book = await steer.service.orders.read(steer.venue)
    checked_by(steer.service, steer.view)(book, put, withdraw)
    check_present(book.orders, put, steer.service.now_ms())


@router.delete("/{venue}/plans/{plan}", status_code=204, operation_id="deletePlan")
@needs("operate")
async def delete_plan(view: Viewed, plan: PlanName, service: Serving, caller: Caller) -> Response:
    """Delete a plan. What it has put stays as it is."""
    await service.plans.drop(view.venue.venue, plan, author=caller.name)
    return Response(status_code=204)


@router.post("/{venue}/plans/{plan}/apply", operation_id="applyPlan", responses=CHANGED)
@needs("operate")
async def apply_plan(plan: PlanName, sent: MaybeNote, steer: Steering) -> OrdersChanged:
    """Put, withdraw and change all that the plan says, as one decision.

    409 names the product that was withdrawn since, or the order that is in its way.
    """
    found = await steer.service.plans.read(steer.venue, plan)
    put = [parse_order(document) for document in found.put]

    def present(book: Book) -> None:
        check_present(book.orders, put, steer.service.now_ms())

    return await steer.change(
        put=put,
        withdraw=found.withdraw,
        rule=None if found.rule is None else parse_rule(found.rule),
        plan=plan,
        note=sent.note or found.note,
        precondition=present,
    )


@router.post("/{venue}/plans/{plan}/withdraw", operation_id="withdrawPlan", responses=accepted(Visible))
@needs("operate")
async def withdraw_plan(plan: PlanName, sent: MaybeNote, steer: Steering) -> Visible:
    """Take back, as one decision, all that applying the plan did; 409 where it is not applied, or was changed since."""
    entry = await _applied(steer.service, steer.venue, plan)
    if entry is None:
        raise ConflictError(f"plan {plan!r} is not applied")
    return await steer.shown(await steer.undo(sent.note, plan=plan).of(entry))
