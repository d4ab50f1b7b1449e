"""Merchants: where their products stand, and why. Another merchant's products look absent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Response

from api.csv_rows import CSV, as_csv
from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs, no_merchant
from api.merchant_detail import Asked, looked_at
from api.merchants import FrameRef, Row, told_of
from api.routes.runners import ProductName
from api.schemas.fields import BULK_MAX
from api.schemas.merchants import BulkOut, ProductOut, ProductsIn, StandingsOut
from api.service import Service, Serving, Viewed, no_venue
from api.view import VenueView
from racing.entries import Runner
from racing.model import ID_PATTERN
from racing.store.abreast import abreast
from racing.store.standings import OWNED_MAX

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=GuardedRoute)

_PathMerchant = Annotated[
    str, Path(description="id of the merchant", examples=["m-7"], json_schema_extra={"pattern": ID_PATTERN})
]


async def merchant_of(merchant: _PathMerchant) -> str:
    """The merchant in the path. Raises ProblemError (404) for what can be none."""
    if not re.fullmatch(ID_PATTERN.removesuffix("$"), merchant):
        raise no_merchant(merchant)
    return merchant


MerchantName = Annotated[str, Depends(merchant_of)]
OneVenue = Annotated[str | None, Query(pattern=ID_PATTERN, description="of this venue alone", examples=["hall-1"])]
Format = Annotated[Literal["json", "csv"] | None, Query(description="of the answer; by Accept where absent, else JSON")]
Sort = Literal["standing", "enrolment"]
Key = tuple[float, str, int]
PRIVATE = {"Cache-Control": "private, no-store"}
"""Headers of an answer that no cache may keep."""
_encode = msgspec.json.Encoder().encode
_decode_cursor = msgspec.json.Decoder(tuple[float | None, str, int]).decode


def csv_too(example: str) -> dict[int | str, dict[str, Any]]:
    """The 200 of an answer that comes as CSV too."""
    return {200: {"content": {CSV: {"schema": {"type": "string"}, "example": example}}}}


_CSV_EXAMPLE = "venue,product,slot,standing,score\r\nhall-1,p-1001,8,8,12.31\r\n"


def answered(body: dict[str, Any], rows: list[Row], wanted: str | None, accept: str | None) -> Response:
    """Rows as CSV where that is asked for, else the whole body as JSON; never to be kept by a shared cache."""
    if wanted == "csv" or (wanted is None and accept is not None and CSV in accept):
        return Response(as_csv(rows), headers=PRIVATE, media_type=f"{CSV}; charset=utf-8")
    return Response(_encode(body), headers=PRIVATE, media_type="application/json")


async def reached(service: Service, caller: Grant, venue: str | None) -> list[VenueView]:
    """The venues that a caller reaches, or the one that is named. Raises ProblemError (404) for one out of reach."""
    if venue is not None:
        view = await service.frames.view(venue)
        if view is None or not caller.reaches(venue):
            raise no_venue(venue)
        return [view]
    await service.frames.list_again()
    return [view for name, view in sorted(service.frames.views.items()) if caller.reaches(name)]


@router.get(
    "/merchants/{merchant}/runners",
    operation_id="listStandings",
    response_model=StandingsOut,
    responses=csv_too(_CSV_EXAMPLE),
)
@needs("runners:read")
async def list_standings(  # each is a part of the request
    merchant: MerchantName,
    service: Serving,
    caller: Caller,
    *,
    venue: OneVenue = None,
    sort: Annotated[Sort, Query(description="best first, or in order of venue and enrolment")] = "standing",
    limit: Annotated[int, Query(ge=1, le=BULK_MAX, description="at most this many")] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="next_cursor of the page before")] = None,
    format: Format = None,  # noqa: A002  # its name in the address
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """All products of a merchant in all venues that the key reaches: where they stand, and what makes their scores.

    Standings move from page to page; who wants all at one moment asks for up to 1,000 at once.
    """
    service.merchant_quotas.take(caller.merchant)
    views = {view.venue.venue: view for view in await reached(service, caller, venue)}
    after = _after(cursor)
    asked = Page(merchant, sort, after, limit)
    found, last = await (_enrolled if sort == "enrolment" else _owned)(service, views, asked)
    rows, refs = await _rows(service, views, found, sort)
    body = {
        "merchant": merchant,
        "frames": refs,
        "runners": rows,
        "next_cursor": None if last is None else _cursor(last),
    }
    return answered(body, rows, format, accept)


_FIRST: Key = (-inf, "", -1)


class Page(NamedTuple):
    """A page that is asked for."""

    merchant: str
    sort: Sort
    after: Key
    limit: int


class Found(NamedTuple):
    """A merchant's runners in one venue, by number."""

    venue: str
    runners: Mapping[int, Runner]


