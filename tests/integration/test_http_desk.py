"""The operators' desk over HTTP: orders, the audit and undo, from the request to the frame."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import httpx2
import pytest

from racing.moments import moment_text
from tests.integration.contract import problem
from tests.integration.running import PLAIN_RULE, Running
from tests.waiting import until

HOUR_MS = 3_600_000
PIN = {"kind": "pin", "product": "p-1", "slot": 1}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue whose orders no refusal changes."""
    made = service.made_venue("p-1", "p-2", "p-3", rule={**PLAIN_RULE, "board": {"slots": 5}})
    orders = [{**PIN, "id": "hero", "product": "p-3", "slot": 3}]
    assert service.http.post(f"/v1/venues/{made}/orders", json={"put": orders}).status_code == 200
    return made


def put(service: Running, venue: str, name: str, **order: Any) -> httpx2.Response:
    return service.http.put(f"/v1/venues/{venue}/orders/{name}", json=order)


PHASE = {"kind": "phase", "title": "Burst", "rule": PLAIN_RULE}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "kind"),
    ({"kind": "hide"}, "kind"),
    ({**PIN, "slot": 0}, "slot: must be at least 1, not 0"),
    ({**PIN, "slot": 6}, "slot: must be at most 5, the slots of the board, not 6"),
    ({**PIN, "slot": "1"}, 'slot: must be a whole number, not "1"'),
    ({**PIN, "product": "p-9"}, "product: must be enrolled in venue"),
    ({**PIN, "product": "a b"}, "product: must be 1 to 64 characters"),
    ({**PIN, "colour": "red"}, "colour: no such field; there are start, end, id, "),
    ({**PIN, "start": "2026-11-11T00:00:00"}, "start: must be a time with its offset from UTC"),
    ({**PIN, "end": "tomorrow"}, "end: must be a time with its offset from UTC"),
    ({**PIN, "end": "2026-13-11T00:00:00Z"}, "end: must be a time with its offset from UTC"),
    ({**PIN, "start": "2036-11-11T00:00:00Z", "start_ms": 5}, "start: give start or start_ms, not both"),
    ({**PIN, "start_ms": 10, "end_ms": 10}, "end_ms: must be after start_ms"),
    ({"kind": "boost", "product": "p-1", "factor": 0}, "factor: must be more than 0, not 0"),
    ({"kind": "boost", "product": "p-1", "factor": 101}, "factor: must be at most 100, not 101"),
    ({"kind": "boost", "factor": 2}, "product: exactly one of product, merchant, category and tag"),
    ({"kind": "boost", "product": "p-1", "merchant": "m-1", "factor": 2}, "exactly one of product, merchant"),
    ({"kind": "exclude", "product": "p-1"}, "reason: is required"),
    ({"kind": "freeze", "slots": 0}, "slots: must be at least 1, not 0"),
    ({"kind": "emergency", "products": []}, "products: must have 1 or more entries"),
    ({"kind": "emergency", "products": ["p-1", "p-1"]}, "each product once"),
    ({"kind": "emergency", "products": ["p-1", "p-9"]}, "products: must be enrolled in venue"),
    (PHASE, "start_ms: is required: a phase begins at a moment"),
    ({**PHASE, "start": "2020-01-01T00:00:00Z"}, "start_ms: must be after now"),
    ({**PHASE, "start": "2036-01-01T00:00:00Z", "rule": {"metrics": {}}}, "rule: is no rule"),
    ({**PHASE, "start": "2036-01-01T00:00:00Z", "carry": -1}, "carry: must be at least 0, not -1"),
    ({**PIN, "id": "another"}, "id: must be 'x' as in the address, or left out"),
]


@pytest.mark.parametrize(("order", "words"), WRONG)
def test_a_wrong_order_is_refused_by_field_value_and_what_would_be_right(
    service: Running, venue: str, order: dict[str, Any], words: str
) -> None:
    found = problem(put(service, venue, "x", **order), 422, "invalid")
    assert words in found["detail"]
    assert found["errors"]
    orders = service.http.get(f"/v1/venues/{venue}/orders").json()["orders"]
    assert [each["id"] for each in orders] == ["hero"]


