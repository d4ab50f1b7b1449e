"""Merchants: how a product stood: an hour by ten seconds, the whole race by the standings of each minute.

Of products behind the first 10,000 standings nothing is kept, but from when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AfterValidator

from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs
from api.routes.merchants import PRIVATE, MerchantName, reached
from api.routes.runners import ProductName
from api.schemas.merchants import HistoryKept, HistoryOut
from api.service import Service, Serving
from api.view import VenueView
from racing.documents import wrong
from racing.errors import ConflictError, OverloadedError
from racing.model import ID_PATTERN, Frame
from racing.store.minutes import BY_MINUTE, BY_TENS, MINUTE_MS

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=GuardedRoute)

HOUR_MS = 3_600_000
POINTS_MAX = 1_440
"""By the minute: a day, of which some 60 MB are read; more is asked for piece by piece, or by longer steps."""
_encode = msgspec.json.Encoder().encode
Point = tuple[int | None, int | None, float | None]
"""Slot, standing and score."""
_OFF: Point = (None, None, None)


def _whole_minutes(every_s: int) -> int:
    if every_s >= MINUTE_MS // 1000 and every_s * 1000 % MINUTE_MS:
        raise wrong("must be whole minutes, in seconds, where it is 60 or more")
    return every_s


def _point_of(product: str) -> Callable[[Frame], Point]:
    """Reads where a product stood on a board."""

    def point(frame: Frame) -> Point:
        slot = next((slot for slot in frame.slots if slot.product == product), None)
        return _OFF if slot is None else (slot.slot, slot.standing or slot.slot, slot.score)

    return point


def _moments(now_ms: int, begin_ms: int, step_ms: int, most: int) -> tuple[int, int]:
    """(the first moment, how many): whole steps from a moment on, at most so many, up to now."""
    first, last = -(-begin_ms // step_ms), now_ms // step_ms
    return first * step_ms, max(0, min(last - first + 1, most))


async def _by_boards(
    service: Service, view: VenueView, product: str, number: int, moments: tuple[int, int, int]
) -> list[Point]:
    """Points of an hour, of the board that stood then; off it of the standings of those ten seconds, or that minute."""
    first_ms, count, step_ms = moments
    points = await service.frames.past.each(view, first_ms, count, step_ms, _point_of(product))
    found = {first_ms + index * step_ms: point for index, point in enumerate(points)}
    for pace in (BY_TENS, BY_MINUTE):
        off = [moment for moment, point in found.items() if not (point or _OFF)[1] and not moment % pace.step_ms]
        if off:
            kept = await service.frames.past.standings(view, number, min(off), max(off) + 1, pace)
            found |= {moment: (None, *each[1:]) for moment in off if (each := kept.get(moment)) is not None}
    return [point or _OFF for point in found.values()]


async def _by_minutes(service: Service, view: VenueView, number: int, moments: tuple[int, int, int]) -> list[Point]:
    """Points of the standings that are kept of each minute, on the board and off it."""
    first_ms, count, step_ms = moments
    kept = await service.frames.past.standings(view, number, first_ms, first_ms + count * step_ms, BY_MINUTE)
    return [kept.get(first_ms + index * step_ms) or _OFF for index in range(count)]


class Found(NamedTuple):
    """A product of a merchant in one venue, and its runner number there."""

    merchant: str
    product: str
    view: VenueView
    number: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Which product is asked for. It is looked for when all that was asked is known to be right."""

    merchant: str
    product: str
    service: Service
    caller: Grant
    venue: str

    async def found(self) -> Found:
        """The product. Raises ProblemError: 404 for what is not there, or not the merchant's; 429."""
        self.service.merchant_quotas.take(self.caller.merchant)
        (view,) = await reached(self.service, self.caller, self.venue)
        runners, product = self.service.desk.runners, self.product
        found = await runners.find(self.venue, product)
        number = (await runners.numbers(self.venue, [product])).get(product)
        if found is None or number is None or found[0].merchant != self.merchant:
            raise ProblemError("not_found", f"there is no product {product[:80]!r} of merchant {self.merchant[:80]!r}")
        return Found(self.merchant, product, view, number)


