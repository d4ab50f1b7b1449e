"""Preview, what-if, explain and advice over HTTP, answered by the follower processes of a running service."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx2
import psutil
import pytest

from racing.model import Position
from tests.integration.contract import RULE, problem
from tests.integration.keyed import CLOSED, FOREIGN, OPEN, OWN, Keyed
from tests.integration.running import PLAIN_RULE, Running
from tests.waiting import until

SLOW_S = 60
"""A follower is a Python that starts; a loaded machine takes its time."""


def events(**counts: int) -> list[dict[str, Any]]:
    """So many orders of each product, p_1 standing for p-1."""
    return [
        {"type": "order", "product": product.replace("_", "-")}
        for product, count in counts.items()
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue whose score is the number of orders: p-2 has 5, p-3 has 2, p-1 none."""
    made = service.made_venue("p-1", "p-2", "p-3")
    sent = service.send(made, *events(p_2=5, p_3=2))
    service.folded(made, sent.json()["position"])
    until(lambda: service.scores(made).get("p-2") == 5, within_s=10, what="readers see what was folded")
    return made


def ask(service: Running, path: str, **query: Any) -> httpx2.Response:
    return service.http.get(f"/v1/{path}", params=query, timeout=SLOW_S)


def draft(service: Running, venue: str, path: str, body: dict[str, Any]) -> httpx2.Response:
    return service.http.post(f"/v1/venues/{venue}/rule/{path}", json=body, timeout=SLOW_S)


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("preview", {"rule": {}}, "rule.metrics: is required"),
        ("preview", {"slots": 5}, "slots: no such field; there are rule, put, withdraw"),
        ("preview", {"put": [{"kind": "pin", "id": "a", "product": "p-1", "slot": 0}]}, "slot: must be at least 1"),
        ("what-if", {}, "names nothing that would be otherwise"),
        ("what-if", {"rule": RULE, "minutes": 0}, "minutes: must be at least 1"),
        ("what-if", {"rule": RULE, "minutes": 60, "every_s": 0}, "every_s: must be at least 1"),
    ],
)
def test_a_wrong_draft_is_refused_with_its_field(
    service: Running, venue: str, path: str, body: dict[str, Any], words: str
) -> None:
    assert words in problem(draft(service, venue, path, body), 422, "invalid")["detail"]


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("runners/p-1/explain", {"at_ms": 5, "frame": 1}, 422, "give one of at_ms, frame"),
        ("runners/p-1/explain", {"at_ms": 2**52}, 422, "at_ms: must not lie ahead"),
        ("runners/p-1/explain", {"at_ms": 5}, 410, "had not begun then: it did at"),
        ("runners/p-9/explain", {}, 404, "no product 'p-9'"),
        ("runners/p-1/explain", {"frame": 99_999}, 404, "no frame 99999 yet"),
        ("slots/4/explain", {}, 404, "has 3 slots, and no slot 4"),
        ("slots/1001/explain", {}, 422, "slot"),
        ("slots/1/explain", {"at_ms": 5}, 410, "the earliest is"),
    ],
)
def test_a_wrong_question_is_refused_with_its_reason(
    service: Running, venue: str, path: str, query: dict[str, int], status: int, words: str
) -> None:
    code = {404: "not_found", 410: "gone", 422: "invalid"}[status]
    assert words in problem(ask(service, f"venues/{venue}/{path}", **query), status, code)["detail"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({}, 422, "query.venue: is required"),
        ({"venue": "hall-none"}, 404, "no venue 'hall-none'"),
        ({"slot": 1, "standing": 1}, 422, "give one of slot, standing"),
        ({"slot": 51}, 422, "slot: must be at most 50"),
        ({"standing": 4}, 422, "standing: must be at most 3"),
    ],
)
def test_wrong_advice_is_refused_with_its_reason(
    service: Running, venue: str, query: dict[str, Any], status: int, words: str
) -> None:
    given = {"venue": venue, **query} if query else {}
    found = problem(
        ask(service, "merchants/m-1/runners/p-1/advice", **given), status, {404: "not_found"}.get(status, "invalid")
    )
    assert words in found["detail"]


