"""The rule's history over HTTP: versions, what differs, and an old one again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.contract import problem
from tests.integration.running import PLAIN_RULE, Running


def ruled(service: Running) -> str:
    """A venue whose rule had three versions."""
    venue = service.made_venue("p-1")
    for weight, note in ((2, "twice"), (3, "thrice")):
        rule = {**PLAIN_RULE, "terms": [{**PLAIN_RULE["terms"][0], "weight": weight}]}
        assert service.http.put(f"/v1/venues/{venue}/rule?note={note}", json=rule).status_code == 200
    return venue


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    return ruled(service)


@pytest.mark.parametrize("path", ["/rule/versions/4", "/rule/diff?from=4", "/rule/diff?from=1&to=9"])
def test_a_version_that_never_was_is_not_found(service: Running, venue: str, path: str) -> None:
    assert "has no rule version" in problem(service.http.get(f"/v1/venues/{venue}{path}"), 404, "not_found")["detail"]


def test_a_version_that_never_was_is_not_restored(service: Running, venue: str) -> None:
    problem(service.post(f"/v1/venues/{venue}/rule/restore", {"version": 4}), 404, "not_found")
    problem(service.post(f"/v1/venues/{venue}/rule/restore", {"version": 0}), 422, "invalid")
    stale = service.post(f"/v1/venues/{venue}/rule/restore", {"version": 1}, **{"If-Match": '"rule-1"'})
    problem(stale, 412, "precondition_failed")


def test_the_history_tells_every_version_newest_first(service: Running, venue: str) -> None:
    path = f"/v1/venues/{venue}/rule/versions"
    found = service.http.get(path).json()
    assert [(each["version"], each["note"], each["current"]) for each in found["versions"]] == [
        (3, "thrice", True),
        (2, "twice", False),
        (1, "first rule", False),
    ]
    page = service.http.get(path, params={"limit": 2}).json()
    assert ([each["version"] for each in page["versions"]], page["next_cursor"]) == ([3, 2], "2")
    rest = service.http.get(path, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([each["version"] for each in rest["versions"]], rest["next_cursor"]) == ([1], None)
    assert service.http.get(f"{path}/2").json()["rule"]["terms"][0]["weight"] == 2


def test_what_differs_is_told_field_by_field(service: Running, venue: str) -> None:
    found = service.http.get(f"/v1/venues/{venue}/rule/diff", params={"from": 2, "to": 3}).json()
    assert found == {"from": 2, "to": 3, "differences": [{"field": "terms[0].weight", "from": 2.0, "to": 3.0}]}
    whole = service.http.get(f"/v1/venues/{venue}/rule/diff", params={"from": 1}).json()
    assert [each["field"] for each in whole["differences"]] == ["terms[0].weight", "terms[1]"]


def test_an_old_version_is_restored_as_a_new_one(service: Running) -> None:
    venue = ruled(service)
    made = service.post(f"/v1/venues/{venue}/rule/restore", {"version": 1})
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (200, 4, '"rule-4"')
    assert service.http.get(f"/v1/venues/{venue}/rule/diff", params={"from": 1}).json()["differences"] == []
    newest = service.http.get(f"/v1/venues/{venue}/rule/versions?limit=1").json()["versions"][0]
    assert newest["note"] == "version 1 restored"


def test_the_answer_says_from_when_longer_windows_are_full(service: Running, monkeypatch: Any) -> None:
    """Of a venue that is older than what is kept; a young one lacks nothing."""
    venue = service.made_venue("p-1")
    longer = {**PLAIN_RULE, "window_s": 600}
    young = service.http.put(f"/v1/venues/{venue}/rule", json=longer).json()
    assert (young["window_full_ms"], young["base_full_ms"]) == (None, None)
