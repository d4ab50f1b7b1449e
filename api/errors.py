"""Every error as problem+json (RFC 9457) in one shape: type, title, status, code, detail, errors."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from racing.errors import (
    ConflictError,
    IdempotencyMismatchError,
    NotFoundError,
    RacingError,
    RuleError,
    StoreError,
)
from racing.rule import field_path

log = structlog.get_logger("saima.api")


class FieldError(BaseModel):
    """One wrong field: its place, what would be right, and the value that came."""

    field: str = Field(examples=["runners[3].price"])
    expected: str = Field(examples=["Input should be greater than or equal to 0"])
    value: str | None = Field(None, examples=["-5"])


class Problem(BaseModel):
    """An error answer."""

    model_config = ConfigDict(json_schema_extra={"description": "RFC 9457 problem details"})

    type: str = Field(examples=["/problems/not_found"], description="a page of this service that says more")
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["not_found"], description="stable name for programs")
    detail: str = Field(examples=["there is no venue 'hall-9'"])
    errors: list[FieldError] = []


class ProblemError(Exception):
    """An error answer raised by a route."""

    def __init__(self, code: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.headers = code, detail, headers


CODES: dict[str, tuple[int, str, str]] = {
    "malformed": (
        400,
        "Malformed request",
        "The body or a header is not what its syntax says. Nothing was done.",
    ),
    "unauthorized": (401, "Key missing or wrong", "Send a valid key in the Authorization header."),
    "forbidden": (403, "Not granted", "The key does not grant this."),
    "not_found": (404, "Not found", "There is nothing at this address, or not for this key."),
    "method_not_allowed": (
        405,
        "Method not allowed",
        "This address exists, but not for this method: see Allow.",
    ),
    "conflict": (409, "Conflict", "What was to be made exists already, or has moved on."),
    "gone": (410, "Gone", "What was named is no longer kept."),
    "precondition_failed": (
        412,
        "Precondition failed",
        "If-Match names another version than the current one.",
    ),
    "too_large": (413, "Body too large", "Send smaller batches."),
    "unsupported_media_type": (
        415,
        "Unsupported media type",
        "Send Content-Type: application/json, not compressed.",
    ),
    "invalid": (
        422,
        "Invalid fields",
        "The request is well formed, but a field's value is not allowed: see errors.",
    ),
    "idempotency_mismatch": (422, "Idempotency-Key used before", "Use a new key for a new body."),
    "too_many_requests": (429, "Too many requests", "Wait as Retry-After says."),
    "internal": (500, "Internal error", "A fault of ours. It is logged; the race goes on."),
    "unavailable": (
        503,
        "Store away",
        "Redis does not answer. Repeat the same request, with the same Idempotency-Key.",
    ),
}
"""code -> (status, title, help)."""

_BY_STATUS = {status: code for code, (status, _, _) in reversed(CODES.items())}
_BY_ERROR: tuple[tuple[type[RacingError], str], ...] = (
    (RuleError, "invalid"),
    (NotFoundError, "not_found"),
    (IdempotencyMismatchError, "idempotency_mismatch"),
    (ConflictError, "conflict"),
    (StoreError, "unavailable"),
)

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "model": Problem,
        "description": CODES[_BY_STATUS[status]][1],
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 503)
}
"""Declared on every route, so that a client can rely on the one shape."""


def answer(
    code: str, detail: str, *, errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The problem+json answer of a code."""
    status, title, _ = CODES[code]
    problem = Problem(
        type=f"/problems/{code}", title=title, status=status, code=code, detail=detail, errors=errors or []
    )
    headers = {
        **({"Retry-After": "1"} if status in {429, 503} else {}),
        **(headers or {}),
        "Cache-Control": "no-store",
    }
    return JSONResponse(
        problem.model_dump(mode="json"),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


def _field_errors(exc: RequestValidationError) -> list[FieldError]:
    found = []
    for error in exc.errors():
        loc = tuple(error["loc"][1:] if error["loc"] and error["loc"][0] == "body" else error["loc"])
        message = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            message = "no such field"
        shown = None if error["type"] == "missing" else str(error.get("input"))[:80]
        found.append(FieldError(field=field_path(loc), expected=message, value=shown))
    return found


def install(app: FastAPI) -> None:
    """Answer every error of this app, expected or not, in the one shape."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, exc: ProblemError) -> JSONResponse:
        return answer(exc.code, exc.detail, headers=exc.headers)

    @app.exception_handler(RacingError)
    async def _racing(_: Request, exc: RacingError) -> JSONResponse:
        code = next((code for kind, code in _BY_ERROR if isinstance(exc, kind)), "internal")
        fields = exc.fields if isinstance(exc, RuleError) else ()
        return answer(code, str(exc), errors=[FieldError(field=f, expected=e, value=v) for f, e, v in fields])

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, exc: RequestValidationError) -> JSONResponse:
        if any(error["type"] == "json_invalid" for error in exc.errors()):
            reason = next(e.get("ctx", {}).get("error", e["msg"]) for e in exc.errors() if e["type"] == "json_invalid")
            return answer("malformed", f"the body is not JSON: {reason}")
        errors = _field_errors(exc)
        first = errors[0]
        came = "" if first.value is None else f", not {first.value!r}"
        return answer("invalid", f"{first.field}: {first.expected}{came}", errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, exc: HTTPException) -> JSONResponse:
        code = _BY_STATUS.get(exc.status_code, "malformed" if exc.status_code < 500 else "internal")  # noqa: PLR2004  # the line between client and server
        detail = f"{request.method} {request.url.path}: {exc.detail}"
        return answer(code, detail, headers=dict(exc.headers or {}))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, exc: Exception) -> JSONResponse:
        log.error("unexpected error", path=request.url.path, exc_info=exc)
        return answer("internal", "an unexpected error; it is logged")