# -- answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"rules": "on"}, "query.rules: must be one of 'off'"),
        ({"rules": "off", "at_ms": 5}, "query.at_ms: does not go with rules=off: leave it out"),
        ({"rules": "off", "tokens": "true"}, "query.tokens: does not go with rules=off"),
        ({"rules": "off", "category": "audio"}, "query.category: does not go with rules=off"),
        ({"rules": "off", "fields": "colour"}, "query.fields: must be out of"),
    ],
)
def test_rules_are_off_of_the_race_as_it_stands_only(
    service: Running, venue: str, query: dict[str, Any], words: str
) -> None:
    assert words in problem(ask(service, f"venues/{venue}/slots", **query), 422, "invalid")["detail"]


def test_with_rules_off_products_come_by_score_alone_and_the_board_stays(service: Running) -> None:
    """p-1 is pinned first and boosted, p-2, the best, is excluded: the plain order knows nothing of it."""
    steered = service.made_venue("p-1", "p-2", "p-3")
    position = service.send(steered, *events(p_1=1, p_2=5, p_3=2)).json()["position"]
    service.folded(steered, position)
    pin = {"kind": "pin", "id": "first", "product": "p-1", "slot": 1}
    more = {"kind": "boost", "id": "more", "product": "p-1", "factor": 9}
    away = {"kind": "exclude", "id": "away", "product": "p-2", "reason": "recall"}
    assert service.post(f"/v1/venues/{steered}/orders", {"put": [pin, more, away]}).is_success
    board = service.slots(steered).json()
    assert [(slot["product"], slot["score"]) for slot in board["slots"]] == [("p-1", 9), ("p-3", 2)]

    answer = ask(service, f"venues/{steered}/slots", rules="off", limit=2)
    found = answer.json()
    assert (found["served"], found["runners"], found["next"], found["stale"]) == ("standings", 3, None, False)
    assert [(slot["slot"], slot["product"], slot["score"], slot["title"]) for slot in found["slots"]] == [
        (1, "p-2", 5, "The p-2"),
        (2, "p-3", 2, "The p-3"),
    ]
    assert [slot.get("badges") for slot in found["slots"]] == [["excluded"], None]
    assert answer.headers["cache-control"].startswith("private")

    def unchanged() -> httpx2.Response | None:
        """The second of two reads in one frame; None where another frame came between them."""
        tag = ask(service, f"venues/{steered}/slots", rules="off", limit=2).headers["etag"]
        path = f"/v1/venues/{steered}/slots?rules=off&limit=2"
        again = service.http.get(path, headers={"if-none-match": tag}, timeout=SLOW_S)
        return again if again.status_code == 304 else None

    assert until(unchanged, within_s=10, what="nothing moved between two reads").content == b""
    assert service.slots(steered).json()["slots"] == board["slots"]
    bare = ask(service, f"venues/{steered}/slots", rules="off", fields="score").json()["slots"]
    assert [slot.keys() for slot in bare] == [{"slot", "product", "score"}] * 3


