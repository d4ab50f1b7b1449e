"""The two busy addresses without the framework: GET slots and POST events, answered before routing.

What is done is what the plain routes do (api.routes.slots, api.sending), and what is not plain here goes on to them:
an unknown venue, another method, odd parameters, a body of another type or size.
"""

from __future__ import annotations

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.bodies import JSON, NDJSON
from api.errors import ProblemError, answer, answer_to
from api.frames import VenueView
from api.packed import MEDIA_TYPE
from api.routes.slots import slots_answer
from api.sending import send as send_batch
from api.service import Service
from racing.errors import RacingError

log = structlog.get_logger("saima.api")

_PREFIX = "/v1/venues/"
_SLOTS_MAX = 1000
_MEDIA_TYPES = {
    NDJSON.encode(): NDJSON,
    b"application/json": JSON,
    b"application/json; charset=utf-8": JSON,
    MEDIA_TYPE.encode(): MEDIA_TYPE,
}
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class FastPath:
    """Answers GET slots and POST events of known venues itself, and passes everything else on to the app within."""

    def __init__(self, app: FastAPI, body_max_bytes: int) -> None:
        self._app = app
        self._body_max_bytes = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on untouched."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            venue, _, what = scope["path"][len(_PREFIX) :].partition("/")
            if what in {"slots", "events"}:
                service: Service = self._app.state.service
                view = service.frames.views.get(venue)
                if view is not None:
                    method = scope["method"]
                    if what == "slots" and method == "GET" and await self._slots(view, scope, send):
                        return
                    if (
                        what == "events"
                        and method == "POST"
                        and await self._events(service, view, scope, receive, send)
                    ):
                        return
        await self._app(scope, receive, send)

    async def _slots(self, view: VenueView, scope: Scope, send: Send) -> bool:
        """Whether it was answered; not where the query is more than a plain limit."""
        limit = _limit(scope["query_string"])
        if limit is None:
            return False
        known = [value for name, value in scope["headers"] if name == b"if-none-match"]
        if len(known) > 1:
            return False
        found = slots_answer(view, limit, known[0].decode("latin-1") if known else None)
        headers = [(name.encode(), value.encode()) for name, value in found.headers.items()]
        headers.append(_NOSNIFF)
        if found.status != 304:  # noqa: PLR2004  # its length would be that of the 200
            headers.append((b"content-length", str(len(found.body)).encode()))
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})
        return True

    async def _events(self, service: Service, view: VenueView, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether it was answered; not where the headers are not those of a plain batch of known length."""
        headers = dict(scope["headers"])
        media_type = _MEDIA_TYPES.get(headers.get(b"content-type", b"").lower())
        length = headers.get(b"content-length", b"")
        odd = b"content-encoding" in headers or b"transfer-encoding" in headers  # chunks go beyond any length told
        plain = media_type is not None and not odd and length.isdigit()
        if not plain or len(headers) != len(scope["headers"]) or int(length) > self._body_max_bytes:
            return False
        body = await _body(receive)
        if body is None:
            return True  # the sender has gone
        key = headers.get(b"idempotency-key")
        try:
            made = await send_batch(
                service, view, body, media_type=media_type or JSON, key=None if key is None else key.decode("latin-1")
            )
        except (ProblemError, RacingError) as exc:
            response = answer_to(exc)
        except Exception:
            log.exception("unexpected error", path=scope["path"])
            response = answer("internal", "an unexpected error; it is logged")
        else:
            answered = [(b"content-type", b"application/json"), (b"content-length", str(len(made)).encode()), _NOSNIFF]
            await send({"type": "http.response.start", "status": 202, "headers": answered})
            await send({"type": "http.response.body", "body": made})
            return True
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)
        return True


def _limit(query: bytes) -> int | None:
    """The limit of a query that holds nothing else, 50 without one; None for any other query."""
    if not query:
        return 50
    name, _, value = query.partition(b"=")
    if name != b"limit" or not value.isdigit() or len(value) > 4 or not 1 <= int(value) <= _SLOTS_MAX:  # noqa: PLR2004  # digits of 1000
        return None
    return int(value)


async def _body(receive: Receive) -> bytes | None:
    """The whole body, at most as long as its Content-Length says (the server sees to that); None if it was cut."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
