"""Who may call which route: each says what it needs, and one that says nothing is closed.

``needs`` marks a route's function, ``GuardedRoute`` asks before anything of the request is read, and ``unguarded``
names what is neither marked nor public by list, so that no application with such a route starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from starlette.routing import BaseRoute

from api.bodies import StrictRoute
from api.errors import ProblemError
from api.grants import EVERYTHING, NOTHING, Grant, needs_key, wrong_key
from api.service import Service, no_venue
from api.tickets import redeem
from api.view import VenueView
from racing.apikeys import Need
from racing.documents import shown
from racing.lifecycle import SHOWN

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_MARK = "__saima_needs__"
_TICKETS = "__saima_tickets__"

PUBLIC = frozenset(
    {
        "/",
        "/docs",
        "/docs/oauth2-redirect",
        "/healthz",
        "/openapi.json",
        "/pages",
        "/problems/{code}",
        "/readyz",
        "/redoc",
        "/v1/rule/schema",
    }
)
"""Paths that anyone may ask for: they carry nothing of a venue but, in /readyz, how fresh the open ones are."""

_READS: frozenset[Need] = frozenset({"slots:read", "live:read"})
"""What readers of a venue ask for."""

SCHEME = "key"
_SECURITY: dict[bool, list[dict[str, list[str]]]] = {True: [{}, {SCHEME: []}], False: [{SCHEME: []}]}
"""By whether a call without a key may be answered."""


def needs(need: Need, *, tickets: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Mark a route's function with what it needs of a key. tickets: a ticket in its address may stand for one."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _MARK, need)
        setattr(endpoint, _TICKETS, tickets)
        return endpoint

    return mark


def need_of(route: BaseRoute) -> Need | None:
    """What a route needs; None where it does not say."""
    need: Need | None = getattr(getattr(route, "endpoint", None), _MARK, None)
    return need


def routes_of(app: FastAPI | APIRouter) -> Iterator[BaseRoute]:
    """Every route of an application, those of included routers too."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        yield from (route,) if included is None else routes_of(included)


def unguarded(app: FastAPI) -> list[str]:
    """Paths of routes that are neither public by list nor guarded."""
    return [
        path
        for route in routes_of(app)
        if (path := str(getattr(route, "path", route))) not in PUBLIC
        and not (isinstance(route, GuardedRoute) and need_of(route) is not None)
    ]


class GuardedRoute(StrictRoute):
    """A route that is asked only by those who may; its body is not read before that is known."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        need = getattr(endpoint, _MARK, None)
        if path not in PUBLIC:
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = {**extra, "security": _SECURITY[need == "slots:read"]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind its guard."""
        handle = super().get_route_handler()
        if self.path in PUBLIC:
            return handle
        elsewhere = (params.Path, params.Header, params.Cookie)
        known = [each.alias for each in get_flat_params(self.dependant) if not isinstance(each.field_info, elsewhere)]

        async def guarded(request: Request) -> Response:
            request.scope["saima.grant"] = await self._admitted(request)
            _no_others(request, known)
            return await handle(request)

        return guarded

    async def _admitted(self, request: Request) -> Grant:
        if getattr(self.endpoint, _TICKETS, False) and "ticket" in request.query_params:
            return await admit_ticket(request)
        return await admit(request, need_of(self), await self.keys_of(request))

    async def keys_of(self, request: Request) -> list[str]:
        """What the request brings as Authorization."""
        return request.headers.getlist("authorization")


def _no_others(request: Request, known: Sequence[str]) -> None:
    """Raises ProblemError where the query has other parameters: a misspelt one would pass for none."""
    wrong = [(name, value) for name, value in request.query_params.multi_items() if name not in known]
    if wrong:
        right = f"no such parameter; there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none here'}"
        errors = [(f"query.{name}", right, shown(value)) for name, value in wrong]
        raise ProblemError("invalid", f"{errors[0][0]}: {right}", errors=errors)


