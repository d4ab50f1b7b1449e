"""Merchants: how a product stood over an hour, from the boards that are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from api.errors import ProblemError
from api.guard import Caller, GuardedRoute, needs
from api.merchant_schemas import HistoryOut
from api.routes.merchants import PRIVATE, MerchantName, reached
from api.routes.runners import ProductName
from api.service import Serving
from racing.model import ID_PATTERN, Frame

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=GuardedRoute)

HOUR_MS = 3_600_000
_encode = msgspec.json.Encoder().encode
Point = tuple[int | None, int | None, float | None]
"""Slot, standing and score."""
_OFF: Point = (None, None, None)


def _point_of(product: str) -> Callable[[Frame], Point]:
    """Reads where a product stood on a board."""

    def point(frame: Frame) -> Point:
        slot = next((slot for slot in frame.slots if slot.product == product), None)
        return _OFF if slot is None else (slot.slot, slot.standing or slot.slot, slot.score)

    return point


def _moments(now_ms: int, from_ms: int | None, step_ms: int) -> tuple[int, int]:
    """(the first moment, how many): whole steps of an hour from a moment on, or of the last one, up to now."""
    begin_ms = max(0, now_ms - HOUR_MS) if from_ms is None else from_ms
    first, last = -(-begin_ms // step_ms), min(now_ms, begin_ms + HOUR_MS) // step_ms
    return first * step_ms, max(0, last - first + 1)


@router.get("/merchants/{merchant}/runners/{product}/history", operation_id="readHistory", response_model=HistoryOut)
@needs("runners:read")
async def read_history(  # each is a part of the request
    merchant: MerchantName,
    product: ProductName,
    service: Serving,
    caller: Caller,
    *,
    venue: Annotated[str, Query(pattern=ID_PATTERN, description="the venue in which it races", examples=["hall-1"])],
    from_ms: Annotated[
        int | None,
        Query(
            ge=0, le=2**42, description="an hour from this moment on; the last one without", examples=[1763737200000]
        ),
    ] = None,
    every_s: Annotated[int, Query(ge=10, le=600, description="between two points")] = 10,
) -> Response:
    """Slot, standing and score of a product over an hour, while it was on the board. Null: it was not, or none is kept.

    Points are at whole every_s of log time, of the board that stood then.
    """
    service.merchant_quotas.take(caller.merchant)
    (view,) = await reached(service, caller, venue)
    found = await service.desk.runner(venue, product)
    if found is None or found[0].merchant != merchant:
        raise ProblemError("not_found", f"there is no product {product[:80]!r} of merchant {merchant[:80]!r}")
    first_ms, count = _moments(view.frame.at_ms, from_ms, 1000 * every_s)
    points = await service.frames.each(view, first_ms, count, 1000 * every_s, _point_of(product)) if count else []
    told = [point or _OFF for point in points]
    body = {
        "merchant": merchant,
        "product": product,
        "venue": venue,
        "from_ms": first_ms,
        "every_s": every_s,
        "slot": [slot for slot, _, _ in told],
        "standing": [standing for _, standing, _ in told],
        "score": [score for _, _, score in told],
    }
    return Response(_encode(body), headers=PRIVATE, media_type="application/json")
