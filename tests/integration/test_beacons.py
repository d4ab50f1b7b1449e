"""What a page sends: its own kinds alone, each with the token of the slot where it happened."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2
import pytest

from api.tokens import VenueTokens
from racing.events import EventBatch
from racing.store.keys import SECRET, VenueKeys
from tests.integration.contract import problem
from tests.integration.keyed import CLOSED, OPEN, ORIGIN, OTHER, OWN, Keyed

PATH = f"/v1/venues/{OPEN}/beacons"
EPOCH, FRAME, SLOT = 1_763_740_800_000, 4_711, 2


def token(keyed_service: Keyed, *, venue: str = OPEN, issued_s: float | None = None, runner: int = 0) -> str:
    """A token as this deployment signs it: of a slot with its first product, issued just now."""
    secret: Any = keyed_service.service.redis.get(SECRET)
    at_s = int(time.time() if issued_s is None else issued_s)
    (made,) = VenueTokens(secret, venue).made(EPOCH, FRAME, at_s, [(SLOT, runner)])
    return made


def click(text: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "click", "product": OWN, **({} if text is None else {"token": text}), **more}


def body(keyed_service: Keyed, batch: str, *events: dict[str, Any], key: str | None = "beacon") -> dict[str, Any]:
    named = {} if key is None else {"key": keyed_service.keys[key]}
    return {"batch": batch, "events": list(events), **named}


def beacon(
    keyed_service: Keyed,
    document: Any,
    *,
    path: str = PATH,
    origin: str | None = ORIGIN,
    content_type: str = "text/plain",
) -> httpx2.Response:
    """The answer to what navigator.sendBeacon sends: a text, an Origin, and no header of ours."""
    headers = {"Content-Type": f"{content_type};charset=UTF-8", **({} if origin is None else {"Origin": origin})}
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return keyed_service.service.http.post(path, content=content, headers=headers)


def codes(answer: httpx2.Response) -> list[tuple[int, str]]:
    assert answer.status_code == 202, answer.text
    return [(each["index"], each["code"]) for each in answer.json()["refused"]]


def logged(keyed_service: Keyed, position: str) -> EventBatch:
    """The events of one log entry."""
    redis: Any = keyed_service.service.redis
    ((_, fields),) = redis.xrange(VenueKeys(OPEN).log, position, position)
    return EventBatch.unpack(fields[b"events"])


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", f"{ORIGIN}.evil.example"])
def test_a_page_of_another_origin_is_refused(keyed_service: Keyed, origin: str | None) -> None:
    answer = beacon(keyed_service, body(keyed_service, "b", click(None)), origin=origin)
    problem(answer, 403, "forbidden")


def test_a_key_that_is_none_or_of_another_role_is_refused(keyed_service: Keyed) -> None:
    problem(beacon(keyed_service, body(keyed_service, "b", click(None), key=None)), 401, "unauthorized")
    problem(beacon(keyed_service, {**body(keyed_service, "b", click(None)), "key": "saima_é"}), 401, "unauthorized")
    problem(beacon(keyed_service, body(keyed_service, "b", click(None), key="revoked")), 401, "unauthorized")
    problem(beacon(keyed_service, body(keyed_service, "b", click(None), key="events")), 403, "forbidden")
    other = f"/v1/venues/{OTHER}/beacons"
    problem(beacon(keyed_service, body(keyed_service, "b", click(None)), path=other), 404, "not_found")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b'{"batch": "b", "events": [', 400, "malformed"),
        (b"[]", 422, "invalid"),
        (b'{"events": []}', 422, "invalid"),
        (b'{"batch": "a b", "events": [{}]}', 422, "invalid"),
        (b'{"batch": "b", "events": [{}], "more": 1}', 422, "invalid"),
        (b'{"batch": "b", "events": [], "key": "%b"}', 422, "invalid"),
        (b" " * 65_537, 413, "too_large"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(keyed_service: Keyed, content: bytes, status: int, code: str) -> None:
    problem(beacon(keyed_service, content.replace(b"%b", keyed_service.keys["beacon"].encode())), status, code)


def test_another_type_of_body_is_refused(keyed_service: Keyed) -> None:
    problem(beacon(keyed_service, b"{}", content_type="application/x-ndjson"), 415, "unsupported_media_type")


def test_events_are_refused_one_by_one_with_what_is_wrong_with_their_tokens(keyed_service: Keyed) -> None:
    good, now_s = token(keyed_service), time.time()
    answer = beacon(
        keyed_service,
        body(
            keyed_service,
            "refused-1",
            click(None),
            click(good[:-1] + ("A" if good[-1] != "A" else "B")),
            click(token(keyed_service, venue=CLOSED)),
            click(token(keyed_service, issued_s=now_s - 3_700)),
            click(token(keyed_service, runner=1)),
            click(good, amount=100),
            {**click(good), "type": "pay"},
            {**click(good), "product": "p-none"},
            click(good, more=1),
            click(good),
        ),
    )
    assert codes(answer) == [
        (0, "token_missing"),
        (1, "token_forged"),
        (2, "token_forged"),
        (3, "token_expired"),
        (4, "token_mismatch"),
        (5, "invalid"),
        (6, "unknown_kind"),
        (7, "unknown_product"),
        (8, "invalid"),
    ]
    assert answer.json()["accepted"] == 1


def test_refused_tokens_are_counted_by_reason(keyed_service: Keyed) -> None:
    beacon(keyed_service, body(keyed_service, "counted-1", click("x" * 40), click(None)))
    shown = keyed_service.ask("metrics", "GET", "/metrics").text
    for reason in ("token_forged", "token_missing"):
        assert f'saima_events_refused_total{{reason="{reason}",venue="{OPEN}"}}' in shown


def test_a_venue_that_declares_no_kind_public_takes_none(keyed_service: Keyed) -> None:
    text = token(keyed_service, venue=CLOSED)
    answer = beacon(keyed_service, body(keyed_service, "b", click(text)), path=f"/v1/venues/{CLOSED}/beacons")
    assert codes(answer) == [(0, "unknown_kind")]
    assert "access.beacon_kinds" in answer.json()["refused"][0]["reason"]


# -- what is taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_a_token_tells_frame_and_slot_of_its_event(keyed_service: Keyed, content_type: str) -> None:
    """Whatever the event says itself."""
    name = f"told-{content_type[:4]}"
    events = [click(token(keyed_service)), click(token(keyed_service), frame=1, slot=9)]
    answer = beacon(keyed_service, body(keyed_service, name, *events), content_type=content_type)
    assert codes(answer) == []
    batch = logged(keyed_service, answer.json()["position"])
    assert [batch.kinds[code] for code in batch.kind] == ["click", "click"]
    assert batch.frame is not None
    assert batch.slot is not None
    assert (batch.frame.tolist(), batch.slot.tolist()) == ([FRAME] * 2, [SLOT] * 2)


def test_a_batch_that_is_sent_again_counts_once(keyed_service: Keyed) -> None:
    """Also with its key in a header the next time; another batch of that name is refused."""
    document = body(keyed_service, "again-1", click(token(keyed_service)))
    first, second = beacon(keyed_service, document), beacon(keyed_service, document)
    assert first.json() == second.json()
    bare = {name: value for name, value in document.items() if name != "key"}
    third = keyed_service.ask("beacon", "POST", PATH, json.dumps(bare).encode(), Content_Type="text/plain")
    assert third.json() == first.json()
    other = beacon(keyed_service, {**document, "events": [*document["events"], click(token(keyed_service))]})
    problem(other, 422, "idempotency_mismatch")


def test_the_name_of_a_batch_takes_no_key_from_a_server(keyed_service: Keyed) -> None:
    """Whoever reads a page's key could else answer for the orders to come."""
    beacon(keyed_service, body(keyed_service, "orders-1", click(token(keyed_service))))
    sent = keyed_service.ask(
        "events", "POST", f"/v1/venues/{OPEN}/events", {"events": [click(None)]}, Idempotency_Key="orders-1"
    )
    assert (sent.status_code, sent.json()["accepted"]) == (202, 1)


def test_a_server_may_pass_tokens_on(keyed_service: Keyed) -> None:
    """With any kind; an event without one goes as it is, one whose token is wrong is refused alone."""
    pay = {"type": "pay", "product": OWN, "amount": 5}
    events = [{**pay, "token": token(keyed_service)}, pay, {**pay, "token": "x"}]
    answer = keyed_service.ask("events", "POST", f"/v1/venues/{OPEN}/events", {"events": events}, Idempotency_Key="t-1")
    assert codes(answer) == [(2, "token_forged")]
    batch = logged(keyed_service, answer.json()["position"])
    assert batch.slot is not None
    assert batch.slot.tolist() == [SLOT, 0]
