"""What the HTTP contract says of every error, and inputs that every caller may send wrong."""

from __future__ import annotations

from typing import Any

import httpx2

JSON = {"Content-Type": "application/json"}
RUNNER = {"product": "p-1", "merchant": "m-1", "title": "One"}
EVENT = {"type": "order", "product": "p-1"}
RULE: dict[str, Any] = {
    "window_s": 300,
    "bucket_s": 10,
    "metrics": {"click": {"event": "click"}, "order": {"event": "order"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1, "prior": 10, "tide": True},
        {"ratio": ["order", "click"], "signal": "rate", "weight": 20},
    ],
    "board": {"slots": 50},
}

HOSTILE_IDS = (
    "a{b",
    "a}b",
    "{a}",
    "a:b",
    "a*b",
    "a b",
    "a/b",
    "a\0b",
    "a\nb",
    "a\n",
    "\x7f",
    "赛马",
    "á",
    "x" * 65,
    "",
)
"""Names that would change a key or its hash tag, or could not be read in one."""
ID_WORDS = "must be 1 to 64 characters out of A-Z a-z 0-9 . _ -"


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in an answer, which must have this status and code and the one shape of all errors."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    assert list(found) == ["type", "title", "status", "code", "detail", "errors"]
    assert (found["type"], found["status"], found["code"]) == (f"/problems/{code}", status, code)
    assert found["title"]
    assert found["detail"]
    for wrong in found["errors"]:
        assert list(wrong) == ["field", "expected", "value"]
        assert wrong["field"] in found["detail"] or "more" in found["detail"]
    return found