def test_an_id_that_could_change_a_key_names_no_order(service: Running, venue: str) -> None:
    body = {"put": [{**PIN, "id": "@last"}]}
    assert "id: must be 1 to 64" in problem(service.post(f"/v1/venues/{venue}/orders", body), 422, "invalid")["detail"]
    problem(service.http.put(f"/v1/venues/{venue}/orders/@last", json=PIN), 422, "invalid")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({**PIN, "slot": 3}, "slot 3 is held for 'p-3' by pin 'hero' at the same time"),
        ({**PIN, "product": "p-3", "slot": 4}, "product 'p-3' is held at slot 3 by pin 'hero' at the same time"),
    ],
)
def test_hard_pins_that_cannot_both_be_kept_are_refused(
    service: Running, venue: str, order: dict[str, Any], words: str
) -> None:
    """Whatever their times overlap by; the other order is named."""
    for times in ({}, {"start_ms": now_ms() + HOUR_MS}, {"end_ms": now_ms() + HOUR_MS}):
        assert words in problem(put(service, venue, "x", **order, **times), 409, "conflict")["detail"]


def test_pins_of_one_change_are_held_against_each_other(service: Running, venue: str) -> None:
    body = {"put": [{**PIN, "id": "a"}, {**PIN, "id": "b", "product": "p-2"}]}
    found = problem(service.post(f"/v1/venues/{venue}/orders", body), 409, "conflict")
    assert "slot 1 is held for" in found["detail"]
    twice = {"put": [{**PIN, "id": "a"}, {**PIN, "id": "a"}]}
    assert "each order once" in problem(service.post(f"/v1/venues/{venue}/orders", twice), 422, "invalid")["detail"]


def test_an_order_that_there_is_not_is_neither_read_nor_withdrawn(service: Running, venue: str) -> None:
    for method in ("GET", "DELETE"):
        answer = service.http.request(method, f"/v1/venues/{venue}/orders/none")
        assert "there is no order 'none'" in problem(answer, 404, "not_found")["detail"]
    both = {"put": [{**PIN, "id": "a"}], "withdraw": ["a"]}
    assert (
        "both put and withdrawn" in problem(service.post(f"/v1/venues/{venue}/orders", both), 422, "invalid")["detail"]
    )


def test_a_stale_write_is_refused(service: Running) -> None:
    """By the ETag of the order: the entry that put it."""
    venue = service.made_venue("p-1", "p-2")
    first = put(service, venue, "hero", **PIN)
    tag = first.headers["etag"]
    assert tag == f'"{first.json()["entry"]}"'
    path = f"/v1/venues/{venue}/orders/hero"
    assert service.http.get(path).headers["etag"] == tag
    second = service.http.put(path, json={**PIN, "slot": 2}, headers={"If-Match": tag})
    assert second.status_code == 200
    for method, body in (("PUT", PIN), ("DELETE", None)):
        stale = service.http.request(method, path, json=body, headers={"If-Match": tag})
        assert f'the order is "{second.json()["entry"]}" by now' in problem(stale, 412, "precondition_failed")["detail"]
    gone = service.http.put(f"/v1/venues/{venue}/orders/new", json={**PIN, "slot": 5}, headers={"If-Match": "*"})
    assert "there is no such order" in problem(gone, 412, "precondition_failed")["detail"]


def test_a_phase_that_has_begun_is_no_longer_changed(service: Running) -> None:
    venue = service.made_venue("p-1")
    begins_ms = now_ms() + 3_000
    made = put(service, venue, "burst", **PHASE, start_ms=begins_ms)
    assert made.is_success, made.text
    other = put(service, venue, "other", **PHASE, start_ms=begins_ms)
    assert "begins at the same moment" in problem(other, 409, "conflict")["detail"]
    until(lambda: now_ms() > begins_ms, within_s=5, what="the phase has begun")
    for answer in (
        put(service, venue, "burst", **PHASE, start_ms=now_ms() + HOUR_MS),
        service.http.delete(f"/v1/venues/{venue}/phases/burst"),
    ):
        assert f"began at {begins_ms}" in problem(answer, 409, "conflict")["detail"]


# -- what is right --------------------------------------------------------------------------------------------


