"""Plans over HTTP: checked when they are saved and when they are applied, and one decision each way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.contract import problem
from tests.integration.running import PLAIN_RULE, Running

SPARE = {"kind": "pin", "id": "spare", "product": "p-1", "slot": 1}
EMPTY: dict[str, Any] = {}


@pytest.fixture
def venue(service: Running) -> str:
    return service.made_venue("p-1", "p-2")


@pytest.mark.parametrize(
    ("plan", "status", "words"),
    [
        ({}, 422, "names nothing to do: give put, withdraw or rule"),
        ({"puts": []}, 422, "puts: no such field"),
        ({"put": [{**SPARE, "slot": 99}]}, 422, "slot: must be at most 50"),
        ({"put": [{**SPARE, "product": "p-9"}]}, 422, "product: must be enrolled"),
        ({"put": [{**SPARE, "start": "2026-11-11T00:00:00"}]}, 422, "put[0].start: must be a time with its offset"),
        ({"put": [SPARE, {**SPARE, "id": "b", "product": "p-2"}]}, 409, "slot 1 is held"),
        ({"withdraw": ["none"]}, 404, "there is no order 'none'"),
        ({"rule": {"metrics": {}}}, 422, "rule.terms: is required"),
    ],
)
def test_a_plan_that_could_not_be_applied_is_not_saved(
    service: Running, venue: str, plan: dict[str, Any], status: int, words: str
) -> None:
    code = {422: "invalid", 409: "conflict", 404: "not_found"}[status]
    answer = service.http.put(f"/v1/venues/{venue}/plans/rain", json=plan)
    assert words in problem(answer, status, code)["detail"]
    assert service.http.get(f"/v1/venues/{venue}/plans").json() == {"plans": []}


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/apply"), ("POST", "/withdraw")])
def test_a_plan_that_there_is_not_is_not_found(service: Running, venue: str, method: str, path: str) -> None:
    answer = service.http.request(
        method, f"/v1/venues/{venue}/plans/none{path}", json=EMPTY if method == "POST" else None
    )
    found = problem(answer, *((409, "conflict") if path == "/withdraw" else (404, "not_found")))
    assert "plan 'none'" in found["detail"]


def test_a_plan_whose_product_was_withdrawn_since_is_refused_and_names_it(service: Running, venue: str) -> None:
    base = f"/v1/venues/{venue}"
    assert service.http.put(f"{base}/plans/rain", json={"put": [SPARE]}).status_code == 200
    out = {"kind": "exclude", "id": "gone", "product": "p-1", "reason": "recall", "withdrawn": True}
    service.http.post(f"{base}/orders", json={"put": [out]})
    answer = service.post(f"{base}/plans/rain/apply", EMPTY)
    assert "product 'p-1' was withdrawn by order 'gone' (recall)" in problem(answer, 409, "conflict")["detail"]
    again = service.http.put(f"{base}/plans/rain", json={"put": [{**SPARE, "slot": 2}]})
    assert "was withdrawn" in problem(again, 409, "conflict")["detail"]


def test_a_plan_is_applied_and_withdrawn_as_one_decision_each(service: Running, venue: str) -> None:
    """Orders and rule together; and may be applied again."""
    base = f"/v1/venues/{venue}"
    service.http.post(f"{base}/orders", json={"put": [{**SPARE, "id": "usual", "product": "p-2"}]})
    rule = {**PLAIN_RULE, "board": {"slots": 7}}
    plan = {"put": [SPARE], "withdraw": ["usual"], "rule": rule, "note": "rain"}
    saved = service.http.put(f"{base}/plans/rain", json=plan)
    assert saved.status_code == 200, saved.text
    for _ in range(2):
        before = len(service.http.get(f"{base}/audit").json()["decisions"])
        applied = service.post(f"{base}/plans/rain/apply", EMPTY)
        assert applied.status_code == 200, applied.text
        assert (applied.json()["withdrawn"], applied.json()["rule_version"] is None) == (["usual"], False)
        assert service.http.get(f"{base}/plans/rain").json()["applied"] == applied.json()["entry"]
        assert [each["id"] for each in service.http.get(f"{base}/orders").json()["orders"]] == ["spare"]
        assert service.http.get(f"{base}/rule").json()["board"]["slots"] == 7
        withdrawn = service.post(f"{base}/plans/rain/withdraw", EMPTY)
        assert withdrawn.status_code == 200, withdrawn.text
        told = service.http.get(f"{base}/audit").json()["decisions"]
        assert len(told) == before + 2
        assert [(each["plan"], each["undoes"]) for each in told[:2]] == [
            ("rain", applied.json()["entry"]),
            ("rain", ""),
        ]
        assert [each["id"] for each in service.http.get(f"{base}/orders").json()["orders"]] == ["usual"]
        assert service.http.get(f"{base}/rule").json()["board"]["slots"] == 50
        assert service.http.get(f"{base}/plans/rain").json()["applied"] is None
        answer = service.post(f"{base}/plans/rain/withdraw", EMPTY)
        assert "is not applied" in problem(answer, 409, "conflict")["detail"]


def test_a_plan_is_kept_under_its_id_until_it_is_deleted(service: Running, venue: str) -> None:
    base = f"/v1/venues/{venue}/plans"
    for name in ("b", "a"):
        service.http.put(f"{base}/{name}", json={"put": [SPARE]})
    assert [each["id"] for each in service.http.get(base).json()["plans"]] == ["a", "b"]
    changed = service.http.put(f"{base}/a", json={"put": [{**SPARE, "slot": 3}]})
    assert changed.json()["put"][0]["slot"] == 3
    assert service.http.delete(f"{base}/b").status_code == 204
    assert [each["id"] for each in service.http.get(base).json()["plans"]] == ["a"]
    told = service.http.get(f"/v1/venues/{venue}/audit?what=plan").json()["decisions"]
    assert [(each["changes"][0]["of"], each["changes"][0]["to"] is None) for each in told] == [
        ("b", True),
        ("a", False),
        ("a", False),
        ("b", False),
    ]
