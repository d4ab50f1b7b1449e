"""Operators: who races. Enrolment one by one, in bulk or from a file; conditions; withdraw, restore, swap."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.bodies import JSON, NOT_JSON, media_type_of, why_not_json
from api.enrolling import Waive, enrol, enrol_rows
from api.errors import ProblemError
from api.guard import Caller, GuardedRoute, needs
from api.routes.orders import CHANGED, accepted
from api.routes.runners import ProductName, own_runner
from api.schemas.lives import ConditionsOut
from api.schemas.orders import OrdersChanged
from api.schemas.runners import EnrolledList, EnrolledOut, RunnerIn, RunnersIn
from api.schemas.swaps import SwapIn, Swapped
from api.service import Serving, Viewed
from api.steering import Steering
from racing.conditions import Conditions, parse_conditions, refuse
from racing.decisions import Change, Decision
from racing.errors import NotFoundError
from racing.refusals import products_of
from racing.rows import rows_of
from racing.store.undo import withdrawal_of, withdrawn

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

CSV = "text/csv"
_RUNNER = {"product": "p-1001", "merchant": "m-7", "title": "Noise-cancelling earbuds", "price": 19900, "stock": 500}
_FILE = "product,merchant,title,price,stock,attributes.rating\np-1001,m-7,Noise-cancelling earbuds,19900,500,4.8\n"
_BULK = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/RunnersIn"}, "example": {"runners": [_RUNNER]}},
            CSV: {"schema": {"type": "string", "description": "a product a line, its columns named in the first"}},
        },
    }
}


@router.post("/{venue}/runners", status_code=201, operation_id="enrolRunner")
@needs("operate")
async def enrol_runner(
    view: Viewed, runner: RunnerIn, service: Serving, caller: Caller, *, waive: Waive = False
) -> EnrolledOut:
    """Enrol one product, or replace its data. Safe to repeat. 422 says which entry conditions a new one lacks."""
    return (await enrol(service, view, caller, [runner.runner()], waive=waive))[0]


@router.post("/{venue}/runners/bulk", status_code=201, operation_id="enrolRunners", openapi_extra=_BULK)
@needs("operate")
async def enrol_runners(
    request: Request, view: Viewed, service: Serving, caller: Caller, *, waive: Waive = False
) -> EnrolledList:
    """Enrol up to 1,000 products as one decision: all or none. Safe to repeat.

    A file (`text/csv`, up to 20,000 rows) is taken row by row: wrong rows are told in `refused`, the others enrolled;
    of products that are enrolled its columns are changed, and what it has no column for stays.
    """
    body, media_type = await request.body(), media_type_of(request.headers, (JSON, CSV))
    if media_type == CSV:
        return await enrol_rows(service, view, caller, rows_of(body), waive=waive)
    runners = [runner.runner() for runner in _runners_in(body).runners]
    return EnrolledList(runners=await enrol(service, view, caller, runners, waive=waive))


def _runners_in(body: bytes) -> RunnersIn:
    try:
        return RunnersIn.model_validate(msgspec.json.decode(body))
    except NOT_JSON as exc:
        raise ProblemError("malformed", why_not_json(body, exc)) from exc
    except ValidationError as exc:
        raise RequestValidationError(exc.errors()) from exc


# -- conditions -----------------------------------------------------------------------------------------------


@router.get("/{venue}/conditions", operation_id="readConditions", response_model_exclude_none=True)
@needs("operate")
async def read_conditions(view: Viewed) -> ConditionsOut:
    """What a product must bring to be let in (报名门槛); what is not named is not asked for."""
    return ConditionsOut.model_validate(view.venue.conditions)


@router.put("/{venue}/conditions", operation_id="putConditions", response_model_exclude_none=True)
@needs("operate")
async def put_conditions(view: Viewed, conditions: Conditions, service: Serving, caller: Caller) -> ConditionsOut:
    """Make these the entry conditions. Products that are enrolled stay. Every API process follows within 2 s."""
    document = conditions.model_dump(mode="json", exclude_none=True)
    service.frames.take(await service.desk.venues.put_conditions(view.venue.venue, document, author=caller.name))
    return ConditionsOut.model_validate(document)


# -- withdraw, restore, swap ----------------------------------------------------------------------------------


@router.delete("/{venue}/runners/{product}", operation_id="withdrawRunner", responses=CHANGED)
@needs("runners:read")
async def withdraw_runner(
    product: ProductName,
    steer: Steering,
    *,
    reason: Annotated[str, Query(min_length=1, max_length=200, description="why")] = "withdrawn",
) -> OrdersChanged:
    """Take a product out of the race: off the board, under the order withdrawn.<product>, until it is restored.

    Its counts and standing go on. A merchant may withdraw its own where the venue lets merchants.
    """
    await own_runner(steer.service, steer.view, product, steer.caller)
    if "operate" not in steer.caller.needs and "withdraw" not in steer.view.venue.access.merchants_may:
        raise ProblemError("forbidden", "the venue does not let merchants withdraw products")
    return await steer.put(withdrawn(product, reason))


@router.post("/{venue}/runners/{product}/restore", operation_id="restoreRunner", responses=CHANGED)
@needs("operate")
async def restore_runner(product: ProductName, steer: Steering) -> OrdersChanged:
    """Let a product that was withdrawn race on where it stands. 404 where it is not withdrawn."""
    book = await steer.service.orders.read(steer.venue)
    if withdrawal_of(product) not in book.kept:
        raise NotFoundError(f"product {product[:80]!r} is not withdrawn")
    return await steer.withdraw(withdrawal_of(product), "restored")


@router.post("/{venue}/runners/{product}/swap", operation_id="swapRunner", responses=accepted(Swapped))
@needs("operate")
async def swap_runner(product: ProductName, swap: SwapIn, steer: Steering, *, waive: Waive = False) -> Swapped:
    """Put another product in a product's place: it takes over number, sums and standing. 409 onto one that is enrolled.

    Events of the one that goes are refused from then on, as of any product that is not enrolled. Orders that name it
    are told: they mean nobody now.
    """
    desk, venue = steer.service.desk, steer.venue
    before, read = await own_runner(steer.service, steer.view, product, steer.caller)
    wanted = swap.runner.runner()
    if not waive:
        refuse(parse_conditions(steer.view.venue.conditions), wanted, at="runner.")
    change = Change("", msgspec.to_builtins(before), msgspec.to_builtins(wanted))
    decision = Decision(steer.caller.name, "swap", [change], swap.note)
    entry = await desk.runners.swap(venue, product, wanted, read=read, decision=decision)
    book = await steer.service.orders.read(venue)
    named = sorted(name for name, order in book.orders.items() if product in products_of([order]))
    seen: dict[str, Any] = (await steer.shown(entry)).model_dump()
    return Swapped(product=wanted.product, orders=named, **seen)
