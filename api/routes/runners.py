"""One product of a venue: its data, and what may be changed of it by whom. Another merchant's looks absent."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path

from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs
from api.schemas.runners import RunnerChange, RunnerChanged, RunnerDoc
from api.service import Service, Serving, Viewed
from api.view import VenueView
from racing.entries import Runner
from racing.errors import ConflictError
from racing.model import ID_PATTERN

router = APIRouter(prefix="/v1/venues", tags=["merchants"], route_class=GuardedRoute)

ProductName = Annotated[
    str, Path(description="id of the product", examples=["p-1001"], json_schema_extra={"pattern": ID_PATTERN})
]
_TRIES = 5


async def own_runner(service: Service, view: VenueView, product: str, caller: Grant) -> tuple[Runner, bytes]:
    """A product that is for this caller, and as it is kept.

    Raises ProblemError (404): the same for another's as for one that is not.
    """
    found = await service.desk.runners.find(view.venue.venue, product)
    if found is None or not caller.owns(found[0].merchant):
        raise ProblemError("not_found", f"there is no product {product[:80]!r} in venue {view.venue.venue!r}")
    return found


@router.get("/{venue}/runners/{product}", operation_id="readRunner")
@needs("runners:read")
async def read_runner(view: Viewed, product: ProductName, service: Serving, caller: Caller) -> RunnerDoc:
    """A product and its data as given at enrolment, or changed since."""
    runner, _ = await own_runner(service, view, product, caller)
    return RunnerDoc.model_validate(msgspec.to_builtins(runner))


@router.patch("/{venue}/runners/{product}", operation_id="changeRunner")
@needs("stock:write")
async def change_runner(
    view: Viewed, product: ProductName, change: RunnerChange, service: Serving, caller: Caller
) -> RunnerChanged:
    """Change a product's stock or price: an ERP's key the stock, a merchant's what the venue lets merchants change."""
    for _ in range(_TRIES):
        runner, read = await own_runner(service, view, product, caller)
        _check_may(view, change, caller)
        wanted = msgspec.structs.replace(runner, **change.changes())
        entry = await service.desk.runners.change(view.venue.venue, wanted, read=read, author=caller.name)
        if entry is not None:
            return RunnerChanged(product=product, entry=entry, **change.model_dump())
    raise ConflictError(f"product {product!r} is changed by others all the time: try again")


def _check_may(view: VenueView, change: RunnerChange, caller: Grant) -> None:
    if "operate" in caller.needs:
        return
    may = view.venue.access.merchants_may if caller.merchant is not None else ("stock",)
    for name in change.changes():
        if name not in may:
            whose = "the venue does not let merchants" if caller.merchant is not None else "this key may not"
            raise ProblemError("forbidden", f"{whose} change {name}")
