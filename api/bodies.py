"""Bodies: plain JSON in UTF-8, read strictly, so that what comes in can also be stored and sent out again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.errors import ProblemError

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read, or that stand for no number or text that there is."""


def why_not_json(body: bytes, exc: Exception) -> str:
    """What is wrong with a body that raised one of NOT_JSON, in words."""
    if not body:
        return "the body is empty: send JSON"
    if isinstance(exc, RecursionError):
        return "the body is nested too deeply"
    if isinstance(exc, UnicodeDecodeError):
        return f"the body is not UTF-8: byte 0x{exc.object[exc.start]:02x} within a text"
    if isinstance(exc, msgspec.ValidationError):  # of any JSON at all, so only a number can be wrong
        return f"the body cannot be read: {str(exc).partition(' - at ')[0].lower()}"
    why = str(exc).removeprefix("JSON is malformed: ")
    if why == "Input data was truncated":
        why = "a value, or an escape within a text, ends too early"
    hint = "; NaN and Infinity are no numbers in JSON" if b"NaN" in body or b"Infinity" in body else ""
    return f"the body is not JSON: {why}{hint}"


JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"


def media_type_of(headers: Mapping[str, str], allowed: Sequence[str] = (JSON,)) -> str:
    """The body's media type. Raises ProblemError (415) for one that is not allowed, or a compressed body."""
    content_type = headers.get("content-type", "")
    encoding = headers.get("content-encoding", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in allowed:
        came = f", not {content_type[:80]!r}" if content_type else ""
        raise ProblemError("unsupported_media_type", f"Content-Type: must be {' or '.join(allowed)}{came}")
    if encoding.strip().lower() not in {"", "identity"}:
        raise ProblemError("unsupported_media_type", f"Content-Encoding: send the body as it is, not {encoding[:80]!r}")
    return media_type


class _StrictRequest(Request):
    async def json(self) -> Any:
        """The body. Python's own decoder lets NaN and lone surrogates in, which no answer could show again."""
        body = await self.body()
        try:
            return msgspec.json.decode(body)
        except NOT_JSON as exc:
            raise HTTPException(400, why_not_json(body, exc)) from exc


class StrictRoute(APIRoute):
    """A route whose body, where it takes one, must be plain JSON and is read strictly.

    Where none is required, an empty one is none, whatever type is stated for it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, over a request that reads strictly."""
        handle, body = super().get_route_handler(), self.body_field

        async def strictly(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            if body is not None and (body.field_info.is_required() or await strict.body()):
                media_type_of(request.headers)  # FastAPI reads the body before it looks at dependencies
            return await handle(strict)

        return strictly
