"""The life of venues over HTTP: states, clones, rehearsals that no reader sees, heats and their final."""

from __future__ import annotations

from typing import Any

import pytest

from racing.store.keys import VENUES
from tests.integration.contract import problem
from tests.integration.keyed import Keyed
from tests.integration.running import PLAIN_RULE, Running
from tests.waiting import until

EMPTY: dict[str, Any] = {}


def move(service: Running, venue: str, state: str) -> Any:
    return service.http.put(f"/v1/venues/{venue}/state", json={"state": state})


def draft(service: Running, name: str, **given: Any) -> str:
    made = service.http.post("/v1/venues", json={"venue": name, "rule": PLAIN_RULE, "state": "draft", **given})
    assert made.status_code == 201, made.text
    service.enrol(name, "p-1", "p-2")
    return name


@pytest.mark.parametrize(
    ("begun", "path", "after", "words"),
    [
        ("draft", [], "closed", "it can become rehearsal or open or archived, not closed"),
        ("rehearsal", [], "open", "since what it has counted was a rehearsal: clone it"),
        ("open", [], "archived", "is open: it can become closed, not archived"),
        ("open", ["closed", "archived"], "open", "is archived: it can become nothing else, not open: clone it"),
    ],
)
def test_a_move_that_no_life_makes_is_refused(
    service: Running, begun: str, path: list[str], after: str, words: str
) -> None:
    name = f"life-{begun}-{after}"
    assert service.http.post("/v1/venues", json={"venue": name, "state": begun}).status_code == 201
    for state in path:
        assert move(service, name, state).status_code == 200
    assert words in problem(move(service, name, after), 409, "conflict")["detail"]
    assert "state: must be one of" in problem(move(service, name, "paused"), 422, "invalid")["detail"]


def test_events_are_taken_while_a_venue_is_open(service: Running) -> None:
    """By either way in; the refusal says in which state it is. Each move is audited and may be undone."""
    venue = draft(service, "life-1")
    event = {"type": "order", "product": "p-1"}
    assert "is draft" in problem(service.send(venue, event), 409, "conflict")["detail"]
    assert move(service, venue, "open").json()["may_become"] == ["closed"]
    assert service.send(venue, event).status_code == 202
    closed = move(service, venue, "closed")
    for _ in range(2):
        assert "is closed" in problem(service.send(venue, event), 409, "conflict")["detail"]
    assert move(service, venue, "closed").json()["entry"] is None, "it is so already"
    undone = service.post(f"/v1/venues/{venue}/audit/{closed.json()['entry']}/undo", {})
    assert undone.is_success, undone.text
    assert service.http.get(f"/v1/venues/{venue}/state").json()["state"] == "open"
    opened = service.http.get(f"/v1/venues/{venue}/audit?what=venue").json()["decisions"][-1]["entry"]
    back = service.post(f"/v1/venues/{venue}/audit/{opened}/undo", {})
    assert "it can become closed, not draft" in problem(back, 409, "conflict")["detail"]
    assert service.send(venue, event).status_code == 202


def test_a_clone_has_all_but_what_was_raced(service: Running) -> None:
    venue = service.made_venue("p-2", "p-1")
    base = f"/v1/venues/{venue}"
    service.http.put(f"{base}/conditions", json={"stock_min": 1})
    service.send(venue, {"type": "order", "product": "p-1"})
    phase = {"kind": "phase", "id": "burst", "title": "t", "rule": {**PLAIN_RULE, "window_s": 60}}
    orders = [
        {"kind": "pin", "id": "hero", "product": "p-1", "slot": 1},
        {"kind": "pin", "id": "old", "product": "p-1", "slot": 2, "end_ms": 1},
        {**phase, "start": "2036-11-11T00:00:00+08:00"},
    ]
    assert service.http.post(f"{base}/orders", json={"put": orders}).is_success
    made = service.post(f"{base}/clone?waive=true", {"venue": "clone-1", "state": "rehearsal"})
    assert made.status_code == 201, made.text
    assert made.json() == {"venue": "clone-1", "state": "rehearsal", "runners": 2, "orders": 2, "refused": []}
    there = "/v1/venues/clone-1"
    assert [each["product"] for each in service.http.get(f"{there}/runners").json()["runners"]] == ["p-2", "p-1"]
    assert [each["id"] for each in service.http.get(f"{there}/orders").json()["orders"]] == ["burst", "hero"]
    assert service.http.get(f"{there}/rule").json() == service.http.get(f"{base}/rule").json()
    assert service.http.get(f"{there}/conditions").json() == {"stock_min": 1}
    until(lambda: service.slots("clone-1").json()["slots"], within_s=5, what="the clone has a board")
    assert set(service.scores("clone-1").values()) == {0}
    again = service.post(f"{base}/clone", {"venue": "clone-1"})
    assert "exists already" in problem(again, 409, "conflict")["detail"]


