"""The two busy addresses without the framework: GET slots and POST events, answered by the HTTP protocol itself.

What is done is what the plain routes do (api.routes.slots, api.sending), and what is not plain here goes on to them
untouched: an unknown venue, another method, odd parameters or headers, a body of another type or size, a request that
comes before the one before it is answered. A task, a scope and a cycle of uvicorn's for each request cost more than
the whole answer does. So does parsing: what a head asked that was parsed is remembered (api.heads). And so do the
addresses of a new connection: they are asked for when uvicorn answers, which alone needs them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI
from starlette.responses import Response
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from api.asked import BODY_OF_READ, PREFIX, Asked, Read, asked_of
from api.cycles import ANSWERED, Exchange
from api.encoded import Slots
from api.errors import ProblemError, answer, answer_to
from api.grants import Grant
from api.heads import Heads, head_of
from api.routes.slots import if_none_match_names
from api.sending import Sent, send_at_once, send_let_in, why_not
from api.service import Service
from api.tokens import issued_s
from api.view import VenueView
from racing.errors import OverloadedError, RacingError
from racing.settings import Settings

log = structlog.get_logger("saima.api")

_LIVE = b"/live"
_TAKEN = b"content-type: application/json\r\nx-content-type-options: nosniff\r\ncontent-length: %d\r\n"
_CLOSE = b"connection: close\r\n"

_VARY = b"vary: Origin\r\n"
HEADERS_MAX, HEAD_MAX_BYTES = 64, 16_384
"""Headers of a request, and bytes of its first line and headers together."""

TakeOver = Callable[[asyncio.Transport, set[Any]], None]
"""Takes a connection over: given its transport, and where the server keeps those that it ends."""


class FastProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but for the requests that it answers itself."""

    fast_app: ClassVar[FastAPI]
    body_max_bytes: ClassVar[int]
    keyed: ClassVar[bool]
    cors: ClassVar[bool]
    odd_in_reads: ClassVar[frozenset[bytes]] = BODY_OF_READ
    heads: ClassVar[Heads[Asked]]
    _default_headers: tuple[Any, bytes] = (None, b"")
    _between = True  # no message has begun that has not ended
    _in_head = False  # a message has begun whose head is not complete
    _head_bytes = _came = 0  # what came of it before this part, and with it
    _read_s = 0.0  # when the last read was answered
    _chunk = b""  # what came between messages, while it is parsed: it begins with a head, if it is a message at all

    def __init__(self, *args: Any, **options: Any) -> None:
        """Made when a connection is taken. That it begins uvloop says a look at the sockets later: a turn too late."""
        super().__init__(*args, **options)
        service: Service = self.fast_app.state.service
        service.turns.came()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection begins: as uvicorn has it, but for the addresses, and a line of a log that is not kept here."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request that is whole and whose head was seen before; parse anything else."""
        if self._between:
            head = head_of(data)
            if head is not None and len(data) == head.size + head.length and head.length <= self.body_max_bytes:
                asked = self.heads.get(head)
                if asked is not None and self._is_next() and self._answer(asked, data, head.size):
                    return
            self._chunk = data
        self._came = len(data) + self._head_bytes
        super().data_received(data)
        self._chunk = b""
        self._head_bytes = self._came if self._in_head else 0
        if self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the one shape of errors, and end the connection."""
        self._end_with(answer("malformed", msg))

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: whoever asks for a websocket would fill the log with advice to install some."""

    def _refuse_head(self) -> None:
        self._came = HEAD_MAX_BYTES + 1  # whatever else comes is looked at, and passed over
        detail = f"more than {HEADERS_MAX} headers, or {HEAD_MAX_BYTES} bytes of them: send fewer"
        self._end_with(answer("head_too_large", detail))

    def _end_with(self, response: Response) -> None:
        """Answer this, unless the answer before it is still being written, and end the connection."""
        before: Any = self.cycle
        if before is None or before.response_complete:
            status, head, body = _parts(response)
            self._write(status, head, _CLOSE, body=body)
            self.cycle = ANSWERED  # what else comes of this request is passed over
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
        self._between = False
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
        chunk, self._chunk = self._chunk, b""
        if url.startswith(PREFIX) and self._is_next() and self._is_plain():
            asked = asked_of(
                self.parser.get_method(), url, headers, odd=self.odd_in_reads, body_max_bytes=self.body_max_bytes
            )
            if asked is not None and self._answer(asked):
                if asked.again:
                    self.heads.remember(chunk, len(headers), asked)
                return
        if self.scheme is None:
            self._ask_whose()
        expect = self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        if _LIVE in url:
            self.scope["saima.hand_over"] = partial(self._hand_over, self.cycle)  # type: ignore[typeddict-unknown-key]  # ours

    def _ask_whose(self) -> None:
        """Let uvicorn know the two ends of this connection."""
        self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        self.scheme = "https" if is_ssl(self.transport) else "http"

    def _hand_over(self, cycle: Any, take: TakeOver) -> None:
        """Let another protocol have the connection, after the head of an answer; unless it has gone meanwhile.

        What the client has sent after the request is passed over, and this protocol is done.
        """
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_complete = True
        self.cycle, self.parser = ANSWERED, None  # type: ignore[assignment]  # as at the end of a connection
        self.pipeline.clear()
        self.flow.resume_reading()
        self.connections.discard(self)
        take(self.transport, self.connections)

    def _is_next(self) -> bool:
        """Whether what came before is answered, and the answer to this can be written."""
        before: Any = self.cycle
        return (before is None or before.response_complete) and not self.flow.write_paused

    def _is_plain(self) -> bool:
        """Whether this request stays on the connection, and asks for nothing out of the way."""
        parser = self.parser
        return (
            not (self.expect_100_continue or self.root_path)
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        )

    def _answer(self, asked: Asked, data: bytes | None = None, begin: int = 0) -> bool:
        """Answer a read; take a batch whose body is here, or begin one. False, with nothing done, for no such venue.

        data: the whole request, where it is here; its body begins there.
        """
        service: Service = self.fast_app.state.service
        if isinstance(asked, Read):
            view = service.frames.open_views.get(asked.venue)
            return view is not None and self._read(service, view, asked)
        view = service.frames.views.get(asked.venue)
        if view is None:
            return False
        told = b""
        if self.keyed:
            grant = service.grants_in_force().known.get(asked.authorization)
            if grant is None or not grant.takes_batch(asked.venue):
                return False
            told = grant.bucket.lines()
        if data is not None and (why := _why_not(service, view, len(data))) is not None:
            self._refuse(why, told)
            return True
        self._unset_keepalive_if_required()
        exchange: Any = Exchange(view, asked.media_type, asked.key, told)
        self.cycle = exchange
        if data is not None:
            exchange.body.append(data[begin:])
            self._take(service, exchange)
        return True

    def _refuse(self, why: RacingError, told: bytes) -> None:
        """Refuse a batch that is here, at the cost of a read: more of them come than are taken."""
        status, head, body = _refused(why)
        self.cycle = ANSWERED
        self._write(status, head, told, body=body)
        self._read_complete()

    def _read(self, service: Service, view: VenueView, asked: Read) -> bool:
        """Whether it was answered.

        Not for a key that was not resolved within the last second, or has no quota left; nor where the client has seen
        a newer frame than this process.
        """
        if asked.seen is not None and asked.seen > view.frame.place:
            return False
        _, lines, stale = view.times(service.now_ms)
        issued = issued_s(view.frame.at_ms, service.now_ms()) if asked.tokens else 0
        if asked.authorization is None:
            self._show(service, view.slots(asked.limit, stale=stale, issued_s=issued), asked, lines)
            return True
        grant: Grant | None = service.grants_in_force().known.get(asked.authorization)
        if grant is None or not grant.bucket.take(time.monotonic()):
            return False
        made = view.detailed if grant.sees_details(asked.venue) else view.slots
        slots = made(asked.limit, stale=stale, issued_s=issued)
        self._show(service, slots, asked, grant.bucket.lines() + lines)
        return True

    def _show(self, service: Service, slots: Slots, asked: Read, told: bytes) -> None:
        if self.cors or (self.keyed and service.grants_in_force().origins):
            told += _VARY
        if asked.coding:
            slots = slots.packed(asked.coding)
        self.cycle = ANSWERED
        if asked.if_none_match is not None and if_none_match_names(asked.if_none_match, slots.etag):
            self._write(304, slots.head, told)
        else:
            self._write(200, slots.head, told, slots.length, body=slots.body)
        self._read_complete()

    def _read_complete(self) -> None:
        """As on_response_complete; a timer that runs already is left to run, see timeout_keep_alive_handler."""
        if self.timeout_keep_alive_task is None or self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
        self._read_s = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for so long; one that has read since then has its time again."""
        left_s = self._read_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def on_body(self, body: bytes) -> None:
        """A part of a body: bounded by its Content-Length, to which the parser sees."""
        exchange: Any = self.cycle
        if type(exchange) is Exchange:
            exchange.body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: take the batch."""
        self._between = True
        exchange: Any = self.cycle
        if type(exchange) is not Exchange:
            super().on_message_complete()
            return
        service: Service = self.fast_app.state.service
        why = _why_not(service, exchange.view, _size(exchange))
        if why is None:
            self._take(service, exchange)
        else:
            self._hear(exchange, why)

    def _take(self, service: Service, exchange: Exchange) -> None:
        service.turns.take(partial(self._take_now, service, exchange), _size(exchange))

    def _take_now(self, service: Service, exchange: Exchange) -> None:
        heard = partial(self._hear, exchange)
        body = exchange.body[0] if len(exchange.body) == 1 else b"".join(exchange.body)
        try:
            sent = Sent(body, exchange.media_type, exchange.key)
            if not send_at_once(service, exchange.view, sent, heard):
                task = self.loop.create_task(_heard_later(service, exchange.view, sent, heard))
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is answered, and told apart there
            heard(exc)

    def _hear(self, exchange: Exchange, found: bytes | Exception) -> None:
        """Answer an exchange."""
        exchange.response_complete = True
        if self.transport.is_closing():
            return
        end = b"" if exchange.keep_alive else _CLOSE
        if isinstance(found, bytes):
            self._write(202, _TAKEN % len(found), exchange.told, end, body=found)
        else:
            status, head, body = _refused(found)
            self._write(status, head, exchange.told, end, body=body)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, status: int, *lines: bytes, body: bytes = b"") -> None:
        """A head and a body in one call into the kernel."""
        made_of, default = self._default_headers
        if made_of is not self.server_state.default_headers:  # a new date, once a second
            made_of = self.server_state.default_headers
            default = b"".join([b"%b: %b\r\n" % pair for pair in made_of])
            self._default_headers = (made_of, default)
        self.transport.writelines((b"".join((STATUS_LINE[status], default, *lines, b"\r\n")), body))