async def asked_for(
    merchant: MerchantName,
    product: ProductName,
    service: Serving,
    caller: Caller,
    venue: Annotated[str, Query(pattern=ID_PATTERN, description="the venue in which it races", examples=["hall-1"])],
) -> Asked:
    """What the path and the query name."""
    return Asked(merchant, product, service, caller, venue)


OneProduct = Annotated[Asked, Depends(asked_for)]


@router.get("/merchants/{merchant}/runners/{product}/history", operation_id="readHistory", response_model=HistoryOut)
@needs("runners:read")
async def read_history(
    asked: OneProduct,
    service: Serving,
    from_ms: Annotated[
        int | None,
        Query(ge=0, le=2**42, description="from this moment on; up to now without", examples=[1763737200000]),
    ] = None,
    every_s: Annotated[
        int,
        AfterValidator(_whole_minutes),
        Query(
            ge=10,
            le=3600,
            description="between two points; of 60 and more whole minutes",
            json_schema_extra={"minimum": 10, "maximum": 3600, "anyOf": [{"maximum": 59}, {"multipleOf": 60}]},
        ),
    ] = 10,
) -> Response:
    """Slot, standing and score of a product: an hour by every_s below 60, else 1,440 points by the minute or more.

    Points are at whole every_s of log time. By boards: of the board that stood then, and off it of the standings, by
    ten seconds in the last hour, else by the minute. Standings are the first 10,000, and those of products whose
    history is kept (`kept_until_ms`), taken within moments after. Null: it was not among them, or none is kept.
    """
    merchant, product, view, number = await asked.found()
    venue, step_ms, now_ms = view.venue.venue, 1000 * every_s, view.frame.at_ms
    by_minutes = step_ms >= MINUTE_MS
    most = POINTS_MAX if by_minutes else HOUR_MS // step_ms + 1
    begin_ms = max(0, now_ms - (most - 1) * step_ms) if from_ms is None else from_ms
    if by_minutes and from_ms is None:
        begin_ms = max(begin_ms, view.venue.created_ms // step_ms * step_ms)
    first_ms, count = _moments(now_ms, begin_ms, step_ms, most)
    moments, told = (first_ms, count, step_ms), list[Point]()
    if count and by_minutes:
        told = await _by_minutes(service, view, number, moments)
    elif count:
        told = await _by_boards(service, view, product, number, moments)
    body = {
        "merchant": merchant,
        "product": product,
        "venue": venue,
        "kept_until_ms": await service.desk.watched.until(venue, merchant, number, now_ms=service.now_ms()),
        "from_ms": first_ms,
        "every_s": every_s,
        "slot": [slot for slot, _, _ in told],
        "standing": [standing for _, standing, _ in told],
        "score": [score for _, _, score in told],
    }
    return Response(_encode(body), headers=PRIVATE, media_type="application/json")


@router.put("/merchants/{merchant}/runners/{product}/history", operation_id="keepHistory")
@needs("runners:read")
async def keep_history(
    asked: OneProduct,
    service: Serving,
    for_s: Annotated[int, Query(ge=60, le=2_592_000, description="from now on; 30 days at most")] = 86_400,
) -> HistoryKept:
    """Keep where a product stands, behind the first 10,000 too, within ten seconds from now on: 100 of a merchant.

    Asked again, it is kept for so long from then. 409 where 100 products of the merchant, or 1,000 of the venue, are
    kept already, or where the deployment keeps no files. Safe to repeat.
    """
    found = await asked.found()
    venue, now_ms = found.view.venue.venue, service.now_ms()
    if service.settings.segments_folder is None:
        raise ConflictError("this deployment keeps no histories: its operators must set SAIMA_SEGMENTS_DIR")
    if service.full is not None:
        raise OverloadedError(service.full)
    until_ms = now_ms + 1000 * for_s
    await service.desk.watched.watch(venue, found.merchant, found.number, until_ms=until_ms, now_ms=now_ms)
    return HistoryKept(merchant=found.merchant, product=found.product, venue=venue, kept_until_ms=until_ms)


@router.delete("/merchants/{merchant}/runners/{product}/history", status_code=204, operation_id="endHistory")
@needs("runners:read")
async def end_history(asked: OneProduct, service: Serving) -> Response:
    """Keep no more of a product than of others from now on. What was kept stays. Safe to repeat."""
    found = await asked.found()
    await service.desk.watched.release(found.view.venue.venue, found.merchant, found.number)
    return Response(status_code=204)