def test_a_product_that_fails_the_entry_conditions_stays_behind_and_stops_nobody(service: Running) -> None:
    """In a clone and in a final alike: it is told with what it lacks."""
    venue = service.made_venue("p-1", "p-2")
    base = f"/v1/venues/{venue}"
    service.http.patch(f"{base}/runners/p-2", json={"stock": 5})
    conditions = {"stock_min": 1}
    service.http.put(f"{base}/conditions", json=conditions)
    missing = [{"field": "stock", "expected": "must be stated, and must be at least 1", "value": None}]
    until(
        lambda: service.post(f"{base}/clone", {"venue": "clone-of-those"}).json().get("runners") == 1,
        within_s=5,
        what="a clone leaves out who fails",
    )
    told = service.post(f"{base}/clone", {"venue": "clone-of-those"}).json()
    assert (told["runners"], told["refused"]) == (1, [{"product": "p-1", "errors": missing}])
    until(lambda: service.slots(venue).json()["slots"], within_s=5, what="the heat has a board")
    final = service.made_venue()
    service.http.put(f"/v1/venues/{final}/conditions", json=conditions)
    found = service.post(f"/v1/venues/{final}/finalists", {"venues": [venue]}).json()
    assert [each["product"] for each in found["runners"]] == ["p-2"]
    assert found["refused"] == [{"product": "p-1", "errors": missing}]


def test_a_clone_that_was_begun_is_completed_by_the_same_call(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    assert service.post(f"/v1/venues/{venue}/clone", {"venue": "clone-2"}).status_code == 201
    again = service.post(f"/v1/venues/{venue}/clone", {"venue": "clone-2", "state": "open"})
    assert (again.status_code, again.json()["state"]) == (201, "open")


def test_a_rehearsal_takes_load_and_reaches_no_reader(keyed_service: Keyed) -> None:
    """Absent as a venue that is not, but for its operators; and so is a draft."""
    name = "hall-rehearsal"
    made = keyed_service.ask("admin", "POST", "/v1/venues", {"venue": name, "state": "rehearsal"})
    assert made.status_code == 201
    runner = {"product": "p-1", "merchant": "m-own", "title": "One"}
    keyed_service.ask("admin", "POST", f"/v1/venues/{name}/runners", runner)
    keyed_service.make("slots of rehearsals", "slots:read")
    keyed_service.make("sender of rehearsals", "events:write")
    body = {"events": [{"type": "click", "product": "p-1"}]}
    assert keyed_service.ask("sender of rehearsals", "POST", f"/v1/venues/{name}/events", body).status_code == 202
    for who in ("anonymous", "slots of rehearsals"):
        for path in ("", "/slots"):
            answer = keyed_service.ask(who, "GET", f"/v1/venues/{name}{path}")
            other = keyed_service.ask(who, "GET", f"/v1/venues/hall-nothing--{path}")
            assert answer.status_code == other.status_code == 404
            assert answer.text.replace(name, "hall-nothing--") == other.text
        listed = keyed_service.ask(who, "GET", "/v1/venues").json()["venues"]
        assert name not in {each["venue"] for each in listed}
    assert keyed_service.ask("slots of rehearsals", "POST", f"/v1/venues/{name}/tickets").status_code == 404
    assert keyed_service.ask("admin", "GET", f"/v1/venues/{name}/slots").status_code == 200
    keyed_service.service.redis.hdel(VENUES, name)  # other tests list all that there is


def test_a_main_venue_takes_the_leaders_of_its_sub_venues(service: Running) -> None:
    """By their boards as they stand; a product that leads two heats is enrolled once; what is there already stays."""
    problem(service.post("/v1/venues", {"venue": "sub-x", "parent": "none"}), 404, "not_found")
    main = service.made_venue("p-1")
    alone = service.post(f"/v1/venues/{main}/finalists", EMPTY)
    assert "for its parent" in problem(alone, 409, "conflict")["detail"]
    for sub in ("sub-a", "sub-b"):
        assert service.post("/v1/venues", {"venue": sub, "parent": main, "rule": PLAIN_RULE}).status_code == 201
    service.enrol("sub-a", "p-1", "p-2", "p-3")
    service.enrol("sub-b", "p-4", "p-2")
    for sub, product in (("sub-a", "p-3"), ("sub-b", "p-2")):
        service.send(sub, {"type": "order", "product": product})
        until(lambda s=sub, p=product: list(service.scores(s))[:1] == [p], within_s=5, what="the leader leads")  # type: ignore[misc]  # bound now
    found = service.post(f"/v1/venues/{main}/finalists", {"take": 2})
    assert found.status_code == 200, found.text
    assert [(heat["venue"], heat["products"]) for heat in found.json()["heats"]] == [
        ("sub-a", ["p-3", "p-1"]),
        ("sub-b", ["p-2", "p-4"]),
    ]
    assert {each["product"] for each in found.json()["runners"]} == {"p-2", "p-3", "p-4"}
    again = service.post(f"/v1/venues/{main}/finalists", {"take": 2})
    assert again.json()["runners"] == []
    assert service.http.get("/v1/venues/sub-a").json()["parent"] == main