def test_orders_are_put_read_listed_and_withdrawn(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    path = f"/v1/venues/{venue}/orders"
    start_ms = now_ms() // 1000 * 1000 + HOUR_MS
    body = {
        "put": [
            {"kind": "pin", "id": "hero", "product": "p-1", "slot": 1, "start": moment_text(start_ms)},
            {"kind": "boost", "id": "nudge", "product": "p-2", "factor": 1.5},
            {"kind": "boost", "id": "off", "merchant": "m-1", "factor": 2, "active": False},
            {"kind": "exclude", "id": "old", "product": "p-2", "reason": "recall", "end_ms": 1},
        ],
        "note": "before midnight",
    }
    made = service.http.post(path, json=body)
    assert made.status_code == 200, made.text
    assert [(each["id"], each["state"]) for each in made.json()["put"]] == [
        ("hero", "scheduled"),
        ("nudge", "in force"),
        ("off", "inactive"),
        ("old", "ended"),
    ]
    hero = service.http.get(f"{path}/hero").json()
    assert (hero["start_ms"], hero["start"], hero["end_ms"]) == (start_ms, moment_text(start_ms), None)
    assert (hero["who"], hero["entry"]) == ("anonymous", made.json()["entry"])

    def listed(**query: Any) -> list[str]:
        return [each["id"] for each in service.http.get(path, params=query).json()["orders"]]

    assert listed() == ["hero", "nudge", "off", "old"]
    assert listed(kind="boost") == ["nudge", "off"]
    assert listed(state="in force") == ["nudge"]
    assert listed(product="p-2") == ["nudge", "old"]
    assert listed(limit=2) == ["hero", "nudge"]
    assert service.http.get(path, params={"limit": 2}).json()["next_cursor"] == "nudge"
    assert listed(limit=2, cursor="nudge") == ["off", "old"]
    gone = service.http.delete(f"{path}/nudge", params={"note": "enough"})
    assert (gone.status_code, gone.json()["withdrawn"]) == (200, ["nudge"])
    assert listed() == ["hero", "off", "old"]


def test_the_answer_names_a_frame_that_holds_the_order(service: Running) -> None:
    """Also where nothing on the board changes by it."""
    venue = service.made_venue("p-1", "p-2")
    made = put(service, venue, "later", **PIN, start_ms=now_ms() + HOUR_MS)
    assert made.status_code == 200
    board = service.slots(venue).json()
    assert (board["epoch"], board["frame"]) >= (made.json()["epoch"], made.json()["frame"])
    service.folded(venue, made.json()["entry"])


def test_the_same_order_sent_again_is_the_same_decision(service: Running) -> None:
    """A retry after a lost answer; without an id, too."""
    venue = service.made_venue("p-1", "p-2")
    boost = {"product": "p-1", "factor": 2, "note": "a push"}
    first, second = (service.http.post(f"/v1/venues/{venue}/boosts", json=boost) for _ in range(2))
    assert first.json()["entry"] == second.json()["entry"]
    assert first.json()["put"][0]["id"] == second.json()["put"][0]["id"]
    other = service.http.post(f"/v1/venues/{venue}/boosts", json={**boost, "factor": 3})
    assert other.json()["put"][0]["id"] != first.json()["put"][0]["id"]


def test_the_frequent_orders_have_addresses_of_their_own(service: Running) -> None:
    """Under ids that say so, and ended by DELETE there."""
    venue = service.made_venue("p-1", "p-2")
    base, start = f"/v1/venues/{venue}", moment_text(now_ms() + HOUR_MS)
    asked = [
        ("PUT", "/pins/2", {"product": "p-1", "hard": False}, "pin.2"),
        ("PUT", "/freeze", {"slots": 3}, "freeze"),
        ("PUT", "/emergency", {"products": ["p-2", "p-1"], "start": start}, "emergency"),
        ("PUT", "/phases/burst", {"title": "Burst", "rule": PLAIN_RULE, "start": start}, "burst"),
    ]
    for method, path, body, name in asked:
        answer = service.http.request(method, base + path, json=body)
        assert answer.is_success, answer.text
        assert answer.json()["put"][0]["id"] == name
    excluded = service.http.post(f"{base}/exclusions", json={"merchant": "m-9", "reason": "fraud"})
    assert excluded.json()["put"][0]["id"].startswith("exclude.")
    phases = service.http.get(f"{base}/phases").json()["orders"]
    assert [(each["id"], each["version"], each["state"]) for each in phases] == [("burst", 2, "scheduled")]
    for _, path, _, name in asked:
        assert service.http.delete(base + path).json()["withdrawn"] == [name]
    left = service.http.get(f"{base}/orders").json()["orders"]
    assert [each["kind"] for each in left] == ["exclude"]


# -- audit and undo -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["x", "1", "1-1-1", "9" * 16 + "-0"])
def test_what_is_no_entry_is_refused(service: Running, venue: str, entry: str) -> None:
    problem(service.post(f"/v1/venues/{venue}/audit/{entry}/undo", {}), 422, "invalid")
    problem(service.http.get(f"/v1/venues/{venue}/audit?cursor={entry}"), 422, "invalid")


def test_an_entry_without_a_decision_is_not_undone(service: Running, venue: str) -> None:
    problem(service.post(f"/v1/venues/{venue}/audit/5-5/undo", {}), 404, "not_found")


def test_before_the_first_moment_there_is_no_decision(service: Running, venue: str) -> None:
    page = service.http.get(f"/v1/venues/{venue}/audit?cursor=0-0")
    assert (page.status_code, page.json()) == (200, {"decisions": [], "next_cursor": None})


def test_the_audit_tells_every_decision_and_is_filtered_paged_and_exported(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    base = f"/v1/venues/{venue}"
    service.http.patch(f"{base}/runners/p-1", json={"stock": 7})
    service.http.put(f"{base}/rule?note=calmer", json=PLAIN_RULE)
    put(service, venue, "hero", **PIN, note="=sold")
    service.http.put(f"{base}/access", json={"slots_public": False})

    def told(**query: Any) -> list[tuple[str, str]]:
        found = service.http.get(f"{base}/audit", params=query).json()["decisions"]
        return [(each["what"], each["changes"][0]["of"]) for each in found]

    everything = [("access", "access"), ("orders", "hero"), ("rule", "rule"), ("enrol", "p-1"), ("enrol", "p-1")]
    assert told() == [*everything, ("rule", "rule")]
    assert told(what="rule") == [("rule", "rule")] * 2
    assert told(product="p-1") == [("orders", "hero"), ("enrol", "p-1"), ("enrol", "p-1")]
    assert told(who="nobody") == []
    stock = service.http.get(f"{base}/audit", params={"product": "p-1"}).json()["decisions"][1]
    assert stock["changes"] == [{"of": "p-1", "from": {"stock": None}, "to": {"stock": 7}}]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = service.http.get(f"{base}/audit", params=query).json()
        seen += [each["entry"] for each in page["decisions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 6
    lines = service.http.get(f"{base}/audit/export").text.splitlines()
    assert len(lines) == 6
    table = service.http.get(f"{base}/audit/export?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["entry"] for row in rows if row["of"] != "p-2"] == seen
    assert next(row for row in rows if row["of"] == "hero")["note"] == "'=sold", "no formula of a spreadsheet"


def test_any_decision_is_undone_in_one_call_and_says_so(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    base = f"/v1/venues/{venue}"
    service.http.put(f"{base}/rule", json={**PLAIN_RULE, "board": {"slots": 7}})
    put(service, venue, "hero", **PIN)
    service.http.patch(f"{base}/runners/p-1", json={"stock": 7})
    service.http.put(f"{base}/access", json={"slots_public": False})
    decisions = service.http.get(f"{base}/audit").json()["decisions"][:4]
    for decision in decisions:
        undone = service.post(f"{base}/audit/{decision['entry']}/undo", {"note": "wrong"})
        assert undone.status_code == 200, undone.text
        newest = service.http.get(f"{base}/audit?limit=1").json()["decisions"][0]
        assert (newest["entry"], newest["undoes"], newest["note"]) == (
            undone.json()["entry"],
            decision["entry"],
            "wrong",
        )
        again = service.post(f"{base}/audit/{decision['entry']}/undo", {})
        assert f"changed since by entry {newest['entry']}" in problem(again, 409, "conflict")["detail"]
    assert service.http.get(f"{base}/rule").json()["board"]["slots"] == 50
    assert service.http.get(f"{base}/orders").json()["orders"] == []
    assert "stock" not in service.http.get(f"{base}/runners/p-1").json()
    assert service.http.get(f"{base}/access").json()["slots_public"] is True


def test_an_undo_that_would_break_what_holds_now_is_refused(service: Running) -> None:
    """What it would bring back is checked as if it were new."""
    venue = service.made_venue("p-1", "p-2")
    put(service, venue, "hero", **PIN)
    gone = service.http.delete(f"/v1/venues/{venue}/orders/hero").json()["entry"]
    put(service, venue, "other", **{**PIN, "product": "p-2"})
    answer = service.post(f"/v1/venues/{venue}/audit/{gone}/undo", {})
    assert "slot 1 is held for 'p-2' by pin 'other'" in problem(answer, 409, "conflict")["detail"]