Cut = tuple[list[Found], Key | None]
"""What goes on a page, and the key of the last where more come after it."""


def _cut(found: Sequence[Found], keys: Iterable[Key], page: Page) -> Cut:
    """The page that is asked for, of these runners, by their keys in the wanted order."""
    beyond = sorted(key for key in keys if key > page.after)
    runners = {each.venue: each.runners for each in found}
    own: dict[str, dict[int, Runner]] = {venue: {} for venue in runners}
    for _, venue, number in beyond[: page.limit]:
        if number in runners[venue]:
            own[venue][number] = runners[venue][number]
    last = beyond[page.limit - 1] if len(beyond) > page.limit else None
    return [Found(venue, each) for venue, each in own.items()], last


async def _enrolled(service: Service, views: Mapping[str, VenueView], page: Page) -> Cut:
    """In order of enrolment, which needs no more than what is shown."""
    _, last, number = page.after
    desk = service.desk

    async def runners(venue: str) -> tuple[Found, list[Key]]:
        """The merchant's runners in one venue, as many as a page may need."""
        beyond = number if venue == last else -1
        numbers = await desk.standings.owned(venue, page.merchant, after=beyond, at_most=page.limit + 1)
        known = await desk.runners.by_number(venue, numbers)
        own = {each: runner for each, runner in known.items() if runner.merchant == page.merchant}
        return Found(venue, own), [(0.0, venue, each) for each in numbers]

    pairs = await abreast(runners, [venue for venue in views if venue >= last])
    return _cut([found for found, _ in pairs], (key for _, keys in pairs for key in keys), page)


async def _owned(service: Service, views: Mapping[str, VenueView], page: Page) -> Cut:
    """By standing. Where all go on one page nobody has to know the places beforehand: the rows will say."""

    async def runners(view: VenueView) -> Found:
        """The merchant's runners in one venue. Raises ProblemError where they are too many to be put in order."""
        venue = view.venue.venue
        own = await service.owned.of(service.desk, venue, page.merchant, view.frame.epoch)
        if len(own) > OWNED_MAX:
            told = f"more than {OWNED_MAX} products in venue {venue!r}: ask with sort=enrolment, a page at a time"
            raise ProblemError("invalid", told)
        return Found(venue, own)

    found = await abreast(runners, views.values())
    if page.after == _FIRST and sum(len(each.runners) for each in found) <= page.limit:
        return found, None
    placed = await abreast(lambda each: _places(service, each), found)
    return _cut(found, (key for keys in placed for key in keys), page)


async def _places(service: Service, found: Found) -> list[Key]:
    """Keys by their places: those that stand nowhere yet come last."""
    places = await service.desk.standings.places(found.venue, list(found.runners))
    pairs = zip(places, found.runners, strict=True)
    return [(inf if place is None else float(place), found.venue, number) for place, number in pairs]


async def _rows(
    service: Service, views: Mapping[str, VenueView], found: Sequence[Found], sort: Sort
) -> tuple[list[Row], list[FrameRef]]:
    """The rows of a page, in its order, and what they are of."""
    tolds = []
    for venue, runners in found:
        if runners:
            boards = await service.moves.of(service.frames.kept, views[venue])
            tolds.append(await told_of(service.desk, views[venue], runners, boards))
    rows = [row for told in tolds for row in told.rows.values()]  # by venue and runner, and stays so where they tie
    if sort == "standing":  # they may have moved since the page was made
        rows.sort(key=lambda row: row.standing or inf)
    return rows, [told.ref for told in tolds]


