"""The two busy addresses without the framework: GET slots and POST events, answered by the HTTP protocol itself.

What is done is what the plain routes do (api.routes.slots, api.sending), and what is not plain here goes on to them
untouched: an unknown venue, another method, odd parameters or headers, a body of another type or size, a request that
comes before the one before it is answered. A task, a scope and a cycle of uvicorn's for each request cost more than
the whole answer does.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI
from httptools import HttpParserError, HttpParserUpgrade
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.bodies import JSON, NDJSON
from api.errors import ProblemError, answer, answer_to
from api.frames import Slots, VenueView, is_stale
from api.grants import Grant
from api.packed import MEDIA_TYPE
from api.routes.slots import if_none_match_names
from api.sending import Sent, send, send_at_once
from api.service import Service
from racing.errors import RacingError
from racing.settings import Settings

log = structlog.get_logger("saima.api")

_PREFIX = b"/v1/venues/"
_SLOTS_MAX = 1000
_MEDIA_TYPES = {
    NDJSON.encode(): NDJSON,
    b"application/json": JSON,
    b"application/json; charset=utf-8": JSON,
    MEDIA_TYPE.encode(): MEDIA_TYPE,
}
_TAKEN = b"content-type: application/json\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"
_CLOSE = b"connection: close\r\n"
_VARY = b"vary: Origin\r\n"
_BODY_OF_READ = frozenset({b"content-length", b"transfer-encoding"})
HEADERS_MAX, HEAD_MAX_BYTES = 64, 16_384
"""Headers of a request, and bytes of its first line and headers together."""

Headers = list[tuple[bytes, bytes]]


class _NobodyWaits:
    def set(self) -> None:
        """Nothing: uvicorn wakes its own cycles by this."""


_NOBODY_WAITS = _NobodyWaits()


class _Exchange:
    """A POST that is being answered here; to uvicorn a cycle like its own, so that what is pipelined waits for it."""

    __slots__ = (
        "body",
        "disconnected",
        "keep_alive",
        "key",
        "media_type",
        "message_event",
        "response_complete",
        "told",
        "view",
    )

    def __init__(self, view: VenueView, media_type: str, key: str | None, told: bytes) -> None:
        self.view = view
        self.told = told
        self.media_type = media_type
        self.key = key
        self.body: list[bytes] = []
        self.keep_alive = True
        self.disconnected = self.response_complete = False
        self.message_event = _NOBODY_WAITS


class _Answered:
    """What stands in uvicorn's place of a cycle after a GET was answered here."""

    response_complete = True
    message_event = _NOBODY_WAITS


_ANSWERED: Any = _Answered()


class FastProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but for the requests that it answers itself."""

    fast_app: ClassVar[FastAPI]
    body_max_bytes: ClassVar[int]
    keyed: ClassVar[bool]
    odd_in_reads: ClassVar[frozenset[bytes]] = _BODY_OF_READ
    cors: ClassVar[bool]
    _default_headers: tuple[Any, bytes] = (None, b"")
    _in_head = False
    _head_bytes = _came = 0

    def data_received(self, data: bytes) -> None:
        """What uvicorn's does, and the end of a connection whose request has a head larger than any that is right."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._came = len(data) + self._head_bytes
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        except HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        if not self._in_head:
            if self._head_bytes:
                self._head_bytes = 0
        elif self._came > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse_head()
        else:
            self._head_bytes = self._came

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the one shape of errors, and end the connection."""
        self._end_with(answer("malformed", msg))

    def _refuse_head(self) -> None:
        self._came = HEAD_MAX_BYTES + 1  # whatever else comes is looked at, and passed over
        detail = f"more than {HEADERS_MAX} headers, or {HEAD_MAX_BYTES} bytes of them: send fewer"
        self._end_with(answer("head_too_large", detail))

    def _end_with(self, response: Response) -> None:
        """Answer this, unless the answer before it is still being written, and end the connection."""
        before: Any = self.cycle
        if before is None or before.response_complete:
            head = b"".join([b"%b: %b\r\n" % pair for pair in response.raw_headers])
            self._write(response.status_code, head, b"x-content-type-options: nosniff\r\n", _CLOSE)
            self.transport.write(bytes(response.body))
            self.cycle = _ANSWERED  # what else comes of this request is passed over
        self.transport.close()

    def _is_passed_over(self) -> bool:
        """Whether the head that is complete is answered no more, or goes beyond the bounds, and then is refused."""
        if self.transport.is_closing():
            return True
        headers = self.headers
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) <= HEADERS_MAX and size <= HEAD_MAX_BYTES:
            return False
        self._refuse_head()
        return True

    def on_message_begin(self) -> None:
        """A request begins; what uvicorn needs for it is made when it is known that uvicorn answers."""
        self._in_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Answer a read; begin a batch; pass anything else on."""
        self._in_head = False
        url, headers = self.url, self.headers
        if (self._came > HEAD_MAX_BYTES or len(headers) > HEADERS_MAX) and self._is_passed_over():
            return
        if url.startswith(_PREFIX) and self._is_plain() and self._begin(url, headers):
            return
        expect = self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()

    def _is_plain(self) -> bool:
        """Whether this request is next, stays on the connection, and asks for nothing out of the way."""
        before: Any = self.cycle
        parser = self.parser
        return (
            (before is None or before.response_complete)
            and not (self.flow.write_paused or self.expect_100_continue or self.root_path)
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        )

    def _begin(self, url: bytes, headers: Headers) -> bool:
        path, mark, query = url.partition(b"?")
        venue, _, what = path[len(_PREFIX) :].partition(b"/")
        if what not in {b"slots", b"events"} or not venue.isascii():
            return False
        service: Service = self.fast_app.state.service
        read = what == b"slots"
        views = service.frames.open_views if read else service.frames.views
        view = views.get(venue.decode())
        if view is None:
            return False
        method = self.parser.get_method()
        if read:
            return method == b"GET" and not (mark and not query) and self._read(service, view, query, headers)
        return method == b"POST" and self._batch(service, view, headers)

    # -- GET slots -----------------------------------------------------------------------------------

    def _read(self, service: Service, view: VenueView, query: bytes, headers: Headers) -> bool:
        """Whether it was answered; not where the query is more than a plain limit."""
        limit = _limit(query)
        if limit is None:
            return False
        known = key = None
        odd = self.odd_in_reads
        for name, value in headers:
            if name == b"if-none-match":
                if known is not None:
                    return False
                known = value
            elif name in odd:
                if name != b"authorization" or key is not None:
                    return False
                key = value
        if key is not None:
            grant = service.grants_in_force().known.get(key)
            return grant is not None and self._read_with_key(view, limit, known, grant)
        age_ms = view.age()
        self._show(view.slots(limit, stale=is_stale(age_ms)), known, age_ms)
        return True

    def _read_with_key(self, view: VenueView, limit: int, known: bytes | None, grant: Grant) -> bool:
        if not grant.bucket.take(time.monotonic()):
            return False
        age_ms = view.age()
        made = view.detailed if grant.sees_details(view.venue.venue) else view.slots
        self._show(made(limit, stale=is_stale(age_ms)), known, age_ms, grant.bucket.lines())
        return True

    def _show(self, slots: Slots, known: bytes | None, age_ms: int | None, told: bytes = b"") -> None:
        if self.cors:
            told += _VARY
        age = told if age_ms is None else b"%bsaima-age-ms: %d\r\n" % (told, age_ms)
        self.cycle = _ANSWERED
        if known is not None and if_none_match_names(known.decode("latin-1"), slots.etag):
            self._write(304, slots.head, age)
        else:
            self._write(200, slots.head, age, slots.length)
            self.transport.write(slots.body)
        self.on_response_complete()

    # -- POST events ---------------------------------------------------------------------------------

    def _batch(self, service: Service, view: VenueView, headers: Headers) -> bool:
        """Whether it will be answered here; not where the headers are not those of a plain batch of known length."""
        given = dict(headers)
        media_type = _MEDIA_TYPES.get(given.get(b"content-type", b"").lower())
        length = given.get(b"content-length", b"")
        odd = b"content-encoding" in given or b"transfer-encoding" in given  # chunks go beyond any length told
        odd |= self.cors and b"origin" in given
        plain = media_type is not None and not odd and length.isdigit() and len(given) == len(headers)
        if not plain or media_type is None or int(length) > self.body_max_bytes:
            return False
        told = b""
        if self.keyed:
            grant = service.grants_in_force().known.get(given.get(b"authorization", b""))
            if grant is None or not grant.takes_batch(view.venue.venue):
                return False
            told = grant.bucket.lines()
        key = given.get(b"idempotency-key")
        exchange: Any = _Exchange(view, media_type, None if key is None else key.decode("latin-1"), told)
        self.cycle = exchange
        return True

    def on_body(self, body: bytes) -> None:
        """A part of a body: bounded by its Content-Length, to which the parser sees."""
        exchange: Any = self.cycle
        if type(exchange) is _Exchange:
            exchange.body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: take the batch."""
        exchange: Any = self.cycle
        if type(exchange) is _Exchange:
            self._take(exchange)
        else:
            super().on_message_complete()

    def _take(self, exchange: _Exchange) -> None:
        heard = partial(self._hear, exchange)
        service: Service = self.fast_app.state.service
        body = exchange.body[0] if len(exchange.body) == 1 else b"".join(exchange.body)
        try:
            sent = Sent(body, exchange.media_type, exchange.key)
            if not send_at_once(service, exchange.view, sent, heard):
                task = self.loop.create_task(_heard_later(service, exchange.view, sent, heard))
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is answered, and told apart there
            heard(exc)

    def _hear(self, exchange: _Exchange, found: bytes | Exception) -> None:
        """Answer an exchange."""
        exchange.response_complete = True
        if self.transport.is_closing():
            return
        end = b"" if exchange.keep_alive else _CLOSE
        if isinstance(found, bytes):
            self._write(202, _TAKEN % len(found), exchange.told, end)
            self.transport.write(found)
        else:
            response = _refusal(found)
            head = b"".join([b"%b: %b\r\n" % pair for pair in response.raw_headers])
            self._write(response.status_code, head, b"x-content-type-options: nosniff\r\n", exchange.told, end)
            self.transport.write(bytes(response.body))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, status: int, *lines: bytes) -> None:
        made_of, default = self._default_headers
        if made_of is not self.server_state.default_headers:  # a new date, once a second
            made_of = self.server_state.default_headers
            default = b"".join([b"%b: %b\r\n" % pair for pair in made_of])
            self._default_headers = (made_of, default)
        self.transport.write(b"".join((STATUS_LINE[status], default, *lines, b"\r\n")))


async def _heard_later(service: Service, view: VenueView, sent: Sent, heard: Any) -> None:
    try:
        found: bytes | Exception = await send(service, view, sent)
    except asyncio.CancelledError:
        raise
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is answered, and told apart there
        found = exc
    heard(found)


def _refusal(exc: Exception) -> Response:
    if isinstance(exc, (ProblemError, RacingError)):
        return answer_to(exc)
    log.error("unexpected error", exc_info=exc)
    return answer("internal", "an unexpected error; it is logged")


def _limit(query: bytes) -> int | None:
    """The limit of a query that holds nothing else, 50 without one; None for any other query."""
    if not query:
        return 50
    name, _, value = query.partition(b"=")
    if name != b"limit" or not value.isdigit() or len(value) > 4 or not 1 <= int(value) <= _SLOTS_MAX:  # noqa: PLR2004  # digits of 1000
        return None
    return int(value)


def fast_protocol(app: FastAPI, body_max_bytes: int) -> type[HttpToolsProtocol]:
    """The protocol of a server that serves this application.

    Where other sites may read answers, the plain routes answer what names its origin: they say so.
    """
    settings: Settings = app.state.settings
    keyed = settings.keys == "on"
    cors = bool(settings.cors_origins)
    given = {
        "fast_app": app,
        "body_max_bytes": body_max_bytes,
        "keyed": keyed,
        "cors": cors,
        "odd_in_reads": _BODY_OF_READ | ({b"origin"} if cors else set()) | ({b"authorization"} if keyed else set()),
    }
    return type("ServedProtocol", (FastProtocol,), given)
