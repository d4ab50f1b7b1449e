"""Who may ask for what: every route, every kind of caller, exactly as tabled. What is not tabled here is a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api.app import create_app
from api.guard import PUBLIC, GuardedRoute, need_of, needs, routes_of, unguarded
from racing.settings import load_settings
from tests.integration.contract import RULE
from tests.integration.keyed import CLOSED, FOREIGN, OPEN, OTHER, OWN, Keyed

CALLERS = (
    "anonymous",
    "unknown",
    "revoked",
    "expired",
    "events",
    "stock",
    "beacon",
    "slots",
    "metrics",
    "merchant",
    "other merchant",
    "other operator",
    "operator",
    "admin",
)
DEAD = {"unknown": 401, "revoked": 401, "expired": 401}


def row(
    *,
    anonymous: int = 401,
    others: int = 403,
    admin: int = 200,
    dead: int = 401,
    **named: int,
) -> dict[str, int]:
    """The status for each caller: named ones, with _ for a blank, and the rest as others."""
    told = {name.replace("_", " "): status for name, status in named.items()}
    assert told.keys() <= set(CALLERS)
    fixed = {"anonymous": anonymous, "admin": admin, **dict.fromkeys(DEAD, dead), **told}
    return {caller: fixed.get(caller, others) for caller in CALLERS}


EVERYONE = dict.fromkeys(CALLERS, 200)
SWAPPED = {"product": "p-swap", "merchant": "m-own", "title": "To be withdrawn"}
RUNNER = {"product": "p-new", "merchant": "m-own", "title": "New"}
SWAP = {"runner": {"product": FOREIGN, "merchant": "m-foreign", "title": "Foreign"}}
EVERYWHERE = row(operator=200, other_operator=200)
FREEZE = {"kind": "freeze", "id": "hold"}
EVENTS = {"events": [{"type": "click", "product": OWN}]}


@dataclass(frozen=True)
class Line:
    """One line of the table: a route, asked of one venue, and what each caller is answered."""

    method: str
    route: str
    told: dict[str, int]
    venue: str = OPEN
    product: str = OWN
    merchant: str = "m-own"
    body: Any = None
    query: str = ""

    @property
    def path(self) -> str:
        """The path that is asked for."""
        names = {
            "order": "hold",
            "phase": "burst",
            "slot": 1,
            "entry": "1-1",
            "application": "1-a",
            "plan": "rain",
            "version": 1,
            "code": "not_found",
        }
        return (self.route + self.query).format(venue=self.venue, product=self.product, merchant=self.merchant, **names)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


V = "/v1/venues/{venue}"
A = "/v1/merchants/{merchant}"
M = f"{A}/runners"
ADVICE = f"{M}/{{product}}/advice"
OPERATE = row(other_operator=404, operator=200)
TABLE = (
    # -- public by list
    *(Line("GET", path, EVERYONE) for path in ("/healthz", "/readyz", "/problems/{code}", "/v1/rule/schema", "/")),
    *(Line("GET", path, EVERYONE) for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/openapi.json")),
    Line("GET", "/pages/race.css", EVERYONE),
    # -- not confirmed, so that nothing is deleted
    Line("DELETE", V, row(admin=422), query="?confirm=another"),
    # -- an open venue: anyone reads, but with a key that works or with none
    Line("GET", "/v1/venues", row(anonymous=200, others=200)),
    Line("GET", V, row(anonymous=200, others=200)),
    *(Line("GET", f"{V}/{what}", row(anonymous=200, others=200)) for what in ("slots", "live", "changes")),
    *(
        Line("GET", "/v1/slots", row(anonymous=200, others=200), venue=v, query="?venues={venue}")
        for v in (OPEN, CLOSED)
    ),
    # -- a closed one: absent without a key that reads it
    *(
        Line(
            "GET",
            route,
            row(
                anonymous=404,
                slots=200,
                merchant=200,
                other_merchant=200,
                operator=200,
                other_operator=404,
            ),
            venue=CLOSED,
        )
        for route in (V, f"{V}/slots", f"{V}/live", f"{V}/changes")
    ),
    # -- event sources
    Line("POST", f"{V}/events", row(events=202, admin=202), body=EVENTS),
    Line("POST", f"{V}/events", row(events=404, admin=202), venue=OTHER, body=EVENTS),
    # -- pages
    Line("POST", f"{V}/beacons", row(beacon=202, admin=202), body={"batch": "b-1", **EVENTS}),
    Line("POST", f"{V}/beacons", row(beacon=404, admin=202), venue=OTHER, body={"batch": "b-1", **EVENTS}),
    # -- tickets for live streams
    Line(
        "POST",
        f"{V}/tickets",
        row(slots=201, merchant=201, other_merchant=201, operator=201, other_operator=404, admin=201),
        venue=CLOSED,
    ),
    # -- products: a merchant's own, and another's
    Line("GET", f"{V}/runners", row(merchant=200, other_merchant=200, operator=200, other_operator=404)),
    *(
        Line("GET", f"{V}/runners/{{product}}", told, product=product, venue=venue)
        for product, venue, told in (
            (OWN, OPEN, row(merchant=200, other_merchant=404, operator=200, other_operator=404)),
            (FOREIGN, OPEN, row(merchant=404, other_merchant=200, operator=200, other_operator=404)),
            ("p-none", OPEN, row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404)),
            (OWN, OTHER, row(merchant=404, other_merchant=404, operator=404, other_operator=200)),
        )
    ),
    *(
        Line("PATCH", f"{V}/runners/{{product}}", told, product=product, body=body)
        for product, body, told in (
            (OWN, {"stock": 7}, row(stock=200, merchant=200, other_merchant=404, operator=200, other_operator=404)),
            (FOREIGN, {"stock": 7}, row(stock=200, merchant=404, other_merchant=200, operator=200, other_operator=404)),
            (OWN, {"price": 7}, row(stock=403, merchant=403, other_merchant=404, operator=200, other_operator=404)),
            (
                "p-none",
                {"stock": 7},
                row(stock=404, merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404),
            ),
        )
    ),
    # -- merchants: their own, whatever venue it is in; a merchant that is another looks as one that is not
    Line("GET", M, row(merchant=200, other_merchant=404, operator=200, other_operator=200)),
    Line("GET", M, row(merchant=404, other_merchant=404, operator=200, other_operator=200), merchant="m-none"),
    Line("GET", f"{M}/{{product}}", row(merchant=200, other_merchant=404, operator=200, other_operator=200)),
    Line(
        "GET",
        f"{M}/{{product}}",
        row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404),
        product=FOREIGN,
    ),
    Line(
        "POST",
        f"{V}/standings",
        row(merchant=200, other_merchant=200, operator=200, other_operator=404),
        body={"products": [OWN, FOREIGN]},
    ),
    # -- applications
    Line(
        "POST",
        f"{A}/applications",
        row(merchant=201, other_merchant=404, operator=201, other_operator=404, admin=201),
        body={"venue": OPEN, "products": [{"product": "p-new", "title": "New"}]},
    ),
    *(
        Line(method, f"{M}/{{product}}/history", told, venue=venue, merchant=merchant, query="?venue={venue}")
        for method, done in (("GET", 200), ("PUT", 200), ("DELETE", 204))
        for venue, merchant, told in (
            (OPEN, "m-own", row(merchant=done, other_merchant=404, operator=done, other_operator=404, admin=done)),
            (
                OPEN,
                "m-foreign",
                row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404),
            ),
            (OTHER, "m-own", row(merchant=404, other_merchant=404, operator=404, other_operator=done, admin=done)),
        )
    ),
    *(
        Line("GET", f"{A}/alerts", told, venue=venue, merchant=merchant, query="?venue={venue}")
        for venue, merchant, told in (
            (OPEN, "m-own", row(merchant=200, other_merchant=404, operator=200, other_operator=404)),
            (OPEN, "m-none", row(merchant=404, other_merchant=404, operator=200, other_operator=404)),
            (OTHER, "m-own", row(merchant=404, other_merchant=404, operator=404, other_operator=200)),
        )
    ),
    *(
        Line("GET", f"{A}/live", told, venue=venue, merchant=merchant, query=query)
        for query, venue, merchant, told in (
            ("", OPEN, "m-own", row(merchant=200, other_merchant=404, operator=200, other_operator=200)),
            ("?venue={venue}", OPEN, "m-own", row(merchant=200, other_merchant=404, operator=200, other_operator=404)),
            ("?venue={venue}", OTHER, "m-own", row(merchant=404, other_merchant=404, operator=404, other_operator=200)),
        )
    ),
    Line("GET", f"{A}/applications", row(merchant=200, other_merchant=404, operator=200, other_operator=200)),
    Line(
        "GET",
        f"{A}/applications/{{application}}",
        row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404),
    ),
    Line("GET", f"{V}/entry", row(merchant=200, other_merchant=200, operator=200, other_operator=404)),
    Line("PUT", f"{V}/entry", OPERATE, body={"stock_min": 1}),
    Line("GET", f"{V}/rule/words", row(merchant=200, other_merchant=200, operator=200, other_operator=404)),
    Line("GET", f"{V}/applications", OPERATE),
    Line("GET", f"{V}/applications/{{application}}", row(other_operator=404, operator=404, admin=404)),
    Line(
        "POST",
        f"{V}/applications/{{application}}/decision",
        row(other_operator=404, operator=404, admin=404),
        body={"approve": False},
    ),
    # -- operators
    Line("POST", "/v1/venues", row(admin=409), body={"venue": OPEN}),
    Line("POST", f"{V}/runners", row(other_operator=404, operator=201, admin=201), body=RUNNER),
    Line("POST", f"{V}/runners", row(other_operator=404, operator=201, admin=201), body=SWAPPED),
    Line("POST", f"{V}/runners/bulk", row(other_operator=404, operator=201, admin=201), body={"runners": [RUNNER]}),
    Line("GET", f"{V}/rule", OPERATE),
    Line("PUT", f"{V}/rule", OPERATE, venue=CLOSED, body=RULE),
    Line("GET", f"{V}/access", OPERATE),
    Line("POST", f"{V}/rule/preview", OPERATE, body={"rule": RULE}),
    Line("POST", f"{V}/rule/what-if", OPERATE, body={"rule": RULE, "minutes": 1}),
    # -- why a product or a slot is as it is, and what would change it
    Line("GET", f"{V}/slots/{{slot}}/explain", row(merchant=200, other_merchant=200, operator=200, other_operator=404)),
    *(
        Line("GET", route, told, product=product, venue=venue, merchant=merchant, query=query)
        for route, query in ((f"{V}/runners/{{product}}/explain", ""), (ADVICE, "?venue={venue}"))
        for product, venue, merchant, told in (
            (OWN, OPEN, "m-own", row(merchant=200, other_merchant=404, operator=200, other_operator=404)),
            (
                "p-none",
                OPEN,
                "m-own",
                row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404),
            ),
            (OWN, OTHER, "m-own", row(merchant=404, other_merchant=404, operator=404, other_operator=200)),
        )
    ),
    *(
        Line("GET", ADVICE, told, product=product, merchant=merchant, query=f"?venue={OPEN}")
        for product, merchant, told in (
            (FOREIGN, "m-foreign", row(merchant=404, other_merchant=200, operator=200, other_operator=404)),
            (FOREIGN, "m-own", row(merchant=404, other_merchant=404, operator=404, other_operator=404, admin=404)),
        )
    ),
    Line("PUT", f"{V}/access", row(other_operator=200, operator=404), venue=OTHER, body={"slots_public": False}),
    Line("GET", f"{V}/slots", OPERATE, query="?rules=off"),
    # -- the desk: operators of the venue steer it, nobody else sees how
    *(
        Line(method, f"{V}{path}", told, venue=venue, body=body)
        for venue, told in ((OPEN, OPERATE), (OTHER, row(operator=404, other_operator=200)))
        for method, path, body in (
            ("GET", "/orders", None),
            ("POST", "/orders", {"put": [FREEZE]}),
            ("PUT", "/orders/{order}", FREEZE),
            ("GET", "/orders/{order}", None),
            ("PUT", "/pins/{slot}", {"product": OWN}),
            ("POST", "/boosts", {"product": OWN, "factor": 2}),
            ("POST", "/exclusions", {"product": "p-new" if venue == OPEN else OWN, "reason": "recall"}),
            ("PUT", "/freeze", {}),
            ("PUT", "/emergency", {"products": [OWN]}),
            ("PUT", "/phases/{phase}", {"title": "Burst", "rule": RULE, "start": "2036-11-11T00:00:00+08:00"}),
            ("GET", "/phases", None),
            ("GET", "/audit", None),
            ("GET", "/targets", None),
            ("GET", "/stock-alerts", None),
            ("PUT", "/targets", {}),
            ("GET", "/conditions", None),
            ("PUT", "/conditions", {}),
            ("GET", "/state", None),
            ("PUT", "/state", {"state": "open"}),
            ("GET", "/rule/versions", None),
            ("GET", "/rule/versions/{version}", None),
            ("GET", "/rule/diff?from=1", None),
            ("POST", "/rule/restore", {"version": 1}),
            ("PUT", "/plans/{plan}", {"put": [FREEZE]}),
            ("GET", "/plans", None),
            ("GET", "/plans/{plan}", None),
            ("POST", "/plans/{plan}/apply", {}),
            ("GET", "/audit/export", None),
        )
    ),
    # what an operator has withdrawn is not there for an admin to withdraw again
    *(
        Line("DELETE", f"{V}{path}", row(other_operator=404, operator=200, admin=404))
        for path in ("/orders/{order}", "/pins/{slot}", "/freeze", "/emergency", "/phases/{phase}")
    ),
    Line("DELETE", f"{V}/plans/{{plan}}", row(other_operator=404, operator=204, admin=404)),
    Line("POST", f"{V}/plans/{{plan}}/withdraw", row(other_operator=404, operator=409, admin=409), body={}),
    Line("POST", f"{V}/runners/{{product}}/swap", row(other_operator=404, operator=409, admin=409), body=SWAP),
    Line(
        "DELETE",
        f"{V}/runners/{{product}}",
        row(merchant=403, other_merchant=404, operator=200, other_operator=404),
        product="p-swap",
    ),
    Line(
        "POST", f"{V}/runners/{{product}}/restore", row(other_operator=404, operator=200, admin=404), product="p-swap"
    ),
    Line("POST", f"{V}/finalists", row(other_operator=404, operator=409, admin=409), body={}),
    Line("POST", f"{V}/clone", row(admin=409), body={"venue": CLOSED}),
    Line("POST", "/v1/exclusions", EVERYWHERE, body={"merchant": "m-none", "reason": "fraud"}),
    Line("POST", "/v1/exclusions/restore", EVERYWHERE, body={"merchant": "m-none"}),
    Line("POST", "/v1/events", row(events=422, admin=422), body=EVENTS),
    Line("POST", f"{V}/audit/{{entry}}/undo", row(other_operator=404, operator=404, admin=404), body={}),
    # -- machines
    Line("GET", "/metrics", row(metrics=200)),
    Line("GET", "/v1/scorers", row(metrics=200)),
)


def test_every_route_is_tabled() -> None:
    """With each of its methods; a route that is new is a failure here until it is said who may ask for it."""
    app = create_app(load_settings(), "redis://nowhere")
    there = {
        (method, str(route.path))
        for route in routes_of(app)
        for method in getattr(route, "methods", None) or {"GET"}
        if method != "HEAD" and hasattr(route, "path")
    }
    tabled = {(line.method, line.route.replace("{phase}", "{order}").partition("?")[0]) for line in TABLE}
    assert {(method, "/pages/race.css" if path == "/pages" else path) for method, path in there} == tabled


def test_a_route_that_says_nothing_is_named() -> None:
    """Deny by default: neither a plain route nor a guarded one without a need gets into an application."""
    app = FastAPI(openapi_url=None)
    guarded = APIRouter(route_class=GuardedRoute)

    @guarded.get("/said")
    @needs("operate")
    async def said() -> None: ...

    @guarded.get("/unsaid")
    async def unsaid() -> None: ...

    @app.get("/plain")
    @needs("operate")
    async def plain() -> None: ...

    app.include_router(guarded)
    assert sorted(unguarded(app)) == ["/plain", "/unsaid"]
    assert unguarded(create_app(load_settings(), "redis://nowhere")) == []


def test_what_is_public_is_a_short_list() -> None:
    """A change of it is one of what strangers see."""
    app = create_app(load_settings(), "redis://nowhere")
    public = {str(getattr(route, "path", "")) for route in routes_of(app) if need_of(route) is None}
    assert public == PUBLIC
    without = create_app(load_settings(api_docs=False), "redis://nowhere")
    assert {str(getattr(route, "path", "")) for route in routes_of(without) if need_of(route) is None} == {
        "/",
        "/pages",
        "/healthz",
        "/readyz",
        "/problems/{code}",
        "/v1/rule/schema",
    }
    assert all(isinstance(route, GuardedRoute) for route in routes_of(app) if need_of(route) is not None)
    assert all(route.path != "/metrics" or isinstance(route, APIRoute) for route in routes_of(app) if need_of(route))  # type: ignore[attr-defined]  # guarded routes have paths


def status(service: Keyed, caller: str, line: Line) -> int:
    """The status that a caller is answered; of a stream its head, for it has no end."""
    if line.route.endswith("/live"):
        with service.service.http.stream("GET", line.path, headers=service.headers(caller)) as answer:
            return answer.status_code
    return service.ask(caller, line.method, line.path, line.body).status_code


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_each_caller_gets_exactly_what_is_tabled(keyed_service: Keyed, line: Line) -> None:
    found = {caller: status(keyed_service, caller, line) for caller in line.told}
    assert found == line.told


def test_who_may_not_read_a_venue_is_told_that_it_is_missing_among_several(keyed_service: Keyed) -> None:
    """Just as one that is not there."""
    path = f"/v1/slots?venues={OPEN},{CLOSED},hall-none"
    readers = {"slots", "merchant", "other merchant", "operator", "admin"}
    for caller in ("anonymous", "events", "stock", "metrics", "other operator", *sorted(readers)):
        found = keyed_service.ask(caller, "GET", path).json()
        wanted = [OPEN, CLOSED] if caller in readers else [OPEN]
        assert [board["venue"] for board in found["boards"]] == wanted, caller
        assert found["missing"] == [name for name in (CLOSED, "hall-none") if name not in wanted]


def test_a_page_shows_no_more_than_the_board(keyed_service: Keyed) -> None:
    """Details are for who operates the venue, whichever way its slots are read."""
    for query in ("limit=1&fields=score,stock,terms,standing,title", "category=none", "tier=none", "tokens=true"):
        answer = keyed_service.ask("anonymous", "GET", f"/v1/venues/{OPEN}/slots?{query}")
        assert answer.status_code == 200
        assert not {"runners", "told"} & answer.json().keys()
        assert all(not {"score", "stock", "terms", "standing"} & slot.keys() for slot in answer.json()["slots"])


def test_refusals_are_problems_that_say_what_to_do(keyed_service: Keyed) -> None:
    """401 challenges; no answer to a refused key carries anything of the key."""
    for caller in ("anonymous", "unknown", "revoked", "expired"):
        answer = keyed_service.ask(caller, "GET", f"/v1/venues/{OPEN}/rule")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="saima"')
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        if caller != "anonymous":
            assert keyed_service.keys[caller][:14] not in answer.text
    bodies = {
        keyed_service.ask(caller, "GET", f"/v1/venues/{OPEN}/rule").text for caller in ("unknown", "revoked", "expired")
    }
    assert len(bodies) == 1


SHAPES = {
    "short": "saima_0",
    "long": "saima_" + "0" * 500,
    "unicode": "saima_é0000000_" + "0" * 49,
    "wrong checksum": None,
    "another scheme": None,
    "blank": "x",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_no_key_is_answered_like_an_unknown_one(keyed_service: Keyed, shape: str) -> None:
    key = keyed_service.keys["admin"]
    text = SHAPES[shape]
    if shape == "wrong checksum":
        text = key[:-1] + ("a" if key[-1] != "a" else "b")
    header = f"Basic {key}" if text is None else f"Bearer {text}"
    answer = keyed_service.service.http.get(
        f"/v1/venues/{OPEN}/rule", headers={b"Authorization": header.encode("latin-1")}
    )
    assert answer.status_code == 401
    assert answer.text == keyed_service.ask("unknown", "GET", f"/v1/venues/{OPEN}/rule").text


def test_two_keys_at_once_are_refused(keyed_service: Keyed) -> None:
    """Who asks must be one."""
    pair = [("Authorization", f"Bearer {keyed_service.keys[name]}") for name in ("admin", "events")]
    assert keyed_service.service.http.get(f"/v1/venues/{OPEN}/slots", headers=pair).status_code == 401
    body = [("Content-Type", "application/json"), *pair]
    sent = keyed_service.service.http.post(f"/v1/venues/{OPEN}/events", json=EVENTS, headers=body)
    assert sent.status_code == 401


@pytest.mark.parametrize("place", ["query", "cookie"])
def test_a_key_anywhere_but_in_its_header_is_not_looked_at(keyed_service: Keyed, place: str) -> None:
    key = keyed_service.keys["admin"]
    path = f"/v1/venues/{OPEN}/rule"
    if place == "query":
        answer = keyed_service.service.http.get(f"{path}?key={key}&authorization=Bearer%20{key}&access_token={key}")
    else:
        answer = keyed_service.service.http.get(path, headers={"Cookie": f"Authorization={key}"})
    assert answer.status_code == 401


# -- absent-looking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_another_merchants_product_looks_as_one_that_is_not(keyed_service: Keyed, method: str) -> None:
    """Same status, same headers, same body but for the name that was asked."""
    body = {"stock": 1} if method == "PATCH" else None
    there, absent = FOREIGN, "p-nothing"
    assert len(there) == len(absent)
    one = keyed_service.ask("merchant", method, f"/v1/venues/{OPEN}/runners/{there}", body)
    other = keyed_service.ask("merchant", method, f"/v1/venues/{OPEN}/runners/{absent}", body)
    assert one.text.replace(there, absent) == other.text
    assert set(one.headers) == set(other.headers)
    assert one.headers["content-length"] == other.headers["content-length"]


@pytest.mark.parametrize("caller", ["anonymous", "slots", "merchant", "operator"])
@pytest.mark.parametrize("path", ["", "/slots", "/live", "/changes"])
def test_a_venue_out_of_reach_looks_as_one_that_is_not(keyed_service: Keyed, caller: str, path: str) -> None:
    there, absent = OTHER, "hall-nothi"
    assert len(there) == len(absent)
    one = keyed_service.ask(caller, "GET", f"/v1/venues/{there}{path}")
    other = keyed_service.ask(caller, "GET", f"/v1/venues/{absent}{path}")
    assert one.status_code == other.status_code == 404
    assert one.text.replace(there, absent) == other.text
    assert set(one.headers) == set(other.headers)


def test_lists_show_only_what_is_for_the_caller(keyed_service: Keyed) -> None:
    def names(caller: str) -> list[str]:
        found = keyed_service.ask(caller, "GET", "/v1/venues").json()["venues"]
        return [each["venue"] for each in found]

    assert names("anonymous") == names("events") == [OPEN]
    assert names("slots") == names("operator") == [CLOSED, OPEN]
    assert names("other operator") == [OPEN, OTHER]
    assert names("admin") == [CLOSED, OPEN, OTHER]
    own = keyed_service.ask("merchant", "GET", f"/v1/venues/{CLOSED}/runners").json()["runners"]
    assert [each["product"] for each in own] == [OWN]
    ready = keyed_service.ask("anonymous", "GET", "/readyz").json()["venues"]
    assert [each["venue"] for each in ready] == [OPEN]
