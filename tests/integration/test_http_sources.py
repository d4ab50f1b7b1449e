"""Event sources over HTTP: what is refused, what counts, and that it counts once."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from racing.store.keys import VenueKeys
from tests.integration.contract import EVENT, HOSTILE_IDS, ID_WORDS, RULE, problem
from tests.integration.running import PLAIN_RULE, Running
from tests.waiting import until


def taken(answer: httpx2.Response) -> dict[str, Any]:
    """The answer to a batch that was taken."""
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"position", "accepted", "duplicate", "refused"}
    return found


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue whose runners and rule no refusal changes."""
    return service.made_venue("p-1", rule=RULE)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, 'the body must be {"events": [...]}: Object missing required field `events`'),
        ({"events": []}, 422, "events: a batch of 0 events; send at least one"),
        ({"events": {}}, 422, 'the body must be {"events": [...]}'),
        ({"events": [EVENT], "venue": "x"}, 422, "unknown field `venue`"),
        ({"events": [EVENT] * 1001}, 413, "events: a batch of 1001 events; send at most 1000"),
        ({"events": [{}] * 1001}, 413, "events: a batch of 1001 events; send at most 1000"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(
    service: Running, venue: str, body: object, status: int, words: str
) -> None:
    answer = service.post(f"/v1/venues/{venue}/events", body)
    assert words in problem(answer, status, "invalid" if status == 422 else "too_large")["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"events": [{"type": "order", "product": 5}, {"type": "ord\xff", "product": "p-1"}]}',
        b'{"events": [{"type": "order", "product": 5}, {"type": "order", "product": "p-1", "slot": 01}]}',
        b'{"events": [{"type": "order", "product": "p-1", "amount": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
    ids=["not UTF-8 behind a wrong event", "no number behind a wrong event", "nested"],
)
def test_a_batch_that_is_no_json_behind_a_wrong_event_is_malformed(service: Running, venue: str, body: bytes) -> None:
    """Events are looked at one by one only once a first one was wrong; the rest of the body is no more trusted then."""
    problem(service.post(f"/v1/venues/{venue}/events", body), 400, "malformed")


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "é"])
def test_an_idempotency_key_out_of_bounds_is_malformed(service: Running, venue: str, key: str) -> None:
    answer = service.http.post(
        f"/v1/venues/{venue}/events", json={"events": [EVENT]}, headers={b"Idempotency-Key": key.encode("latin-1")}
    )
    found = problem(answer, 400, "malformed")
    assert found["detail"].startswith("Idempotency-Key: must be 1 to 255 printable ASCII characters, not ")