def test_stock_alerts_name_who_sells_out_before_goods_come(service: Running) -> None:
    """p-1 has 2 pieces and sold 3 in the window; p-2 has plenty, of p-3 nothing is known."""
    made = service.made_venue("p-1", "p-2", "p-3")
    stocks = [{"type": "stock", "product": "p-1", "amount": 2}, {"type": "stock", "product": "p-2", "amount": 9000}]
    pays = [{"type": "pay", "product": product, "amount": 100} for product in ("p-1", "p-1", "p-1", "p-2")]
    service.folded(made, service.send(made, *stocks, *pays).json()["position"])
    path = f"venues/{made}/stock-alerts"
    assert "limit: must be at least 1" in problem(ask(service, path, limit=0), 422, "invalid")["detail"]
    found = ask(service, path, lead_time_s=3600).json()
    (alert,) = found["alerts"]
    pace = 3 / found["window_s"]
    assert (found["watched"], found["more"], alert["product"], alert["stock"]) == (2, 0, "p-1", 2)
    assert (alert["per_hour"], alert["threshold"]) == (pytest.approx(3600 * pace), pytest.approx(3600 * pace))
    assert alert["sells_out_at_ms"] - found["at_ms"] == pytest.approx(2000 / pace, abs=1)
    assert ask(service, path, safety_stock=9000, limit=1).json()["more"] == 1


def test_in_a_segment_questions_are_of_the_board_that_readers_have_there(service: Running) -> None:
    """New customers order p-3, all others p-2; what nobody declares is refused as GET slots refuses it."""
    levels = {**PLAIN_RULE, "terms": [{"metric": "order", "signal": "level", "weight": 1}]}
    rule = {**levels, "window_s": 300, "bucket_s": 1, "segments": {"names": ["new"], "prior": 2}}
    made = service.made_venue("p-1", "p-2", "p-3", rule=rule)
    new = [{**event, "segment": "new"} for event in events(p_3=4)]
    service.folded(made, service.send(made, *events(p_2=5), *new).json()["position"])

    def slots(segment: str) -> httpx2.Response:
        return ask(service, f"venues/{made}/slots", segment=segment)

    def leads() -> bool:
        return [slot["product"] for slot in slots("new").json()["slots"]][:1] == ["p-3"]

    until(leads, within_s=10, what="a bucket has ended, and the segment's part of the venue is known")
    first = slots("new").json()["slots"][0]
    preview = f"venues/{made}/rule/preview"
    found = ask(service, f"venues/{made}/runners/p-3/explain", segment="new").json()
    assert (found["slot"], found["score"], found["summed"]) == (1, first["score"], first["score"])
    assert (found["segment"]["events"], found["segment"]["weight"]) == (4, 4 / 6)
    held = ask(service, f"venues/{made}/slots/1/explain", segment="new").json()
    assert (held["held"]["product"], held["held"]["score"]) == ("p-3", first["score"])
    assert held["explained"]["segment"] == found["segment"]
    turned = {**rule, "terms": [{"metric": "order", "signal": "level", "weight": -1}]}
    drafted = service.http.post(
        f"/v1/{preview}", params={"segment": "new"}, json={"rule": turned}, timeout=SLOW_S
    ).json()
    assert [(slot["product"], slot["score"]) for slot in drafted["slots"]][-1] == ("p-3", -first["score"])
    assert [(move["product"], move["slot_before"]) for move in drafted["fell"]] == [("p-3", 1)]

    refused = problem(slots("gold"), 422, "invalid")
    for path in ("runners/p-3/explain", "slots/1/explain"):
        assert problem(ask(service, f"venues/{made}/{path}", segment="gold"), 422, "invalid") == refused
    answer = service.http.post(f"/v1/{preview}", params={"segment": "gold"}, json={"rule": turned}, timeout=SLOW_S)
    assert problem(answer, 422, "invalid") == refused


def test_preview_shows_who_would_move_and_changes_nothing(service: Running, venue: str) -> None:
    before = service.slots(venue).json()
    turned = {**PLAIN_RULE, "terms": [{"metric": "order", "signal": "level", "weight": -1}], "board": {"slots": 2}}
    found = draft(service, venue, "preview", {"rule": turned}).json()
    assert [slot["product"] for slot in found["slots"]] == ["p-1", "p-3"]
    (left,), (rose,) = found["left"], found["rose"]
    assert (found["entered"], found["fell"], found["unmoved"], found["overlap"]) == ([], [], 1, 2 / 3)
    assert (rose["product"], rose["slot_before"], rose["slot_after"], rose["standing_after"]) == ("p-1", 3, 1, 1)
    assert (left["product"], left["slot_before"], left["slot_after"]) == ("p-2", 1, None)
    assert {"name": "order level", "before": None, "after": -5.0} in left["terms"]
    assert service.slots(venue).json() == before
    same = draft(service, venue, "preview", {}).json()
    assert [slot["product"] for slot in same["slots"]] == [slot["product"] for slot in before["slots"]]
    assert (same["unmoved"], same["frame"]) == (3, before["frame"])