def _why_not(service: Service, view: VenueView, size: int) -> RacingError | None:
    """Why a batch is refused as it comes, whatever is in it; None for one that is let in. size: its bytes."""
    return why_not(service, view) or service.turns.why_not(size)


def _size(exchange: Exchange) -> int:
    return sum(map(len, exchange.body))


async def _heard_later(service: Service, view: VenueView, sent: Sent, heard: Any) -> None:
    try:
        found = await send_let_in(service, view, sent)
    except asyncio.CancelledError:
        raise
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is answered, and told apart there
        heard(exc)
    else:
        heard(found)


@lru_cache(maxsize=8)
def _overloaded(detail: str) -> tuple[int, bytes, bytes]:
    """As _refused, made once for all who are told the same: who is refused for lack of time must cost little."""
    return _parts(_refusal(OverloadedError(detail)))


def _refused(exc: Exception) -> tuple[int, bytes, bytes]:
    """(status, lines of the head, body) of a refusal."""
    return _overloaded(str(exc)) if isinstance(exc, OverloadedError) else _parts(_refusal(exc))


def _parts(response: Response) -> tuple[int, bytes, bytes]:
    lines = [b"%b: %b\r\n" % pair for pair in (*response.raw_headers, (b"x-content-type-options", b"nosniff"))]
    return response.status_code, b"".join(lines), bytes(response.body)


def _refusal(exc: Exception) -> Response:
    if isinstance(exc, (ProblemError, RacingError)):
        return answer_to(exc)
    log.error("unexpected error", exc_info=exc)
    return answer("internal", "an unexpected error; it is logged")


def fast_protocol(app: FastAPI, body_max_bytes: int) -> type[HttpToolsProtocol]:
    """The protocol of a server that serves this application.

    Where other sites may read answers, those listed and those that beacon keys name, the plain routes answer what names
    its origin: they say so.
    """
    settings: Settings = app.state.settings
    keyed, cors = settings.keys == "on", bool(settings.cors_origins)
    odd = BODY_OF_READ | ({b"origin"} if cors or keyed else set()) | ({b"authorization"} if keyed else set())
    given = {
        "fast_app": app,
        "body_max_bytes": body_max_bytes,
        "keyed": keyed,
        "cors": cors,
        "odd_in_reads": odd,
        "heads": Heads(),
    }
    return type("ServedProtocol", (FastProtocol,), given)
