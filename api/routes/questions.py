"""Questions that followers answer: what a draft would do, why a product stands where it stands, what would move it."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Body, Path, Query, Response

from api.errors import ProblemError
from api.grants import Grant
from api.guard import Caller, GuardedRoute, needs, no_merchant, shows_details
from api.reading import known_segment
from api.routes.live import OfSegment
from api.routes.runners import ProductName, own_runner
from api.schemas.questions import AdviceOut, DraftIn, ExplainOut, PreviewOut, SlotExplainOut, WhatIfIn, WhatIfOut
from api.service import Service, Serving, Viewed, no_venue, view_of
from racing.advice import Target
from racing.inquiries import AskAdvice, AskExplain, AskPreview, AskSlot, AskWhatIf
from racing.model import ID_PATTERN

log = structlog.get_logger("saima.api")

router = APIRouter(prefix="/v1", route_class=GuardedRoute)

_PREVIEW_S = 10.0
_EXPLAIN_S = 10.0
_ADVICE_S = 10.0
_WHAT_IF_S = 60.0

AtMs = Annotated[
    int | None,
    Query(ge=0, le=2**53, description="as it was at this moment, ms of log time; now where left out"),
]
FrameNumber = Annotated[
    int | None, Query(alias="frame", ge=1, le=2**53, description="as it was in this frame; excludes at_ms")
]


def _answer(found: bytes) -> Response:
    return Response(found, media_type="application/json", headers={"Cache-Control": "private, no-store"})


def _one_of(**given: object) -> None:
    """Raise ProblemError where more than one of these is given."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ProblemError("invalid", f"query.{named[0]}: give one of {', '.join(given)}, not {' and '.join(named)}")


@router.post("/venues/{venue}/rule/preview", tags=["operators"], operation_id="previewRule", response_model=PreviewOut)
@needs("operate")
async def preview_rule(
    view: Viewed,
    draft: Annotated[DraftIn, Body(default_factory=DraftIn)],
    service: Serving,
    *,
    hidden: Annotated[bool, Query(description="also who is excluded or sold out")] = False,
    segment: OfSegment = None,
) -> Response:
    """The board that a draft would make right now, beside the present one. Nothing is changed."""
    known_segment(view, segment)
    question = AskPreview(view.venue.venue, draft.draft(), hidden=hidden, segment=segment)
    return _answer(await service.followers().now.ask(question, within_s=_PREVIEW_S))


@router.post("/venues/{venue}/rule/what-if", tags=["operators"], operation_id="whatIfRule", response_model=WhatIfOut)
@needs("operate")
async def what_if_rule(view: Viewed, asked: WhatIfIn, service: Serving) -> Response:
    """The last minutes under a draft, beside what was served: the same events, so not what shoppers would have done."""
    question = AskWhatIf(view.venue.venue, asked.draft(), asked.minutes, asked.every_s or 0)
    return _answer(await service.followers().past.ask(question, within_s=_WHAT_IF_S))


@router.get(
    "/venues/{venue}/runners/{product}/explain",
    tags=["merchants"],
    operation_id="explainRunner",
    response_model=ExplainOut,
)
@needs("runners:read")
async def explain_runner(
    view: Viewed,
    product: ProductName,
    service: Serving,
    caller: Caller,
    *,
    at_ms: AtMs = None,
    frame: FrameNumber = None,
    segment: OfSegment = None,
) -> Response:
    """Why a product stands where it stands, or stood: its counts, each term, each step of the board that moved it."""
    _one_of(at_ms=at_ms, frame=frame)
    known_segment(view, segment)
    await own_runner(service, view, product, caller)
    followers = service.followers()
    follower = followers.now if at_ms is None and frame is None else followers.past
    question = AskExplain(view.venue.venue, product, at_ms, frame, segment)
    return _answer(await follower.ask(question, within_s=_EXPLAIN_S))


@router.get(
    "/venues/{venue}/slots/{slot}/explain",
    tags=["merchants"],
    operation_id="explainSlot",
    response_model=SlotExplainOut,
)
@needs("runners:read")
async def explain_slot(
    view: Viewed,
    slot: Annotated[int, Path(ge=1, le=1000, description="slot of the board, from 1", examples=[1])],
    service: Serving,
    caller: Caller,
    *,
    at_ms: AtMs = None,
    frame: FrameNumber = None,
    segment: OfSegment = None,
) -> Response:
    """Who holds a slot, or held it, and why. A merchant is told of others no more than everyone is."""
    _one_of(at_ms=at_ms, frame=frame)
    known_segment(view, segment)
    question = AskSlot(view.venue.venue, slot, at_ms, frame, segment)
    found = await service.followers().past.ask(question, within_s=_EXPLAIN_S)
    if shows_details(view, caller):
        return _answer(found)
    document = msgspec.json.decode(found)
    if not await _owns(service, view.venue.venue, document["held"]["product"], caller):
        document["explained"] = None
        document["held"] = {name: document["held"][name] for name in ("slot", "runner", "product")}
    return _answer(msgspec.json.encode(document))


async def _owns(service: Service, venue: str, product: str, caller: Grant) -> bool:
    found = await service.desk.runners.find(venue, product)
    return found is not None and caller.owns(found[0].merchant)


@router.get(
    "/merchants/{merchant}/runners/{product}/advice",
    tags=["merchants"],
    operation_id="adviseRunner",
    response_model=AdviceOut,
)
@needs("runners:read")
async def advise_runner(
    merchant: Annotated[
        str, Path(description="id of the merchant", examples=["m-7"], json_schema_extra={"pattern": ID_PATTERN})
    ],
    product: ProductName,
    service: Serving,
    caller: Caller,
    *,
    venue: Annotated[str, Query(pattern=ID_PATTERN, description="the venue in which it races", examples=["hall-1"])],
    slot: Annotated[int | None, Query(ge=1, le=1000, description="a slot to reach")] = None,
    standing: Annotated[int | None, Query(ge=1, le=2**31, description="a standing to reach")] = None,
) -> Response:
    """What would take a product to a slot, to a standing, or, with neither, to the next place.

    The venue says how exactly merchants are told; operators are told exactly.
    """
    _one_of(slot=slot, standing=standing)
    if not caller.reaches(venue):
        raise no_venue(venue)
    view = await view_of(venue, service)
    runner, _ = await own_runner(service, view, product, caller)
    if runner.merchant != merchant:
        raise no_merchant(merchant)
    mode = "exact" if "operate" in caller.needs else view.venue.access.advice
    if mode == "off":
        raise ProblemError("forbidden", f"venue {venue!r} gives no advice")
    wait_s = service.advice.take((caller.id or caller.name, venue, product), time.monotonic())
    if wait_s:
        raise ProblemError(
            "too_many_requests",
            f"advice on a product is given {service.advice.words} to a key",
            headers={"Retry-After": str(wait_s)},
        )
    log.info("advice", venue=venue, product=product, merchant=merchant, key=caller.name, mode=mode)
    question = AskAdvice(venue, product, Target(slot, standing), runner.price, mode)
    return _answer(await service.followers().now.ask(question, within_s=_ADVICE_S))