def test_what_if_under_the_rule_in_force_is_what_was_served(service: Running, venue: str) -> None:
    rule = service.http.get(f"/v1/venues/{venue}/rule").json()
    found = draft(service, venue, "what-if", {"rule": rule, "minutes": 1, "every_s": 1}).json()
    assert found["same"] == len(found["boards"])
    assert found["events"] == 7


def test_a_product_and_a_slot_are_explained_from_the_same_terms(service: Running, venue: str) -> None:
    frame = service.slots(venue).json()
    first = frame["slots"][0]
    found = ask(service, f"venues/{venue}/runners/p-2/explain").json()
    assert found["terms"] == first["terms"]
    assert found["score"] == first["score"] == sum(term["contribution"] for term in found["terms"])
    assert (found["standing"], found["of"], found["slot"]) == (1, 3, 1)
    counted = {"metric": "order", "event": "order", "sum": "count"}
    assert found["sums"][0] == {**counted, "window": 5, "base": 0.0, "total": 5}
    for query in ({}, {"frame": frame["frame"]}, {"at_ms": frame["at_ms"]}):
        slot = ask(service, f"venues/{venue}/slots/1/explain", **query).json()
        assert slot["held"]["product"] == slot["explained"]["product"] == "p-2"
        assert slot["held"]["terms"] == slot["explained"]["terms"] == first["terms"]


def test_advice_followed_reaches_the_standing_and_one_order_less_does_not(service: Running) -> None:
    """By really sending the events."""
    venue = service.made_venue("p-1", "p-2", "p-3")
    service.folded(venue, service.send(venue, *events(p_2=5, p_3=2)).json()["position"])
    given = ask(service, "merchants/m-1/runners/p-3/advice", venue=venue, standing=1).json()
    (orders,) = [change for change in given["alone"] if change["event"] == "order"]
    assert (given["mode"], given["wanted"], orders["number"]) == ("exact", 1, 4)
    sent = service.send(venue, *events(p_3=orders["number"] - 1))
    service.folded(venue, sent.json()["position"])
    assert ask(service, f"venues/{venue}/runners/p-3/explain").json()["standing"] == 2
    service.folded(venue, service.send(venue, *events(p_3=1)).json()["position"])
    found = ask(service, f"venues/{venue}/runners/p-3/explain").json()
    assert (found["standing"], found["slot"]) == (orders["reaches_standing"], orders["reaches_slot"]) == (1, 1)


def test_a_follower_that_is_killed_is_back_with_the_next_question(service: Running, venue: str) -> None:
    ask(service, f"venues/{venue}/runners/p-1/explain")
    followers = [child for child in psutil.Process().children(recursive=True) if child.cmdline()[-1:] == ["follower"]]
    assert followers
    for each in followers:
        os.kill(each.pid, signal.SIGKILL)
    answer = ask(service, f"venues/{venue}/runners/p-1/explain")
    assert Position.parse(answer.json()["position"])


# -- who is told what ------------------------------------------------------------------------------------------


