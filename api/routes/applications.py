"""Applications (报名): merchants propose products for a venue, operators let them in or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query

from api.errors import ProblemError
from api.guard import Caller, GuardedRoute, needs
from api.routes.merchants import MerchantName, OneVenue, reached
from api.schemas.applications import (
    ApplicationDetail,
    ApplicationIn,
    ApplicationList,
    ApplicationOut,
    DecisionIn,
    RuleInWords,
    WordsOut,
)
from api.service import Service, Serving, Viewed, no_venue
from racing.entries import Runner
from racing.entry_check import Check, EntryConditions, checks
from racing.errors import ConflictError, OverloadedError
from racing.model import ID_PATTERN
from racing.orders import Phase
from racing.rule_words import Language, in_words
from racing.store.applications import Application, State

router = APIRouter(prefix="/v1", tags=["applications"], route_class=GuardedRoute)

ApplicationName = Annotated[
    str,
    Path(
        description="id of the application",
        examples=["1763740800123-9f2c1a7b"],
        json_schema_extra={"pattern": ID_PATTERN},
    ),
]
OfState = Annotated[State | None, Query(description="of this state alone")]
Limit = Annotated[int, Query(ge=1, le=200, description="at most this many")]
Cursor = Annotated[str | None, Query(pattern=ID_PATTERN, description="next_cursor of the page before")]
_TOLD_MAX = 5


def _page(found: Sequence[Application], state: State | None, limit: int, cursor: str | None) -> ApplicationList:
    """A page of applications, the newest first."""
    of_state = (each for each in found if state is None or each.state == state)
    rest = sorted((each for each in of_state if cursor is None or each.id < cursor), key=lambda each: each.id)[::-1]
    page = [ApplicationOut.of(each) for each in rest[:limit]]
    return ApplicationList(applications=page, next_cursor=page[-1].application if len(rest) > limit else None)


async def _checked(service: Service, venue: str, products: Sequence[Runner]) -> list[tuple[Runner, list[Check]]]:
    conditions = await service.applications.conditions(venue)
    return [(runner, checks(conditions, runner)) for runner in products]


def _absent(name: str) -> ProblemError:
    """The one answer for an application that is not, or not for this key."""
    return ProblemError("not_found", f"there is no application {name[:80]!r}")


# -- merchants ------------------------------------------------------------------------------------------------


@router.post("/merchants/{merchant}/applications", status_code=201, operation_id="apply")
@needs("apply")
async def apply(merchant: MerchantName, sent: ApplicationIn, service: Serving, caller: Caller) -> ApplicationDetail:
    """Apply for a venue with up to 1,000 products; each is held against the venue's conditions, as the answer tells.

    Products that fail may be let in all the same: operators decide.
    """
    service.merchant_quotas.take(caller.merchant)
    view = await service.frames.view(sent.venue)
    if view is None or not caller.reaches(sent.venue):
        raise no_venue(sent.venue)
    if service.full is not None:
        raise OverloadedError(service.full)
    found = await _checked(service, sent.venue, [each.runner(merchant) for each in sent.products])
    passed = sum(all(check.passed for check in told) for _, told in found)
    made = await service.applications.add(sent.venue, merchant, [runner for runner, _ in found], passed=passed)
    return ApplicationDetail.of(made, found)


@router.get("/merchants/{merchant}/applications", operation_id="listOwnApplications")
@needs("apply")
async def list_own_applications(  # each is a part of the request
    merchant: MerchantName,
    service: Serving,
    caller: Caller,
    *,
    venue: OneVenue = None,
    state: OfState = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ApplicationList:
    """A merchant's applications in all venues that the key reaches, the newest first, a page at a time."""
    service.merchant_quotas.take(caller.merchant)
    views = await reached(service, caller, venue)
    found = [each for view in views for each in await service.applications.all(view.venue.venue)]
    return _page([each for each in found if each.merchant == merchant], state, limit, cursor)


@router.get("/merchants/{merchant}/applications/{application}", operation_id="readOwnApplication")
@needs("apply")
async def read_own_application(
    merchant: MerchantName, application: ApplicationName, service: Serving, caller: Caller
) -> ApplicationDetail:
    """One application with its products, and each condition passed or failed as things stand now."""
    service.merchant_quotas.take(caller.merchant)
    for view in await reached(service, caller, None):
        found = await service.applications.read(view.venue.venue, application)
        if found is not None and found[0].merchant == merchant:
            return ApplicationDetail.of(found[0], await _checked(service, view.venue.venue, found[1]))
    raise _absent(application)


# -- what is asked for ----------------------------------------------------------------------------------------


@router.get("/venues/{venue}/entry", operation_id="readEntry", response_model_exclude_none=True)
@needs("runners:read")
async def read_entry(view: Viewed, service: Serving) -> EntryConditions:
    """The conditions that products which apply are held against; one that is absent is not asked for."""
    return await service.applications.conditions(view.venue.venue)


@router.put("/venues/{venue}/entry", operation_id="putEntry", response_model_exclude_none=True)
@needs("operate")
async def put_entry(view: Viewed, conditions: EntryConditions, service: Serving) -> EntryConditions:
    """Make these the conditions. Applications that wait are held against them from now on."""
    await service.applications.put_conditions(view.venue.venue, conditions)
    return conditions