WRONG_EVENTS: list[tuple[dict[str, Any], str, str]] = [
    *(
        ({field: name}, "invalid", f"{field}: {ID_WORDS}, not ")
        for field in ("product", "id", "source", "segment")
        for name in HOSTILE_IDS
    ),
    ({"type": ""}, "invalid", 'type: must be a text of 1 to 32 characters, not ""'),
    ({"type": "x" * 33}, "invalid", "type: must be a text of 1 to 32 characters"),
    ({"type": None}, "invalid", "type: must be a text of 1 to 32 characters, not null"),
    ({"user": "u" * 129}, "invalid", "user: must be a text of 1 to 128 characters"),
    ({"amount": -1}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not -1"),
    ({"amount": 1.5}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not 1.5"),
    ({"amount": 199.0}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not 199.0"),
    ({"amount": "5"}, "invalid", 'amount: must be a whole number from 0 to 1000000000000, not "5"'),
    ({"amount": True}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not true"),
    ({"amount": 10**12 + 1}, "invalid", "amount: must be a whole number from 0 to 1000000000000"),
    ({"amount": 10**400}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not 1000"),
    ({"amount": [5]}, "invalid", "amount: must be a whole number from 0 to 1000000000000, not [5]"),
    ({"quantity": -1}, "invalid", "quantity: must be a whole number from 0"),
    ({"slot": 0}, "invalid", "slot: must be a whole number from 1 to 10000, not 0"),
    ({"slot": 10_001}, "invalid", "slot: must be a whole number from 1 to 10000, not 10001"),
    ({"frame": -1}, "invalid", "frame: must be a whole number from 0"),
    ({"ts_ms": -1}, "invalid", "ts_ms: must be a whole number from 0"),
    ({"ts_ms": 2**53 + 1}, "invalid", "ts_ms: must be a whole number from 0"),
    ({"colour": "red"}, "invalid", "colour: no such field; an event has type, product, ts_ms, "),
    (
        {"type": "pv"},
        "unknown_kind",
        "type: 'pv' is none of cart, click, favorite, impression, order, pay, price, refund, stock",
    ),
    ({"product": "p-9"}, "unknown_product", "product: 'p-9' is not enrolled in venue 'race-"),
    ({"ts_ms": 0}, "late", "ts_ms: 0 is before "),
    ({"ts_ms": 2**53}, "future", "ts_ms: 9007199254740992 is more than 300 s ahead of the server's "),
]


@pytest.mark.parametrize(("field", "code", "words"), WRONG_EVENTS)
def test_a_wrong_event_is_refused_alone(
    service: Running, venue: str, field: dict[str, Any], code: str, words: str
) -> None:
    """Those around it are taken; its place and its reason come back."""
    answer = taken(service.send(venue, EVENT, {**EVENT, **field}, EVENT))
    assert (answer["accepted"], answer["duplicate"]) == (2, 0)
    (refused,) = answer["refused"]
    assert (refused["index"], refused["code"]) == (1, code)
    assert refused["reason"].startswith(words), refused["reason"]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([{"product": "p-1"}], "type: is required"),
        ([{"type": "order"}], "product: is required"),
        (["text"], "event: must be an object, not a text"),
        ([5], "event: must be an object, not a number"),
        ([None], "event: must be an object, not null"),
        ([[]], "event: must be an object, not a list"),
    ],
)
def test_a_batch_without_a_right_event_reaches_no_log(
    service: Running, venue: str, events: list[Any], words: str
) -> None:
    answer = taken(service.send(venue, *events))
    assert answer == {
        "position": None,
        "accepted": 0,
        "duplicate": 0,
        "refused": [{"index": 0, "code": "invalid", "reason": words}],
    }


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000])
def test_an_amount_that_no_computer_holds_is_refused_alone(service: Running, venue: str, number: str) -> None:
    good, wrong = '{"type": "order", "product": "p-1"}', f'{{"type": "order", "product": "p-1", "amount": {number}}}'
    answer = taken(service.post(f"/v1/venues/{venue}/events", f'{{"events": [{good}, {wrong}]}}'.encode()))
    assert answer["accepted"] == 1
    assert f"not {number[:80]}" in answer["refused"][0]["reason"]


def test_the_largest_batch_is_taken(service: Running) -> None:
    venue = service.made_venue("p-1")
    answer = taken(service.send(venue, *[EVENT] * 1000))
    service.folded(venue, answer["position"])
    assert service.total(venue, "order:count") == 1000


def test_accepted_and_duplicate_and_refused_are_all_that_were_sent(service: Running) -> None:
    """Of 7 events 3 are new, 2 repeat an id of their kind, and 2 are wrong; the race counts the 3."""
    venue = service.made_venue("p-1", "p-2")
    answer = taken(
        service.send(
            venue,
            {"type": "order", "product": "p-1", "id": "o-1"},
            {"type": "order", "product": "p-2", "id": "o-1"},
            {"type": "order", "product": "p-9"},
            {"type": "order", "product": "p-1"},
            {"type": "click", "product": "p-1", "id": "o-1"},
            {"type": "order", "product": "p-1", "amount": -1},
            {"type": "click", "product": "p-1", "id": "o-1"},
        )
    )
    assert (answer["accepted"], answer["duplicate"], len(answer["refused"])) == (3, 2, 2)
    assert [refused["index"] for refused in answer["refused"]] == [2, 5]
    service.folded(venue, answer["position"])
    assert service.total(venue, "order:count", 0) == 2
    assert service.total(venue, "order:count", 1) == 0
    until(lambda: service.counts(venue).get("counted") == 3, within_s=5, what="three were counted")
    assert service.counts(venue)["duplicate"] == 2


def test_an_id_redelivered_in_another_batch_counts_once(service: Running) -> None:
    """Whoever sends it again, alone or among new ones, with a key or without."""
    venue = service.made_venue("p-1")
    order = {"type": "order", "product": "p-1", "id": "o-7"}
    assert taken(service.send(venue, order))["accepted"] == 1
    again = taken(service.send(venue, order))
    assert (again["accepted"], again["duplicate"]) == (0, 1)
    among = taken(service.send(venue, {**order, "id": "o-8"}, order, key="another"))
    assert (among["accepted"], among["duplicate"]) == (1, 1)
    service.folded(venue, among["position"])
    assert service.total(venue, "order:count") == 2


def test_events_without_an_id_are_not_compared(service: Running) -> None:
    venue = service.made_venue("p-1")
    taken(service.send(venue, EVENT))
    answer = taken(service.send(venue, EVENT, EVENT))
    assert (answer["accepted"], answer["duplicate"]) == (2, 0)
    service.folded(venue, answer["position"])
    assert service.total(venue, "order:count") == 3


def test_a_batch_repeated_under_its_key_is_answered_alike_and_counts_once(service: Running) -> None:
    """To the byte: position, counts and reasons are those of the first time."""
    venue = service.made_venue("p-1")
    events = [EVENT, {**EVENT, "id": "o-1"}, {**EVENT, "product": "p-9"}]
    first, second, third = (service.send(venue, *events, key="batch-1") for _ in range(3))
    assert taken(first)["accepted"] == 2
    assert first.content == second.content == third.content
    last = taken(service.send(venue, EVENT))
    service.folded(venue, last["position"])
    assert service.total(venue, "order:count") == 3


def test_a_key_used_for_another_body_is_refused(service: Running) -> None:
    """Also where the other body differs in a space, and where none of its events would be taken."""
    venue = service.made_venue("p-1")
    path, key = f"/v1/venues/{venue}/events", {"Idempotency-Key": "batch-1"}
    body = b'{"events":[{"type":"order","product":"p-1"}]}'
    first = taken(service.post(path, body, **key))
    for other in (body + b" ", body.replace(b"p-1", b"p-9")):
        found = problem(service.post(path, other, **key), 422, "idempotency_mismatch")
        assert "use a new key for a new body" in found["detail"]
    service.folded(venue, first["position"])
    assert service.total(venue, "order:count") == 1


def test_a_key_belongs_to_its_venue(service: Running) -> None:
    one, other = service.made_venue("p-1"), service.made_venue("p-1")
    assert taken(service.send(one, EVENT, key="k"))["accepted"] == 1
    assert taken(service.send(other, EVENT, EVENT, key="k"))["accepted"] == 2


def test_a_batch_repeated_when_nothing_of_it_would_be_taken_any_more_is_answered_as_it_was(service: Running) -> None:
    """Its events have become late, or their kind is gone; they were counted all the same."""
    rule = {**PLAIN_RULE, "metrics": {**PLAIN_RULE["metrics"], "share": {"event": "share"}}}
    venue = service.made_venue("p-1", rule=rule)
    share = {"type": "share", "product": "p-1"}
    first = service.send(venue, share, key="k")
    assert taken(first)["accepted"] == 1
    assert service.http.put(f"/v1/venues/{venue}/rule", json=PLAIN_RULE).status_code == 200
    assert taken(service.send(venue, share))["refused"][0]["code"] == "unknown_kind"
    assert service.send(venue, share, key="k").content == first.content


def test_a_kind_that_the_rule_declares_is_taken_from_then_on(service: Running) -> None:
    """Before, it is refused with the kinds that there are; the scores count it after."""
    venue = service.made_venue("p-1", "p-2")
    share = {"type": "share", "product": "p-2"}
    assert taken(service.send(venue, share))["refused"][0]["code"] == "unknown_kind"
    rule = {
        "metrics": {"share": {"event": "share"}},
        "terms": [{"metric": "share", "signal": "total", "weight": 3}],
    }
    assert service.http.put(f"/v1/venues/{venue}/rule", json=rule).status_code == 200
    assert taken(service.send(venue, share))["accepted"] == 1
    until(lambda: service.scores(venue).get("p-2") == 3, within_s=5, what="the share scored")


def test_a_product_enrolled_just_now_is_taken(service: Running) -> None:
    venue = service.made_venue()
    assert taken(service.send(venue, EVENT))["refused"][0]["code"] == "unknown_product"
    service.enrol(venue, "p-1")
    assert taken(service.send(venue, EVENT))["accepted"] == 1


def test_an_event_of_the_past_counts_while_its_time_is_in_the_base_window(service: Running) -> None:
    venue = service.made_venue("p-1")
    answer = taken(service.send(venue, *({**EVENT, "ts_ms": now_ms() - ago_ms} for ago_ms in (0, 200_000, 500_000))))
    assert answer["accepted"] == 3
    service.folded(venue, answer["position"])
    assert service.total(venue, "order:count") == 3


def test_a_refund_takes_back_what_its_payment_gave(service: Running) -> None:
    """A part of the amount first; when all of it is taken back, the payment no longer counts either."""
    venue = service.made_venue("p-1")
    pay = {"type": "pay", "product": "p-1", "id": "order-5", "amount": 20_000}

    def after(*events: dict[str, Any]) -> tuple[float, float]:
        service.folded(venue, taken(service.send(venue, *events))["position"])
        return service.total(venue, "pay:amount"), service.total(venue, "pay:count")

    assert after(pay) == (20_000, 1)
    assert after({**pay, "type": "refund", "amount": 5_000}) == (15_000, 1)
    assert after({"type": "refund", "product": "p-1", "id": "order-6", "amount": 1}) == (15_000, 1)
    assert after(pay, {"type": "pay", "product": "p-1", "id": "order-9", "amount": 300}) == (15_300, 2)
    assert after({"type": "refund", "product": "p-1", "id": "order-9"}) == (15_000, 1)
    until(lambda: service.scores(venue)["p-1"] == 15, within_s=5, what="the score followed")


def test_a_user_is_kept_only_as_a_hash(service: Running) -> None:
    """Neither the log nor anything else of the venue holds the text."""
    venue = service.made_venue("p-1")
    service.folded(venue, taken(service.send(venue, {**EVENT, "user": "alice@shop.example"}))["position"])
    log = service.redis.xrange(VenueKeys(venue).log)
    assert len(log) > 2
    assert b"alice" not in b"".join(value for _, fields in log for value in fields.values())
