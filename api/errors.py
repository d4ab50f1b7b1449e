"""Every error as problem+json (RFC 9457) in one shape: type, title, status, code, detail, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from racing.documents import Wrong, in_words, wrong_field
from racing.errors import (
    BoundError,
    ConflictError,
    CorruptRecordError,
    DocumentError,
    GoneError,
    IdempotencyMismatchError,
    NotFoundError,
    OverloadedError,
    RacingError,
    StoreError,
)

log = structlog.get_logger("saima.api")

_ERRORS_MAX = 20
"""Wrong fields named in one answer; detail counts the rest."""
_PATH_MAX = 200


class FieldError(BaseModel):
    """One wrong field: its place, what would be right, and the value that came."""

    field: str = Field(examples=["runners[3].price"])
    expected: str = Field(examples=["must be at least 0"])
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

    def __init__(
        self, code: str, detail: str, *, headers: dict[str, str] | None = None, errors: Sequence[Wrong] = ()
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.headers, self.errors = code, detail, headers, errors


class Code(NamedTuple):
    """What an error code stands for; example is a detail as an answer may carry it."""

    status: int
    title: str
    meaning: str
    example: str


CODES = {
    "malformed": Code(
        400,
        "Malformed request",
        "The body or a header is not what its syntax says. Nothing was done.",
        "the body is not JSON: JSON is malformed: invalid character (byte 51)",
    ),
    "unauthorized": Code(
        401,
        "Key missing or wrong",
        "Send a valid key in the Authorization header.",
        "this needs a key: send Authorization: Bearer <key>",
    ),
    "forbidden": Code(403, "Not granted", "The key does not grant this.", "this key may not change rules"),
    "not_found": Code(
        404,
        "Not found",
        "There is nothing at this address, or not for this key.",
        "there is no venue 'hall-9'",
    ),
    "method_not_allowed": Code(
        405,
        "Method not allowed",
        "This address exists, but not for this method: see Allow.",
        "/v1/venues takes GET, POST, not DELETE",
    ),
    "conflict": Code(
        409,
        "Conflict",
        "What was to be made exists already, or has moved on.",
        "venue 'hall-1' exists already",
    ),
    "gone": Code(410, "Gone", "What was named is no longer kept.", "frame 1763740800000-3 is no longer kept"),
    "precondition_failed": Code(
        412,
        "Precondition failed",
        "If-Match names another version than the current one.",
        'If-Match "rule-3": the current rule is "rule-4"; read it again',
    ),
    "too_large": Code(
        413,
        "Body too large",
        "Send smaller batches.",
        "a body of more than 1048576 bytes: send smaller batches",
    ),
    "unsupported_media_type": Code(
        415,
        "Unsupported media type",
        "Send Content-Type: application/json, not compressed.",
        "Content-Type: must be application/json, not 'text/plain'",
    ),
    "invalid": Code(
        422,
        "Invalid fields",
        "The request is well formed, but a field's value is not allowed: see errors.",
        "runners[3].price: must be at least 0, not -5",
    ),
    "idempotency_mismatch": Code(
        422,
        "Idempotency-Key used before",
        "Use a new key for a new body.",
        "this Idempotency-Key was used with another body",
    ),
    "too_many_requests": Code(
        429,
        "Too many requests",
        "Wait as Retry-After says.",
        "more than 100 requests a second with this key",
    ),
    "head_too_large": Code(
        431,
        "Headers too large",
        "Send fewer and shorter headers. The connection is closed.",
        "more than 64 headers, or 16384 bytes of them: send fewer",
    ),
    "internal": Code(
        500,
        "Internal error",
        "A fault of ours. It is logged; the race goes on.",
        "an unexpected error; it is logged",
    ),
    "overloaded": Code(
        503,
        "Too much at once",
        "More comes than is worked off. Wait as Retry-After says, then repeat the same request.",
        "events of 15.2 s ago are not yet counted: more are taken once those are 15 s old at most",
    ),
    "busy": Code(
        503,
        "No answer in time",
        "The process that answers such questions is away, busy or took too long. Ask again as Retry-After says.",
        "the follower did not answer within 10 s",
    ),
    "unavailable": Code(
        503,
        "Store away",
        "Redis does not answer. Repeat the same request, with the same Idempotency-Key.",
        "Redis is away: Connection refused",
    ),
}
"""code -> what it stands for."""

_BY_STATUS = {code.status: name for name, code in reversed(CODES.items())}
_BY_ERROR: tuple[tuple[type[RacingError], str], ...] = (
    (DocumentError, "invalid"),
    (BoundError, "invalid"),
    (NotFoundError, "not_found"),
    (GoneError, "gone"),
    (IdempotencyMismatchError, "idempotency_mismatch"),
    (ConflictError, "conflict"),
    (OverloadedError, "overloaded"),
    (StoreError, "unavailable"),
    (CorruptRecordError, "unavailable"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def problem(code: str, detail: str, errors: Sequence[Wrong] = ()) -> Problem:
    """The problem of a code."""
    status, title, _, _ = CODES[code]
    fields = [FieldError(field=field, expected=right, value=value) for field, right, value in errors[:_ERRORS_MAX]]
    return Problem(type=f"/problems/{code}", title=title, status=status, code=code, detail=detail, errors=fields)


def answer(
    code: str, detail: str, *, errors: Sequence[Wrong] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    """The problem+json answer of a code."""
    status = CODES[code].status
    headers = {
        **({"Retry-After": "1"} if status in {429, 503} else {}),
        **(headers or {}),
        "Cache-Control": "no-store",
    }
    return JSONResponse(
        problem(code, detail, errors).model_dump(mode="json"),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


def answer_to(exc: ProblemError | RacingError) -> JSONResponse:
    """The answer to an error that a route raises."""
    if isinstance(exc, ProblemError):
        return answer(exc.code, exc.detail, headers=exc.headers, errors=exc.errors)
    code = next((code for kind, code in _BY_ERROR if isinstance(exc, kind)), "internal")
    return answer(code, str(exc), errors=exc.fields if isinstance(exc, DocumentError) else ())


def _methods(request: Request) -> list[str]:
    """What the address takes: its routes, one for each method, are asked in turn."""
    scopes = [{**request.scope, "method": method} for method in _METHODS]
    routes = request.app.routes
    return [scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def _http_answer(request: Request, exc: HTTPException) -> JSONResponse:
    """The answer to what the framework refuses."""
    method, path = request.method, request.url.path[:_PATH_MAX]
    headers = dict(exc.headers or {})
    if exc.status_code == 404:  # noqa: PLR2004  # written out, as everywhere in HTTP
        return answer("not_found", f"there is nothing at {path!r}: /docs lists what there is")
    if exc.status_code == 405:  # noqa: PLR2004  # as above
        allowed = ", ".join(_methods(request)) or headers.get("Allow", "")
        return answer("method_not_allowed", f"{path} takes {allowed}, not {method}", headers={"Allow": allowed})
    code = _BY_STATUS.get(exc.status_code, "malformed" if exc.status_code < 500 else "internal")  # noqa: PLR2004  # the line between client and server
    return answer(code, str(exc.detail), headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of this app, expected or not, in the one shape."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, exc: ProblemError) -> JSONResponse:
        return answer_to(exc)

    @app.exception_handler(RacingError)
    async def _racing(_: Request, exc: RacingError) -> JSONResponse:
        return answer_to(exc)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, exc: RequestValidationError) -> JSONResponse:
        fields = [wrong_field({**error, "loc": _within_body(error["loc"])}) for error in exc.errors()]
        return answer("invalid", in_words(fields), errors=fields)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, exc: HTTPException) -> JSONResponse:
        return _http_answer(request, exc)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, exc: Exception) -> JSONResponse:
        log.error("unexpected error", path=request.url.path, exc_info=exc)
        # answered outside of the middleware that gives every other answer this header
        return answer("internal", CODES["internal"].example, headers={"X-Content-Type-Options": "nosniff"})


def _within_body(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    """A place without the word that says that it is in the body; other places keep theirs, as query.limit."""
    return tuple(loc[1:] if loc and loc[0] == "body" else loc)
