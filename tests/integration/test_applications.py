"""Applications: merchants propose products, each condition is told, operators let them in or not."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.integration.contract import RULE, problem
from tests.integration.keyed import CLOSED, FOREIGN, OPEN, OTHER, OWN, Keyed
from tests.integration.running import Running

CONDITIONS = {"rating_min": 4.5, "stock_min": 100, "price_max": 20_000}


def product(name: str, **data: Any) -> dict[str, Any]:
    given = {"stock": 500, "price": 9_900, "attributes": {"rating": 4.8}, **data}
    return {"product": name, "title": f"The {name}", **given}


@pytest.fixture
def venue(service: Running) -> str:
    name = service.made_venue("taken")
    answer = service.http.put(f"/v1/venues/{name}/entry", json=CONDITIONS)
    assert answer.status_code == 200, answer.text
    assert answer.json() == CONDITIONS == service.http.get(f"/v1/venues/{name}/entry").json()
    return name


def applied(service: Running, venue: str, *products: dict[str, Any], merchant: str = "m-apply") -> dict[str, Any]:
    body = {"venue": venue, "products": list(products)}
    answer = service.http.post(f"/v1/merchants/{merchant}/applications", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def decided(service: Running, venue: str, application: str, **decision: Any) -> httpx2.Response:
    return service.http.post(f"/v1/venues/{venue}/applications/{application}/decision", json=decision)


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({"products": []}, "must have 1 or more entries"),
        ({"products": [product("a"), product("a")]}, "comes twice"),
        ({"products": [{**product("a"), "merchant": "m-2"}]}, "no such field"),
        ({"products": [product("a", price=-1)]}, "must be at least 0"),
    ],
)
def test_application_that_cannot_be_is_refused(service: Running, venue: str, body: dict[str, Any], right: str) -> None:
    answer = service.http.post("/v1/merchants/m-apply/applications", json={"venue": venue, **body})
    assert right in problem(answer, 422, "invalid")["detail"]


def test_application_for_no_venue_is_refused(service: Running) -> None:
    body = {"venue": "hall-none", "products": [product("a")]}
    problem(service.http.post("/v1/merchants/m-apply/applications", json=body), 404, "not_found")


@pytest.mark.parametrize("conditions", [{"stock_min": -1}, {"price_min": 5, "price_max": 1}, {"size": 1}])
def test_conditions_that_cannot_be_are_refused(service: Running, venue: str, conditions: dict[str, Any]) -> None:
    problem(service.http.put(f"/v1/venues/{venue}/entry", json=conditions), 422, "invalid")


def test_decision_of_nothing_or_of_strangers_is_refused(service: Running, venue: str) -> None:
    name = applied(service, venue, product("weak", stock=1))["application"]["application"]
    assert (
        "none meets every condition" in problem(decided(service, venue, name, approve=True), 422, "invalid")["detail"]
    )
    answer = decided(service, venue, name, approve=True, products=["other"])
    assert "'other' did not apply" in problem(answer, 422, "invalid")["detail"]
    problem(decided(service, venue, name, approve=False, products=["weak"]), 422, "invalid")
    problem(decided(service, venue, "1-a", approve=False), 404, "not_found")
    problem(service.http.get(f"/v1/venues/{venue}/applications/1-a"), 404, "not_found")


def test_product_of_another_merchant_is_never_taken_over(service: Running, venue: str) -> None:
    """Who applies is not told that there is one; who decides is."""
    told = applied(service, venue, product("taken"), product("free"))
    assert [each["passed"] for each in told["products"]] == [True, True]
    name = told["application"]["application"]
    refused = decided(service, venue, name, approve=True)
    assert "'taken' race in venue" in problem(refused, 409, "conflict")["detail"]
    assert decided(service, venue, name, approve=True, products=["free"]).status_code == 200
    found = service.http.get(f"/v1/venues/{venue}/runners/taken").json()
    assert found["merchant"] == "m-1"


# -- what becomes of them -------------------------------------------------------------------------------------


def test_each_condition_is_told_with_value_and_bound(service: Running, venue: str) -> None:
    told = applied(service, venue, product("good"), product("few", stock=99, attributes={}))
    assert (told["application"]["state"], told["application"]["products"], told["application"]["passed"]) == (
        "waiting",
        2,
        1,
    )
    good, few = told["products"]
    assert all(check["passed"] for check in good["checks"])
    assert few["checks"] == [
        {"condition": "rating_min", "passed": False, "value": None, "bound": 4.5},
        {"condition": "stock_min", "passed": False, "value": 99, "bound": 100},
        {"condition": "price_max", "passed": True, "value": 9_900, "bound": 20_000},
    ]


def test_approval_enrols_what_passes_and_can_be_repeated(service: Running, venue: str) -> None:
    name = applied(service, venue, product("good"), product("few", stock=1))["application"]["application"]
    for _ in range(2):
        answer = decided(service, venue, name, approve=True, note="welcome")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["application"]["state"], told["application"]["note"]) == ("approved", "welcome")
        assert [(each["product"], each["approved"]) for each in told["products"]] == [("good", True), ("few", False)]
    assert service.http.get(f"/v1/venues/{venue}/runners/good").json()["merchant"] == "m-apply"
    problem(service.http.get(f"/v1/venues/{venue}/runners/few"), 404, "not_found")
    problem(decided(service, venue, name, approve=False), 409, "conflict")


def test_operator_may_let_in_what_fails(service: Running, venue: str) -> None:
    name = applied(service, venue, product("few", stock=1))["application"]["application"]
    assert decided(service, venue, name, approve=True, products=["few"]).status_code == 200
    assert service.http.get(f"/v1/venues/{venue}/runners/few").status_code == 200


def test_refusal_enrols_nothing_and_tells_why(service: Running, venue: str) -> None:
    name = applied(service, venue, product("good"))["application"]["application"]
    assert decided(service, venue, name, approve=False, note="next time").status_code == 200
    seen = service.http.get(f"/v1/merchants/m-apply/applications/{name}").json()
    assert (seen["application"]["state"], seen["application"]["note"]) == ("refused", "next time")
    problem(service.http.get(f"/v1/venues/{venue}/runners/good"), 404, "not_found")


def test_lists_are_paged_newest_first(service: Running, venue: str) -> None:
    names = [applied(service, venue, product(f"p-{n}"))["application"]["application"] for n in range(3)]
    decided(service, venue, names[1], approve=False)

    def listed(path: str, **query: Any) -> dict[str, Any]:
        answer = service.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    for path in (f"/v1/venues/{venue}/applications", "/v1/merchants/m-apply/applications"):
        scope = {"venue": venue} if "merchants" in path else {}
        first = listed(path, limit=2, **scope)
        rest = listed(path, limit=2, cursor=first["next_cursor"], **scope)
        found = [each["application"] for each in first["applications"] + rest["applications"]]
        assert found == names[::-1] or sorted(found) == sorted(names)  # those of one millisecond in either order
        waiting = listed(path, state="waiting", **scope)
        assert {each["application"] for each in waiting["applications"]} == {names[0], names[2]}
    assert listed("/v1/merchants/m-other/applications", venue=venue)["applications"] == []


# -- the rule in words ----------------------------------------------------------------------------------------


def test_rule_and_that_of_the_next_phase_are_told_in_words(service: Running) -> None:
    venue = service.made_venue(rule=RULE)
    told = service.http.get(f"/v1/venues/{venue}/rule/words", params={"lang": "en"}).json()
    assert (told["language"], told["next"]) == ("en", None)
    assert told["now"]["sentences"][-1] == "The venue has 50 slots."
    phase = {"title": "爆发", "rule": {**RULE, "board": {"slots": 60}}, "start": "2036-11-11T00:00:00+08:00"}
    sent = service.http.put(f"/v1/venues/{venue}/phases/burst", json=phase)
    assert sent.is_success, sent.text
    told = service.http.get(f"/v1/venues/{venue}/rule/words").json()
    assert told["now"]["sentences"][-1] == "会场共50个坑位。"
    assert (told["next"]["title"], told["next"]["sentences"][-1]) == ("爆发", "会场共60个坑位。")
    problem(service.http.get(f"/v1/venues/{venue}/rule/words?lang=fr"), 422, "invalid")


# -- keys -----------------------------------------------------------------------------------------------------


def test_application_of_another_merchant_looks_as_one_that_is_not(keyed_service: Keyed) -> None:
    body = {"venue": OPEN, "products": [product("p-secret")]}
    sent = keyed_service.ask("other merchant", "POST", "/v1/merchants/m-foreign/applications", body)
    assert sent.status_code == 201, sent.text
    name = sent.json()["application"]["application"]
    absent = name[:-4] + "zzzz"
    path = "/v1/merchants/m-own/applications"
    one, other = (keyed_service.ask("merchant", "GET", f"{path}/{each}") for each in (name, absent))
    assert one.text.replace(name, absent) == other.text
    assert one.headers["content-length"] == other.headers["content-length"]
    assert name not in keyed_service.ask("merchant", "GET", path).text
    assert name in keyed_service.ask("other merchant", "GET", "/v1/merchants/m-foreign/applications").text


def test_merchant_applies_only_where_its_key_reaches(keyed_service: Keyed) -> None:
    for venue, status in ((OPEN, 201), (CLOSED, 201), (OTHER, 404), ("hall-none", 404)):
        body = {"venue": venue, "products": [product(OWN), product(FOREIGN)]}
        answer = keyed_service.ask("merchant", "POST", "/v1/merchants/m-own/applications", body)
        assert answer.status_code == status, answer.text