def _cursor(key: Key) -> str:
    place = None if key[0] == inf else key[0]
    return base64.urlsafe_b64encode(_encode((place, key[1], key[2]))).decode().rstrip("=")


def _after(cursor: str | None) -> Key:
    """The last key of the page before. Raises ProblemError for a cursor that is none."""
    if cursor is None:
        return _FIRST
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        place, venue, number = _decode_cursor(raw)
    except (ValueError, binascii.Error) as exc:  # msgspec's errors are ones
        raise ProblemError(
            "invalid", f"cursor: must be the next_cursor of another answer, not {cursor[:80]!r}"
        ) from exc
    return (inf if place is None else place, venue, number)


@router.post(
    "/venues/{venue}/standings",
    operation_id="lookUpStandings",
    response_model=BulkOut,
    responses=csv_too(_CSV_EXAMPLE),
)
@needs("runners:read")
async def look_up_standings(
    view: Viewed,
    wanted: ProductsIn,
    service: Serving,
    caller: Caller,
    format: Format = None,  # noqa: A002  # its name in the address
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Where up to 1,000 products of one venue stand, as in a merchant's list: a merchant's key sees its own ones."""
    service.merchant_quotas.take(caller.merchant)
    products = list(dict.fromkeys(wanted.products))
    numbers, runners = await _named(service, view, products, caller)
    boards = await service.moves.of(service.frames.kept, view)
    found = await told_of(service.desk, view, runners, boards)
    rows = [row for product in products if (row := found.rows.get(numbers.get(product, -1))) is not None]
    there = {row.product for row in rows}
    absent = [product for product in products if product not in there]
    return answered({"frames": [found.ref], "runners": rows, "absent": absent}, rows, format, accept)


async def _named(
    service: Service, view: VenueView, products: Sequence[str], caller: Grant
) -> tuple[dict[str, int], dict[int, Runner]]:
    """Numbers of those of these products that are there for the caller, and their data."""
    venue = view.venue.venue
    if caller.merchant is not None:
        own = await service.owned.of(service.desk, venue, caller.merchant, view.frame.epoch)
        if len(own) <= OWNED_MAX:
            wanted = set(products)
            runners = {number: runner for number, runner in own.items() if runner.product in wanted}
            return {runner.product: number for number, runner in runners.items()}, runners
    known = await service.owned.named(service.desk, venue, products, view.frame.epoch)
    there = {product: number for product in products if (number := known.numbers.get(product)) is not None}
    runners = {number: known.runners[number] for number in there.values()}
    return there, {number: runner for number, runner in runners.items() if caller.owns(runner.merchant)}


@router.get("/merchants/{merchant}/runners/{product}", operation_id="readStanding", response_model=ProductOut)
@needs("runners:read")
async def read_standing(  # each is a part of the request
    merchant: MerchantName,
    product: ProductName,
    service: Serving,
    caller: Caller,
    *,
    venue: OneVenue = None,
    neighbours: Annotated[int, Query(ge=0, le=10, description="how many on each side")] = 2,
    lead_time_s: Annotated[int, Query(ge=0, le=31_536_000, description="from ordering stock to having it")] = 86_400,
) -> Response:
    """One product in each venue that it races in: why it stands there, who is next to it, and what chance allows."""
    service.merchant_quotas.take(caller.merchant)
    views = await reached(service, caller, venue)
    asked = Asked(merchant, product, neighbours, lead_time_s)
    found = await abreast(lambda view: looked_at(service, view, asked, caller), views)
    there = [each for each in found if each is not None]
    if not there:
        raise ProblemError("not_found", f"there is no product {product[:80]!r} of merchant {merchant[:80]!r}")
    refs, rows = zip(*there, strict=True)
    body = {"merchant": merchant, "product": product, "frames": refs, "venues": rows}
    return Response(_encode(body), headers=PRIVATE, media_type="application/json")