@router.get("/venues/{venue}/rule/words", operation_id="readRuleWords")
@needs("runners:read")
async def read_rule_words(
    view: Viewed, service: Serving, lang: Annotated[Language, Query(description="language")] = "zh"
) -> WordsOut:
    """The rule in force, and that of the next phase, in words."""
    book, now_ms = await service.orders.read(view.venue.venue), service.now_ms()
    phases = [order for order in book.orders.values() if isinstance(order, Phase) and order.active]
    present = next((phase for phase in phases if phase.id == view.frame.phase), None)
    coming = min((p for p in phases if (p.start_ms or 0) > now_ms), key=lambda p: p.start_ms or 0, default=None)
    following = None
    if coming is not None:
        sentences = in_words(coming.parsed(), lang)
        following = RuleInWords(title=coming.title, starts_ms=coming.start_ms, sentences=sentences)
    now = RuleInWords(title=present.title if present else "", sentences=in_words(view.rule, lang))
    return WordsOut(venue=view.venue.venue, language=lang, rule_version=view.rule_version, now=now, next=following)


# -- operators ------------------------------------------------------------------------------------------------


@router.get("/venues/{venue}/applications", operation_id="listApplications")
@needs("operate")
async def list_applications(
    view: Viewed, service: Serving, *, state: OfState = None, limit: Limit = 100, cursor: Cursor = None
) -> ApplicationList:
    """The applications for a venue, the newest first, a page at a time."""
    return _page(await service.applications.all(view.venue.venue), state, limit, cursor)


@router.get("/venues/{venue}/applications/{application}", operation_id="readApplication")
@needs("operate")
async def read_application(view: Viewed, application: ApplicationName, service: Serving) -> ApplicationDetail:
    """One application with its products, and each condition passed or failed as things stand now."""
    found = await service.applications.read(view.venue.venue, application)
    if found is None:
        raise _absent(application)
    return ApplicationDetail.of(found[0], await _checked(service, view.venue.venue, found[1]))


@router.post("/venues/{venue}/applications/{application}/decision", operation_id="decideApplication")
@needs("operate")
async def decide_application(
    view: Viewed, application: ApplicationName, decision: DecisionIn, service: Serving, caller: Caller
) -> ApplicationDetail:
    """Approve an application, which enrols its products, or refuse it. 409 if it has been decided otherwise.

    Safe to repeat: after 503 send the same again. A product that races for another merchant is never taken over: 409.
    """
    venue = view.venue.venue
    found = await service.applications.read(venue, application)
    if found is None:
        raise _absent(application)
    kept, products = found
    told = await _checked(service, venue, products)
    wanted: State = "approved" if decision.approve else "refused"
    if kept.state == "waiting":
        chosen = _chosen(decision, told) if decision.approve else []
        await _refuse_others(service, kept, [runner.product for runner in chosen])
        after = msgspec.structs.replace(
            kept,
            state=wanted,
            note=decision.note,
            decided_by=caller.name,
            decided_ms=service.now_ms(),
            approved=tuple(runner.product for runner in chosen),
        )
        kept = await service.applications.change(kept, after)
    elif kept.state != wanted:
        raise ConflictError(f"application {kept.id} is {kept.state} already")
    if kept.state == "approved" and not kept.enrolled:
        kept = await _enrol(service, kept, products, caller.name)
    return ApplicationDetail.of(kept, told)


def _chosen(decision: DecisionIn, told: Sequence[tuple[Runner, list[Check]]]) -> list[Runner]:
    """The products that are approved. Raises ProblemError where that are none, or some that did not apply."""
    if decision.products is None:
        chosen = [runner for runner, found in told if all(check.passed for check in found)]
        if not chosen:
            raise ProblemError("invalid", "products: none meets every condition: name those to let in all the same")
        return chosen
    applied = {runner.product: runner for runner, _ in told}
    strangers = [name for name in decision.products if name not in applied]
    if strangers:
        raise ProblemError("invalid", f"products: {_some(strangers)} did not apply")
    return [applied[name] for name in dict.fromkeys(decision.products)]


async def _refuse_others(service: Service, kept: Application, products: Sequence[str]) -> None:
    """Raise ConflictError where one of these products races for another merchant."""
    owners = await service.applications.owners(kept.venue, products)
    taken = [product for product, owner in owners.items() if owner != kept.merchant]
    if taken:
        raise ConflictError(f"{_some(taken)} race in venue {kept.venue} for another merchant: leave them out")


async def _enrol(service: Service, kept: Application, products: Sequence[Runner], author: str) -> Application:
    """Enrol what was approved, and note that it was done."""
    if service.full is not None:
        raise OverloadedError(service.full)
    chosen = set(kept.approved)
    await service.desk.runners.enrol(kept.venue, [each for each in products if each.product in chosen], author=author)
    return await service.applications.change(kept, msgspec.structs.replace(kept, enrolled=True))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD_MAX} more" if len(names) > _TOLD_MAX else ""
    return ", ".join(repr(name) for name in names[:_TOLD_MAX]) + more