def test_of_others_a_merchant_is_told_who_holds_a_slot_and_no_more(keyed_service: Keyed) -> None:
    path = f"/v1/venues/{CLOSED}/slots"
    held = {
        slot: keyed_service.ask("admin", "GET", f"{path}/{slot}/explain").json()["held"]["product"] for slot in (1, 2)
    }
    for slot, product in held.items():
        own = "merchant" if product == OWN else "other merchant"
        other = "other merchant" if product == OWN else "merchant"
        assert keyed_service.ask(own, "GET", f"{path}/{slot}/explain").json()["explained"]["product"] == product
        brief = keyed_service.ask(other, "GET", f"{path}/{slot}/explain").json()
        assert brief["explained"] is None
        assert brief["held"].keys() == {"slot", "runner", "product"}
    assert set(held.values()) >= {OWN, FOREIGN}


def test_the_venue_says_how_exactly_merchants_are_told(keyed_service: Keyed) -> None:
    path = f"/v1/merchants/m-own/runners/{OWN}/advice?venue={OPEN}"
    access = keyed_service.ask("admin", "GET", f"/v1/venues/{OPEN}/access").json()
    assert access["advice"] == "coarse"
    assert keyed_service.ask("merchant", "GET", path).json()["mode"] == "coarse"
    assert keyed_service.ask("operator", "GET", path).json()["mode"] == "exact"
    try:
        for mode, status in (("exact", 200), ("off", 403)):
            keyed_service.ask("admin", "PUT", f"/v1/venues/{OPEN}/access", {**access, "advice": mode})
            assert keyed_service.ask("merchant", "GET", path).status_code == status
    finally:
        keyed_service.ask("admin", "PUT", f"/v1/venues/{OPEN}/access", access)


def test_advice_on_a_product_is_given_at_a_pace(keyed_service: Keyed) -> None:
    path = f"/v1/merchants/m-foreign/runners/{FOREIGN}/advice?venue={CLOSED}"
    found = [keyed_service.ask("other merchant", "GET", path) for _ in range(11)]
    assert [answer.status_code for answer in found[:10]] == [200] * 10
    assert "10 times in 60 s" in problem(found[10], 429, "too_many_requests")["detail"]
    assert 1 <= int(found[10].headers["retry-after"]) <= 60


# -- orders of the desk ----------------------------------------------------------------------------------------


def test_orders_that_nobody_has_put_are_previewed_with_who_is_hidden(service: Running, venue: str) -> None:
    """An exclusion and a pin; the board that is served stays."""
    before = service.slots(venue).json()
    put = [
        {"kind": "exclude", "id": "out", "product": "p-2", "reason": "complaints"},
        {"kind": "pin", "id": "top", "product": "p-1", "slot": 1},
    ]
    found = draft(service, venue, "preview?hidden=true", {"put": put}).json()
    assert [slot["product"] for slot in found["slots"]] == ["p-1", "p-3"]
    assert found["slots"][0]["steps"][-1] == {"step": "hard pins", "from_slot": 2, "to_slot": 1, "by": "pin top"}
    (hidden,) = found["hidden"]
    assert (hidden["product"], hidden["standing"], hidden["slot_before"]) == ("p-2", 1, 1)
    assert hidden["why"] == "out: complaints"
    assert draft(service, venue, "preview", {"put": put}).json()["hidden"] is None
    assert service.slots(venue).json() == before


def test_a_product_that_is_off_the_board_is_told_what_took_it_off(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    service.folded(venue, service.send(venue, *events(p_2=1)).json()["position"])
    order = {"kind": "exclude", "product": "p-2", "reason": "complaints"}
    put = service.http.put(f"/v1/venues/{venue}/orders/out", json=order)
    assert put.is_success, put.text
    service.folded(venue, put.json()["entry"])
    found = ask(service, f"venues/{venue}/runners/p-2/explain").json()
    assert (found["standing"], found["slot"]) == (1, None)
    assert found["out"] == {"step": "exclude", "from_slot": 1, "by": "out: complaints"}
    lifted = draft(service, venue, "preview", {"withdraw": ["out"]}).json()
    assert [move["product"] for move in lifted["entered"]] == ["p-2"]
