"""Every error of the application is one shape of problem+json, whoever raised it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException

from api.errors import CODES, ProblemError, answer, install
from racing.errors import (
    ConflictError,
    FencedError,
    IdempotencyMismatchError,
    NotFoundError,
    RacingError,
    RuleError,
    StoreError,
    StoreUnavailableError,
)

RAISED: dict[str, Exception] = {
    "rule": RuleError("a: wrong, not 5", [("a", "wrong", "5"), ("b", "is required", None)]),
    "not_found": NotFoundError("no such version"),
    "mismatch": IdempotencyMismatchError("used"),
    "conflict": ConflictError("exists"),
    "fenced": FencedError("another owner"),
    "store": StoreError("refused"),
    "away": StoreUnavailableError("away"),
    "racing": RacingError("some other"),
    "problem": ProblemError("gone", "no longer kept", headers={"X-Kept": "no"}),
    "problem_with_retry": ProblemError("too_many_requests", "slow", headers={"Retry-After": "7"}),
    "teapot": HTTPException(418, "short and stout"),
    "gateway": HTTPException(502, "elsewhere"),
    "bug": ZeroDivisionError("secret detail"),
}


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """The lines that were logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application whose routes raise."""
    app = FastAPI()
    install(app)

    @app.get("/raise/{name}")
    async def raise_(name: str) -> None:
        raise RAISED[name]

    @app.post("/raise/{name}")
    async def take(name: str, body: dict[str, int], limit: Annotated[int, Query(ge=1)] = 1) -> dict[str, Any]:
        return {"name": name, "body": body, "limit": limit}

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("name", "status", "code", "detail"),
    [
        ("rule", 422, "invalid", "a: wrong, not 5"),
        ("not_found", 404, "not_found", "no such version"),
        ("mismatch", 422, "idempotency_mismatch", "used"),
        ("conflict", 409, "conflict", "exists"),
        ("fenced", 503, "unavailable", "another owner"),
        ("store", 503, "unavailable", "refused"),
        ("away", 503, "unavailable", "away"),
        ("racing", 500, "internal", "some other"),
        ("problem", 410, "gone", "no longer kept"),
        ("problem_with_retry", 429, "too_many_requests", "slow"),
        ("teapot", 400, "malformed", "short and stout"),
        ("gateway", 500, "internal", "elsewhere"),
        ("bug", 500, "internal", "an unexpected error; it is logged"),
    ],
)
async def test_an_error_is_answered_with_its_status_and_code(
    http: httpx2.AsyncClient, name: str, status: int, code: str, detail: str
) -> None:
    found = await http.get(f"/raise/{name}")
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert found.headers["cache-control"] == "no-store"
    body = found.json()
    assert list(body) == ["type", "title", "status", "code", "detail", "errors"]
    assert (body["type"], body["status"], body["code"], body["detail"]) == (f"/problems/{code}", status, code, detail)


async def test_an_unexpected_error_is_logged_and_tells_nothing_of_the_inside(
    http: httpx2.AsyncClient, logged: list[Any]
) -> None:
    assert "secret" not in (await http.get("/raise/bug")).text
    assert [(line["log_level"], line["path"]) for line in logged] == [("error", "/raise/bug")]
    assert logged[0]["exc_info"] is RAISED["bug"]


async def test_the_wrong_fields_of_a_rule_are_listed(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/raise/rule")).json()["errors"] == [
        {"field": "a", "expected": "wrong", "value": "5"},
        {"field": "b", "expected": "is required", "value": None},
    ]


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [("away", "retry-after", "1"), ("problem_with_retry", "retry-after", "7"), ("problem", "x-kept", "no")],
)
async def test_what_may_be_repeated_says_when(http: httpx2.AsyncClient, name: str, header: str, value: str) -> None:
    assert (await http.get(f"/raise/{name}")).headers[header] == value


@pytest.mark.parametrize(
    ("query", "body", "details"),
    [
        ("", {"a": "x"}, ["a: must be a whole number"]),
        ("", [], ["document: must be an object, not a list of 0"]),
        ("?limit=0", {}, ['query.limit: must be at least 1, not "0"']),
        (
            "?limit=x",
            {"a": 1.5},
            ['query.limit: must be a whole number, not "x"', "a: must be a whole number, not 1.5"],
        ),
    ],
)
async def test_a_wrong_request_names_field_value_and_what_would_be_right(
    http: httpx2.AsyncClient, query: str, body: object, details: list[str]
) -> None:
    found = (await http.post(f"/raise/x{query}", json=body)).json()
    assert found["code"] == "invalid"
    for detail in details:
        assert detail in found["detail"]


async def test_a_request_full_of_faults_has_a_short_answer(http: httpx2.AsyncClient) -> None:
    found = (await http.post("/raise/x", json={f"f{n}": "x" * 500 for n in range(100)})).json()
    assert len(found["errors"]) == 20
    assert found["detail"].endswith("; and 97 more")
    assert len(found["detail"]) < 500


async def test_another_method_is_told_all_that_there_are(http: httpx2.AsyncClient) -> None:
    found = await http.delete("/raise/x")
    assert (found.status_code, found.headers["allow"]) == (405, "GET, POST")
    assert found.json()["detail"] == "/raise/x takes GET, POST, not DELETE"


async def test_another_address_is_shown_as_it_was_understood(http: httpx2.AsyncClient) -> None:
    """A long one only in its beginning."""
    found = await http.get("/no%00pe/" + "x" * 5000)
    assert found.status_code == 404
    assert found.json()["detail"].startswith("there is nothing at '/no\\x00pe/xxx")
    assert len(found.json()["detail"]) < 300


@pytest.mark.parametrize("code", CODES)
def test_every_code_can_be_answered(code: str) -> None:
    """Its status is that of an error; title, help and example are there."""
    known = CODES[code]
    assert 400 <= known.status < 600
    assert known.title
    assert known.meaning
    assert known.example
    assert answer(code, known.example).status_code == known.status
