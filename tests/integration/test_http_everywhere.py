"""One call for all venues: exclusions with a result for each, and events of senders that know only the product."""

from __future__ import annotations

from typing import Any

import pytest

from api.sending import send
from racing.errors import StoreUnavailableError
from tests.integration.contract import problem
from tests.integration.keyed import CLOSED, OPEN, OTHER, OWN, Keyed
from tests.integration.running import Running
from tests.waiting import until

KEY = {"Idempotency-Key": "orders-1"}


def results(answer: Any) -> dict[str, str]:
    assert answer.is_success, answer.text
    return {each["venue"]: each["result"] for each in answer.json()["venues"]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"product": "p"}, "reason: is required"),
        ({"reason": "r"}, "exactly one of product and merchant"),
        ({"product": "p", "merchant": "m", "reason": "r"}, "exactly one of product and merchant"),
        ({"product": "a b", "reason": "r"}, "product: must be 1 to 64"),
        ({"product": "p", "reason": "r", "venues": []}, "venues: no such field"),
    ],
)
def test_a_wrong_exclusion_is_refused(service: Running, body: dict[str, Any], words: str) -> None:
    assert words in problem(service.post("/v1/exclusions", body), 422, "invalid")["detail"]


def test_a_product_leaves_every_board_by_one_call_and_comes_back(service: Running) -> None:
    """Where it races; what it says of each venue is a frame that holds it."""
    venues = [service.made_venue("x-1", "x-2"), service.made_venue("x-2"), service.made_venue("x-1")]
    for venue in venues:
        until(lambda v=venue: service.slots(v).json()["slots"], within_s=5, what="a board")  # type: ignore[misc]  # bound now
    answer = service.post("/v1/exclusions", {"product": "x-1", "reason": "recall"})
    found = results(answer)
    assert [found[venue] for venue in venues] == ["done", "not there", "done"]
    for each in answer.json()["venues"]:
        if each["venue"] in venues and each["result"] == "done" and each["frame"] is not None:
            board = service.slots(each["venue"]).json()
            assert (board["epoch"], board["frame"]) >= (each["epoch"], each["frame"])
            assert "x-1" not in {slot["product"] for slot in board["slots"]}
    assert results(service.post("/v1/exclusions", {"product": "x-1", "reason": "recall"}))[venues[0]] == "so already"
    back = results(service.post("/v1/exclusions/restore", {"product": "x-1"}))
    assert [back[venue] for venue in venues] == ["done", "not there", "done"]
    until(lambda: "x-1" in service.scores(venues[0]), within_s=5, what="it is back")


def test_a_call_for_all_venues_reaches_those_of_the_key(keyed_service: Keyed) -> None:
    """An operator's own ones; an admin's are all."""
    for who, reached in (("operator", {OPEN, CLOSED}), ("other operator", {OTHER})):
        found = results(keyed_service.ask(who, "POST", "/v1/exclusions", {"merchant": "m-x", "reason": "fraud"}))
        assert set(found) == reached
    back = results(keyed_service.ask("admin", "POST", "/v1/exclusions/restore", {"merchant": "m-x"}))
    assert {back[venue] for venue in (OPEN, CLOSED, OTHER)} == {"done"}


# -- events that know only the product ------------------------------------------------------------------------


def test_events_without_a_key_are_refused(service: Running) -> None:
    body = {"events": [{"type": "order", "product": "y-1"}]}
    assert "Idempotency-Key" in problem(service.post("/v1/events", body), 422, "invalid")["detail"].title()
    problem(service.post("/v1/events", {"events": 5}, **KEY), 422, "invalid")


def test_an_order_reaches_every_venue_that_its_product_races_in_once(service: Running) -> None:
    """Sent again with its key it is counted no second time; what no venue takes is refused."""
    venues = [service.made_venue("y-1", "y-2"), service.made_venue("y-1"), service.made_venue("y-3")]
    service.http.put(f"/v1/venues/{venues[2]}/state", json={"state": "closed"})
    body = {
        "events": [
            {"type": "order", "product": "y-1"},
            {"type": "order", "product": "y-2"},
            {"type": "order", "product": "y-3"},
            {"type": "order", "product": "y-1", "amount": -5},
        ]
    }
    first = service.post("/v1/events", body, **KEY)
    assert first.status_code == 202, first.text
    found = {each["venue"]: each["accepted"] for each in first.json()["venues"]}
    assert found == {venues[0]: 2, venues[1]: 1}
    assert [(each["index"], each["code"]) for each in first.json()["refused"]] == [
        (2, "unknown_product"),
        (3, first.json()["refused"][1]["code"]),
    ]
    assert first.json()["refused"][1]["code"] != "unknown_product"
    again = service.post("/v1/events", body, **KEY)
    assert again.json() == first.json()
    for venue, count in ((venues[0], 1), (venues[1], 1)):
        position = next(each["position"] for each in first.json()["venues"] if each["venue"] == venue)
        service.folded(venue, position)
        assert service.total(venue, "order:count") == count
    nowhere = service.post("/v1/events", {"events": [{"type": "order", "product": "y-9"}]}, **{"Idempotency-Key": "n"})
    assert (nowhere.status_code, nowhere.json()["venues"]) == (202, [])
    assert "enrolled in no venue" in nowhere.json()["refused"][0]["reason"]


def test_a_venue_that_did_not_append_is_named_and_a_retry_completes_the_rest(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    venues = [service.made_venue("z-1"), service.made_venue("z-1")]
    body = {"events": [{"type": "order", "product": "z-1"}]}

    async def away(service: Any, view: Any, sent: Any) -> bytes:
        if view.venue.venue == venues[1]:
            raise StoreUnavailableError("Redis is away")
        return await send(service, view, sent)

    monkeypatch.setattr("api.sending_everywhere.send", away)
    key = {"Idempotency-Key": "orders-2"}
    found = problem(service.post("/v1/events", body, **key), 503, "unavailable")
    assert f"venues {venues[1]} have not appended" in found["detail"]
    monkeypatch.setattr("api.sending_everywhere.send", send)
    again = service.post("/v1/events", body, **key)
    assert again.status_code == 202
    for each in again.json()["venues"]:
        service.folded(each["venue"], each["position"])
        assert service.total(each["venue"], "order:count") == 1


def test_events_reach_no_venue_that_the_key_does_not(keyed_service: Keyed) -> None:
    body = {"events": [{"type": "click", "product": OWN}]}
    answer = keyed_service.ask("events", "POST", "/v1/events", body, Idempotency_Key="k-1")
    assert answer.status_code == 202, answer.text
    assert {each["venue"] for each in answer.json()["venues"]} == {OPEN, CLOSED}