async def admit(request: Request, need: Need | None, keys: list[str]) -> Grant:
    """What the caller of a route may do who brings these keys, of which there must be one at most.

    Raises ProblemError: 401 without a key that works, 403 for one that does not grant this, 404 for what is out of its
    scope (as if it were not there), 429 beyond its quota. StoreUnavailableError while the keys were never read.
    """
    service: Service = request.app.state.service
    if service.settings.keys == "off":
        return EVERYTHING
    venue = request.path_params.get("venue")
    if not keys:
        return await _without_key(service, need, venue)
    if len(keys) > 1:
        raise wrong_key()
    grant = await service.grants_in_force().find(keys[0].encode("latin-1", "replace"))
    _within_quota(request, grant)
    if need == "slots:read" and (venue is None or await is_open(service, venue)):
        return grant
    _granted(grant, need, venue)
    if venue is not None and need in _READS and "operate" not in grant.needs and await is_hidden(service, venue):
        raise no_venue(venue)
    merchant = request.path_params.get("merchant")
    if merchant is not None and grant.merchant is not None and merchant != grant.merchant:
        raise no_merchant(merchant)
    if grant.origins and request.headers.get("origin") not in grant.origins:
        raise ProblemError("forbidden", "this key is for the pages of its own origins: Origin names none of them")
    return grant


def _granted(grant: Grant, need: Need | None, venue: str | None) -> None:
    if need is None or need not in grant.needs:
        raise ProblemError("forbidden", f"the key {grant.name!r} does not grant this: it needs {need or 'another'}")
    if venue is not None and not grant.reaches(venue):
        raise no_venue(venue)


def needs_more(grant: Grant, need: Need, venue: str) -> None:
    """Refuse a call that asks for more than its route needs to who may not, as a route with this need would."""
    if grant is NOTHING:
        raise needs_key()
    _granted(grant, need, venue)


async def admit_ticket(request: Request) -> Grant:
    """What the one may do who comes with a ticket in place of a key. It is used up.

    Raises ProblemError: 401 for one that does not work, whether it is used, expired or of another venue.
    """
    if request.headers.getlist("authorization"):
        raise wrong_key("send a key or a ticket, not both")
    grant = await redeem(request.app.state.service, request.query_params["ticket"], request.path_params["venue"])
    if grant is None:
        raise wrong_key("this ticket does not work: it is used, expired, of a revoked key, or of another venue")
    return grant


async def _without_key(service: Service, need: Need | None, venue: str | None) -> Grant:
    if need != "slots:read":
        raise needs_key()
    if venue is not None and not await is_open(service, venue):
        raise no_venue(venue)
    return NOTHING


async def is_open(service: Service, venue: str) -> bool:
    """Whether anyone may read a venue's slots. One that is closed takes as long to find out as one that is not."""
    if venue not in service.frames.open_views:
        await service.frames.look_again(venue)
    return venue in service.frames.open_views


async def is_hidden(service: Service, venue: str) -> bool:
    """Whether a venue is a draft, a rehearsal or archived: no reader sees it but its operators."""
    view = await service.frames.view(venue)
    return view is not None and view.venue.state not in SHOWN


def _within_quota(request: Request, grant: Grant) -> None:
    bucket = grant.bucket
    within = bucket.take(time.monotonic())
    if bucket.policy:
        told = {"RateLimit-Policy": bucket.policy, "RateLimit": bucket.told()}
        request.scope.setdefault("state", {})["told"] = told
    if not within:
        raise ProblemError(
            "too_many_requests",
            f"more requests than the quota of the key {grant.name!r}: {bucket.policy}",
            headers={"Retry-After": str(bucket.retry_after_s())},
        )


def no_merchant(merchant: str) -> ProblemError:
    """The answer for a merchant that is another, or none."""
    return ProblemError("not_found", f"there is no merchant {merchant[:80]!r}")


async def grant_of(request: Request) -> Grant:
    """What the caller of this request may do."""
    grant: Grant = request.scope["saima.grant"]
    return grant


Caller = Annotated[Grant, Depends(grant_of)]


def shows_details(view: VenueView, grant: Grant) -> bool:
    """Whether scores, signals and counts of a venue are for this caller."""
    return view.public_details or grant.sees_details(view.venue.venue)
