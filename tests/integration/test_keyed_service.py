"""What keys carry besides access: quotas, beacons, tickets, who changed what, and what strangers are not told."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from api.frames import Frames
from api.grants import Grants
from api.service import Service
from api.tickets import redeem
from racing.settings import load_settings
from racing.store import keyring
from racing.store.client import connect_async
from racing.store.desk import Desk
from racing.store.keys import VENUES
from racing.store.keys import ticket as ticket_name
from tests.integration.contract import RULE
from tests.integration.keyed import CLOSED, OPEN, ORIGIN, OTHER, OWN, Keyed
from tests.waiting import until

EVENTS = f"/v1/venues/{OPEN}/events"
BEACONS = f"/v1/venues/{OPEN}/beacons"


def click(product: str = OWN, **more: Any) -> dict[str, Any]:
    return {"type": "click", "product": product, **more}


# -- quotas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"/v1/venues/{OPEN}/slots", f"/v1/venues/{CLOSED}/slots", "/v1/venues"])
def test_requests_beyond_the_quota_wait_and_are_told_how_long(keyed_service: Keyed, path: str) -> None:
    """By the fast path as by the plain ones; the answer is a problem, and the next second there is room again."""
    name = f"quota {path}"
    keyed_service.make(name, "slots:read", requests_per_s=2)
    answers = [keyed_service.ask(name, "GET", path) for _ in range(200)]
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(passed) + len(refused) == 200
    assert len(passed) <= 2 + 2 * sum(answer.elapsed.total_seconds() for answer in answers) + 1
    assert refused
    assert passed[0].headers["ratelimit"] == '"key";r=1;t=1'
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"key";q=2;w=1'
    for answer in refused:
        assert answer.headers["ratelimit"] == '"key";r=0;t=1'
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "too_many_requests"
    until(lambda: keyed_service.ask(name, "GET", path).status_code == 200, within_s=3, what="the quota is whole again")


def test_a_quota_is_of_one_key(keyed_service: Keyed) -> None:
    """Whoever exceeds theirs takes nothing from others, and strangers have none."""
    keyed_service.make("greedy", "slots:read", requests_per_s=1)
    path = f"/v1/venues/{OPEN}/slots"
    assert {keyed_service.ask("greedy", "GET", path).status_code for _ in range(10)} == {200, 429}
    other = keyed_service.ask("slots", "GET", path)
    assert (other.status_code, other.headers["ratelimit-policy"]) == (200, '"key";q=10000;w=1')
    assert "ratelimit" not in keyed_service.ask("anonymous", "GET", path).headers


# -- pages of other sites -------------------------------------------------------------------------------------


def test_browsers_are_told_which_pages_may_send(keyed_service: Keyed) -> None:
    """A beacon's origins are known without a setting; others get no leave."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    yes = keyed_service.service.http.options(BEACONS, headers={**asked, "Origin": ORIGIN})
    assert (yes.status_code, yes.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "access-control-allow-credentials" not in yes.headers
    no = keyed_service.service.http.options(BEACONS, headers={**asked, "Origin": "https://evil.example"})
    assert no.status_code == 400
    assert no.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in no.headers
    sent = keyed_service.ask("beacon", "POST", BEACONS, {"batch": "b-1", "events": [click()]})
    assert sent.headers["access-control-allow-origin"] == ORIGIN


# -- tickets --------------------------------------------------------------------------------------------------


async def opened(keyed_service: Keyed, ticket: str, venue: str) -> str | None:
    """The name of the key for which a ticket opens a venue, asked as a live stream would."""
    client = connect_async(keyed_service.service.server.url)
    grants, nobody = Grants(client, 0), cast("Frames", None)
    await grants.refresh()
    grant = await redeem(Service(load_settings(), Desk(client), nobody, grants), ticket, venue)
    await client.aclose()
    return None if grant is None else grant.name


async def test_a_ticket_opens_its_venue_once(keyed_service: Keyed) -> None:
    issued = keyed_service.ask("merchant", "POST", f"/v1/venues/{CLOSED}/tickets")
    assert issued.headers["cache-control"] == "no-store"
    ticket = issued.json()["ticket"]
    assert await opened(keyed_service, ticket, CLOSED) == "merchant"
    assert await opened(keyed_service, ticket, CLOSED) is None


async def test_a_ticket_opens_nothing_else(keyed_service: Keyed) -> None:
    """Another venue, a ticket that is none, or the ticket of a key that was revoked since."""
    keyed_service.make("gone", "slots:read")
    tickets = {
        name: keyed_service.ask(name, "POST", f"/v1/venues/{CLOSED}/tickets").json()["ticket"]
        for name in ("slots", "gone")
    }
    keyring.revoke(keyed_service.service.redis, "gone", who="test", now_ms=1)
    assert await opened(keyed_service, tickets["gone"], CLOSED) is None
    assert await opened(keyed_service, tickets["slots"], OPEN) is None
    for other in ("", "x" * 65, "é" * 43, keyed_service.keys["admin"]):
        assert await opened(keyed_service, other, CLOSED) is None


def test_a_ticket_is_kept_as_its_digest_and_for_a_minute(keyed_service: Keyed) -> None:
    ticket = keyed_service.ask("slots", "POST", f"/v1/venues/{CLOSED}/tickets").json()["ticket"]
    redis: Any = keyed_service.service.redis
    names = list(redis.scan_iter(match=ticket_name("*"), count=1000))
    assert names
    assert all(0 < redis.ttl(name) <= 60 for name in names)
    assert ticket.encode() not in b"".join(names)


# -- what strangers are not told ------------------------------------------------------------------------------

DETAILS = ("score", "terms", "stock", "counts", "contribution", "runners", "weight")


def public_answers(keyed_service: Keyed) -> dict[str, str]:
    """Everything that anyone may ask about a venue, and the pages."""
    paths = (
        f"/v1/venues/{OPEN}/slots",
        f"/v1/venues/{OPEN}/slots?limit=1",
        f"/v1/venues/{OPEN}",
        "/v1/venues",
        "/readyz",
    )
    return {path: keyed_service.ask("anonymous", "GET", path).text for path in paths}


def carried(document: Any) -> set[str]:
    """Names of fields that carry something, at any depth."""
    if isinstance(document, dict):
        return {name for name, value in document.items() if value is not None}.union(*map(carried, document.values()))
    return set().union(*map(carried, document)) if isinstance(document, list) else set()


def test_strangers_see_the_order_and_no_number_behind_it(keyed_service: Keyed) -> None:
    """Until the venue says otherwise, and again when it takes that back."""
    keyed_service.ask("events", "POST", EVENTS, {"events": [click()]})
    until(lambda: keyed_service.service.slots(OPEN).json()["slots"], within_s=10, what="there is a board")
    for path, text in public_answers(keyed_service).items():
        assert carried(json.loads(text)).isdisjoint(DETAILS), path
    path = f"/v1/venues/{OPEN}/access"
    access = keyed_service.ask("operator", "GET", path).json()
    assert keyed_service.ask("operator", "PUT", path, {**access, "details_public": True}).status_code == 200
    shown = carried(json.loads(public_answers(keyed_service)[f"/v1/venues/{OPEN}/slots"]))
    assert shown >= {"score", "terms", "stock", "runners"}
    assert keyed_service.ask("operator", "PUT", path, access).status_code == 200
    for text in public_answers(keyed_service).values():
        assert carried(json.loads(text)).isdisjoint(DETAILS)


@pytest.mark.parametrize("caller", ["slots", "merchant", "events", "other operator"])
def test_keys_that_do_not_operate_the_venue_see_no_more(keyed_service: Keyed, caller: str) -> None:
    """A competitor's key is no way to the numbers."""
    for path in (f"/v1/venues/{OPEN}/slots", f"/v1/venues/{OPEN}"):
        assert carried(keyed_service.ask(caller, "GET", path).json()).isdisjoint(DETAILS)
    for caller_with_numbers in ("operator", "admin"):
        assert "score" in carried(keyed_service.ask(caller_with_numbers, "GET", f"/v1/venues/{OPEN}/slots").json())


def test_closing_a_venue_hides_it_from_strangers_and_from_their_caches(keyed_service: Keyed) -> None:
    path = f"/v1/venues/{OTHER}/access"
    assert keyed_service.ask("other operator", "PUT", path, {"slots_public": True}).status_code == 200
    seen = keyed_service.ask("anonymous", "GET", f"/v1/venues/{OTHER}/slots")
    assert (seen.status_code, seen.headers["cache-control"][:6]) == (200, "public")
    assert keyed_service.ask("other operator", "PUT", path, {"slots_public": False}).status_code == 200
    assert keyed_service.ask("anonymous", "GET", f"/v1/venues/{OTHER}/slots").status_code == 404
    kept = keyed_service.ask("other operator", "GET", f"/v1/venues/{OTHER}/slots")
    assert kept.headers["cache-control"] == "private, max-age=0"


def test_a_venue_of_an_older_version_is_open_without_its_numbers(keyed_service: Keyed) -> None:
    """Venues made before there were keys have said nothing."""
    redis: Any = keyed_service.service.redis
    raw = json.loads(redis.hget(VENUES, CLOSED))
    assert raw.pop("access")["slots_public"] is False
    name = "hall-of-old"
    keyed_service.ask("admin", "POST", "/v1/venues", {"venue": name})
    redis.hset(VENUES, name, json.dumps({**raw, "venue": name, "title": "Old"}))
    until(
        lambda: keyed_service.ask("anonymous", "GET", f"/v1/venues/{name}").json()["title"] == "Old",
        within_s=5,
        what="the API has read it",
    )
    assert keyed_service.ask("anonymous", "GET", f"/v1/venues/{name}/slots").status_code == 200


# -- who did it -----------------------------------------------------------------------------------------------


def test_changes_carry_the_name_of_the_key(keyed_service: Keyed) -> None:
    """Rule versions and access; never the key itself."""
    assert keyed_service.ask("operator", "PUT", f"/v1/venues/{CLOSED}/rule", RULE).status_code in {200, 202}
    redis: Any = keyed_service.service.redis
    versions = redis.hgetall(f"saima:{{{CLOSED}}}:rules")
    newest = json.loads(versions[versions[b"current"]])
    assert newest["author"] == "operator"
    access = keyed_service.ask("operator", "GET", f"/v1/venues/{CLOSED}/access").json()
    for wanted in ({**access, "beacon_kinds": ["click"]}, access):  # what changes nothing is no entry
        assert keyed_service.ask("operator", "PUT", f"/v1/venues/{CLOSED}/access", wanted).status_code == 200
    entry = keyring.audit(redis, 1)[0]
    assert (entry["who"], entry["what"], entry["venue"]) == ("operator", "access", CLOSED)
    held = repr(keyring.audit(redis, 1_000)) + repr(versions)
    assert all(key[15:] not in held for key in keyed_service.keys.values())


def test_a_merchant_withdraws_its_own_product_only_where_the_venue_lets_it(keyed_service: Keyed) -> None:
    """And the audit names the key that enrolled it, and the one that withdrew it."""
    venue = "hall-withdraw"
    assert keyed_service.ask("admin", "POST", "/v1/venues", {"venue": venue}).status_code == 201
    keyed_service.make("its operator", "operator", venues=(venue,))
    keyed_service.make("its merchant", "merchant", venues=(venue,), merchant="m-own")
    runner = {"product": "p-1", "merchant": "m-own", "title": "One"}
    path = f"/v1/venues/{venue}/runners"
    assert keyed_service.ask("its operator", "POST", path, runner).status_code == 201
    assert keyed_service.ask("its operator", "POST", path, {**runner, "product": "p-2", "merchant": "m-2"}).is_success
    assert keyed_service.ask("its merchant", "DELETE", f"{path}/p-1").json()["code"] == "forbidden"
    access = keyed_service.ask("admin", "GET", f"/v1/venues/{venue}/access").json()
    keyed_service.ask("admin", "PUT", f"/v1/venues/{venue}/access", {**access, "merchants_may": ["withdraw"]})
    assert keyed_service.ask("its merchant", "DELETE", f"{path}/p-2").json()["code"] == "not_found"
    gone = keyed_service.ask("its merchant", "DELETE", f"{path}/p-1")
    assert gone.status_code in {200, 202}, gone.text
    audit = keyed_service.ask("its operator", "GET", f"/v1/venues/{venue}/audit").json()["decisions"]
    made = [(each["what"], each["who"]) for each in audit]
    assert [who for what, who in made if what == "enrol"] == ["its operator", "its operator"]
    assert [who for what, who in made if what == "orders"] == ["its merchant"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "stock or price"),
        ({"stock": -1}, "stock"),
        ({"stock": 1, "merchant": "m-own"}, "merchant: no such field"),
        ({"stock": 1.5}, "stock"),
        ({"stock": "7"}, "stock"),
    ],
)
def test_a_change_of_a_product_is_checked_by_property(keyed_service: Keyed, change: Any, said: str) -> None:
    """What a route does not name cannot be set by it."""
    answer = keyed_service.ask("stock", "PATCH", f"/v1/venues/{OPEN}/runners/{OWN}", change)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_changed_stock_is_there_and_everything_else_as_it_was(keyed_service: Keyed) -> None:
    path = f"/v1/venues/{CLOSED}/runners/{OWN}"
    before = keyed_service.ask("operator", "GET", path).json()
    changed = keyed_service.ask("merchant", "PATCH", path, {"stock": 41}).json()
    assert changed["entry"]
    assert keyed_service.ask("merchant", "GET", path).json() == {**before, "stock": 41}


# -- same time class ------------------------------------------------------------------------------------------


def test_a_product_out_of_reach_costs_the_same_steps_as_none(keyed_service: Keyed) -> None:
    """The same commands to Redis: times say more about the machine, the steps are what a stranger could measure."""
    redis: Any = keyed_service.service.redis

    def commands(product: str) -> int:
        before = redis.info("commandstats").get("cmdstat_hget", {}).get("calls", 0)
        keyed_service.ask("merchant", "GET", f"/v1/venues/{OPEN}/runners/{product}")
        return int(redis.info("commandstats")["cmdstat_hget"]["calls"] - before)

    assert commands("p-foreign") == commands("p-nothing") == commands(OWN) == 2
