"""The fast path and the plain routes give the same answer to the same request, right or wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.app import create_app
from api.bodies import NDJSON
from api.encoded import CACHE_CONTROL
from api.fastpath import FastProtocol, fast_protocol
from api.frames import Frames
from api.grants import Grants
from api.packed import MEDIA_TYPE
from api.service import Service
from api.tokens import VenueTokens
from api.view import VenueView
from racing.entries import Runner
from racing.errors import IdempotencyMismatchError, StoreUnavailableError
from racing.model import Frame, Slot
from racing.rule import DEFAULT_RULE
from racing.settings import Settings, load_settings
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.documents import RuleVersion
from racing.store.numbers import Mark, Numbers
from racing.store.venues import Venue

NOW_MS = 1_763_740_805_250
BODY_MAX = 2_048
JSON = "application/json"
EVENTS = "/v1/venues/hall-1/events"
SLOTS = "/v1/venues/hall-1/slots"
NUMBERS = {"p-1": 0, "p-2": 7}
MARK = Mark(7, b"digest up to 7")
VENUE = Venue("hall-1", "Hall", 1)
FRAME = Frame("hall-1", 7, 1, "5-0", NOW_MS, 1, 2, 0, (Slot(1, 0, "p-1", 2.0, ()), Slot(2, 7, "p-2", 1.0, ())))


RUNNERS = {number: Runner(product, "m", product) for product, number in NUMBERS.items()}


def shown_view() -> VenueView:
    """The venue with its one frame."""
    made = VenueView(VENUE, FRAME, DEFAULT_RULE, 1, tokens=VenueTokens(bytes(32), "hall-1"))
    made.show(FRAME, RUNNERS)
    return made


VIEW = shown_view()
ETAG = VIEW.slots(50, stale=False).etag


class NothingKept:
    """A client of a server without frames."""

    async def xrange(self, *_: Any, **__: Any) -> list[Any]:
        return []

    xrevrange = xrange


class MemoryDesk:
    """A log in memory, with what the two addresses ask of a desk; error: what appends raise."""

    def __init__(self, error: Exception | None) -> None:
        self.venues = self.rules = self.runners = self
        self.log: list[bytes] = []
        self._error = error
        self._keys: dict[str, tuple[str, Appended]] = {}

    async def secret(self) -> bytes:
        return bytes(32)

    async def all(self) -> list[Venue]:
        return [VENUE]

    async def read(self, venue: str, version: int | None = None) -> RuleVersion:
        return RuleVersion(1, DEFAULT_RULE.model_dump(mode="json", exclude_none=True), "a", "", 0)

    async def by_number(self, venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        return {number: RUNNERS[number] for number in numbers}

    async def numbers(self, venue: str, products: Sequence[str], since: Mark) -> Numbers:
        return Numbers({product: NUMBERS[product] for product in products if product in NUMBERS}, MARK)

    async def first_numbers(self, venue: str, *, at_most: int) -> Numbers:
        return Numbers(NUMBERS, MARK)

    async def append_all(self, venue: str, batches: Sequence[bytes | KeyedBatch], mark: Mark) -> list[Any]:
        assert mark == MARK
        if self._error is not None:
            raise self._error
        return [self._append(batch) for batch in batches]

    def _append(self, batch: bytes | KeyedBatch) -> Appended | IdempotencyMismatchError:
        if isinstance(batch, bytes):
            self.log.append(batch)
            return Appended(f"{len(self.log)}-0", b"", repeated=False)
        if batch.key in self._keys:
            digest, first = self._keys[batch.key]
            same = digest == batch.digest
            return Appended(first.entry, first.answer, repeated=True) if same else IdempotencyMismatchError("another")
        self.log.append(batch.packed)
        appended = Appended(f"{len(self.log)}-0", batch.answer, repeated=False)
        self._keys[batch.key] = (batch.digest, appended)
        return appended

    async def answered(self, venue: str, *, key: str, digest: str) -> Appended | None:
        return None


@dataclass(frozen=True)
class Case:
    """A request; fast: whether it is answered before routing. length: what Content-Length says, of itself the size."""

    name: str
    method: str
    path: str
    fast: bool
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[bytes, ...] = (b"",)
    length: str | None = None

    def request(self) -> list[bytes]:
        """The bytes of the request as they come in: its head, then its parts."""
        target = quote(self.path) + (f"?{quote(self.query, safe='&=%+;', encoding='latin-1')}" if self.query else "")
        headers = {name.lower(): value for name, value in self.headers}
        lines = [
            f"{self.method} {target} HTTP/1.1",
            "host: test",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        size = str(sum(map(len, self.parts))) if self.length is None else self.length
        if size and self.method == "POST":
            lines.append(f"content-length: {size}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if "transfer-encoding" in headers:
            return [head, *(b"%x\r\n%b\r\n" % (len(part), part) for part in self.parts if part), b"0\r\n\r\n"]
        return [head, *self.parts] if size else [head]


@dataclass
class Answer:
    """What came back; headers in no order. routed: whether a plain route was asked."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    routed: bool = False


PEER, OURS = ("192.0.2.7", 4711), ("192.0.2.1", 80)
"""The two ends of each connection."""


class FakeTransport(asyncio.Transport):
    """What the protocol writes, as bytes."""

    def __init__(self) -> None:
        super().__init__({"peername": PEER, "sockname": OURS})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def answers(self) -> list[Answer]:
        """The answers so far, in order."""
        found, rest = [], self.written
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").split("\r\n")
            headers = sorted((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))
            answer = Answer(int(status.split()[1]), headers)
            size = int(dict(headers).get("content-length", "0"))
            answer.body, rest = rest[:size], rest[size:]
            found.append(answer)
        return found


class FakeLoop:
    """A loop's clock and timers, for a protocol that needs no more of it."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, call: Any) -> asyncio.Handle:
        handle = asyncio.Handle(call, (), asyncio.get_running_loop())
        self._timers.append((self._now_s + delay_s, handle))
        return handle

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and run what is due on the way."""
        end_s = self._now_s + seconds
        while due := sorted(
            (each for each in self._timers if each[0] <= end_s and not each[1].cancelled()), key=lambda each: each[0]
        ):
            self._timers.remove(due[0])
            self._now_s = due[0][0]
            due[0][1]._run()
        self._now_s = end_s


@cache
def _app(keys: str, cors: str) -> FastAPI:
    """An application, made once: to build its routes and middleware takes as long as hundreds of requests."""
    return create_app(_settings(keys, cors), "redis://nowhere")


def _settings(keys: str, cors: str) -> Settings:
    return load_settings(body_max_bytes=BODY_MAX, batch_max_events=5, keys=keys, cors_origins=cors)


class Served:
    """A server's protocol before an application over a log of its own, with or without the fast path."""

    def __init__(
        self,
        *,
        fast: bool,
        age_ms: float | None = None,
        error: Exception | None = None,
        grants: Grants | None = None,
        cors: str = "",
    ) -> None:
        """grants: the keys that are in force; none are without."""
        keys = "off" if grants is None else "on"
        self.app = _app(keys, cors)
        self._protocol = fast_protocol(self.app, BODY_MAX) if fast else HttpToolsProtocol
        self._config = uvicorn.Config(
            self._served, interface="asgi3", log_config=None, access_log=False, proxy_headers=False, ws="none"
        )
        self._routed = False
        self.desk = MemoryDesk(error)
        desk = cast("Desk", self.desk)
        nobody: Any = NothingKept()
        frames = Frames(desk, nobody, nobody, guarded=grants is not None)
        view = shown_view()
        view.age_ms = age_ms
        frames.views["hall-1"] = view
        frames.take(VENUE)
        self.service = Service(_settings(keys, cors), desk, frames, grants)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application. What the framework raises after it has answered 500 is let go."""
        try:
            await self.app(scope, receive, send)
        except RuntimeError:
            assert scope["type"] == "http"
        self._routed = "endpoint" in scope

    def connected(self) -> tuple[HttpToolsProtocol, FakeTransport]:
        """A new connection. Until another one of these has one, the application is this one's."""
        self.app.state.service = self.service
        protocol = self._protocol(self._config, ServerState(), {})
        transport = FakeTransport()
        protocol.connection_made(transport)
        return protocol, transport

    async def ask(self, case: Case) -> Answer:
        """The answer to a request on a connection of its own."""
        self._routed = False
        protocol, transport = self.connected()
        for part in case.request():
            if not transport.closed:
                protocol.data_received(part)
        await answered(protocol, transport)
        protocol.connection_lost(None)
        (found,) = transport.answers() if case.method != "HEAD" else [heads_only(transport)]
        found.routed = self._routed
        return found


def heads_only(transport: FakeTransport) -> Answer:
    """The answer to a HEAD: its length is that of a body which does not come."""
    transport.written = transport.written.replace(b"content-length", b"x-length")
    (found,) = transport.answers()
    return found


async def answered(protocol: HttpToolsProtocol, transport: FakeTransport, answers: int = 1) -> None:
    """Return when so many answers are written, the last one whole."""

    def whole() -> bool:
        cycle: Any = protocol.cycle
        done = cycle is not None and cycle.response_complete
        return transport.closed or (done and len(transport.answers()) >= answers)

    async with asyncio.timeout(10):
        while not whole():  # noqa: ASYNC110  # the framework tells nobody when it is done
            await asyncio.sleep(0)
        await asyncio.gather(*protocol.tasks)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "now_ms", lambda _: NOW_MS)
    monkeypatch.setattr("api.frames.time.monotonic", lambda: 0.0)


@pytest.fixture(autouse=True)
def _unprinted() -> Iterator[None]:
    """Unexpected errors are wanted here; to print each with its coloured traceback took most of the time."""
    with capture_logs():
        yield


def reading(name: str, *, fast: bool = True, query: str = "", **headers: str) -> Case:
    pairs = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return Case(name, "GET", SLOTS, fast, query=query, headers=pairs)


def sending(name: str, body: object, *, fast: bool = True, **given: Any) -> Case:
    """A batch; content_type and other headers by name, length and parts as in Case."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts, length = given.pop("parts", (content,)), given.pop("length", None)
    headers = {"content_type": JSON, **given}
    pairs = tuple((key.replace("_", "-"), value) for key, value in headers.items() if value is not None)
    return Case(name, "POST", EVENTS, fast, headers=pairs, parts=parts, length=length)


CLICK = {"type": "click", "product": "p-1"}
BATCH = {"events": [CLICK]}
RAW = json.dumps(BATCH).encode()
PLAIN_COLUMNS: dict[str, Any] = {
    "kinds": ["click"],
    "products": ["p-1", "p-9"],
    "kind": b"\0\0",
    "product": np.array([0, 1], "<u4").tobytes(),
}
PACKED = msgspec.msgpack.encode(PLAIN_COLUMNS)

READS = [
    reading("plain"),
    *(reading(f"limit {limit}", query=f"limit={limit}") for limit in (1, 2, 50, 1000, "007", "0001")),
    *(reading(f"tokens {limit}", query=f"limit={limit}&tokens=true") for limit in (1, 2, 1000)),
    *(
        reading(f"tokens {query!r}", query=query, fast=False)
        for query in ("tokens=true", "tokens=true&limit=2", "limit=1&tokens=false", "limit=0&tokens=true")
    ),
    *(
        reading(f"wrong limit {limit!r}", query=f"limit={limit}", fast=False)
        for limit in (0, 1001, 9999, -1, "", "abc", "1.5", "1e2", "%31", "+1", "%20", "\xb2", "00001", "9" * 5000)
    ),
    *(
        reading(f"query {query!r}", query=query, fast=False)
        for query in ("limit=1&limit=2", "limit", "limit==1", "x=1", "limit=1&x=2", "&", "LIMIT=1", "limit=1;limit=2")
    ),
    *(
        reading(f"etag {etag!r}", if_none_match=etag)
        for etag in (
            *(ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'"a",W/{ETAG} ', "*", " * "),
            *(
                FRAME.name,
                f'"{FRAME.name}"',
                "",
                '"other"',
                "\xe9",
                f"w/{ETAG}",
                "*,*",
                f"'{FRAME.name}'",
            ),
        )
    ),
    Case("two etags", "GET", SLOTS, fast=False, headers=(("if-none-match", '"x"'), ("If-None-Match", ETAG))),
    *(
        reading(f"takes {encoding!r}", accept_encoding=encoding)
        for encoding in (
            "gzip",
            "gzip, deflate, br",
            "br",
            "",
            "*",
            "gzip;q=0",
            "identity;q=1, gzip; q=0.5",
            "GZIP",
            "\xe9",
        )
    ),
    reading("packed etag", accept_encoding="gzip", if_none_match=VIEW.slots(50, stale=False).packed("gzip").etag),
    reading("plain etag of who takes gzip", accept_encoding="gzip", if_none_match=ETAG),
    Case("two encodings", "GET", SLOTS, fast=False, headers=(("accept-encoding", "br"), ("Accept-Encoding", "gzip"))),
    *(
        reading(f"query {query!r}", query=query, fast=False)
        for query in (
            *("cursor=x", "cursor=", "frame=1-1", f"frame={FRAME.name}", "frame=x", "at_ms=-1", f"at_ms={NOW_MS}"),
            *("category=audio", "tier=", "fields=title,price", "fields=colour", "fields=", f"seen={FRAME.name}"),
            *("frame=1-1&at_ms=5", "limit=1&fields=score", "seen=1"),
        )
    ),
    reading("etag and limit", query="limit=1", if_none_match=ETAG),
    reading("wrong limit and etag", query="limit=0", fast=False, if_none_match=ETAG),
    *(Case(f"{method} slots", method, SLOTS, fast=False) for method in ("HEAD", "POST", "DELETE", "OPTIONS")),
    *(
        Case(f"at {path}", "GET", path, fast=False)
        for path in (
            *(f"{SLOTS}/", f"{SLOTS}/x", "/v1/venues/hall-2/slots", "/v1/venues//slots", "/v1/venues/Hall-1/slots"),
            *(
                "/v1/venues/hall-1\0/slots",
                "//v1/venues/hall-1/slots",
                "/v1/venues/赛/slots",
                "/V1/venues/hall-1/slots",
            ),
        )
    ),
]
KEYS_TAKEN = ("k", "k 1", "~" * 255, "a, b")
WRITES = [
    sending("plain", BATCH),
    *(
        sending(f"type {content_type!r}", RAW, content_type=content_type, fast=fast)
        for content_type, fast in (
            ("Application/JSON", True),
            ("application/json; charset=utf-8", True),
            ("application/json;charset=utf-8", False),
            ("application/json ;x=y", False),
            ("application/json; charset=latin-1", False),
            ("application/jsonp", False),
            ("text/plain", False),
            ("", False),
            (None, False),
            ("application/msgpack", False),
            ("x" * 500, False),
            ("\xe9", False),
        )
    ),
    *(
        sending(f"packed as {content_type!r}", PACKED, content_type=content_type, fast=fast)
        for content_type, fast in (
            (MEDIA_TYPE, True),
            (MEDIA_TYPE.upper(), True),
            (f"{MEDIA_TYPE}; v=1", False),
            (JSON, True),
        )
    ),
    sending("json as packed", BATCH, content_type=MEDIA_TYPE),
    *(
        sending(f"packed {name}", msgspec.msgpack.encode({**PLAIN_COLUMNS, **columns}), content_type=MEDIA_TYPE)
        for name, columns in (
            ("short product", {"product": b"\0"}),
            ("index", {"kind": b"\0\1"}),
            ("none", {"kind": b"", "product": b""}),
            ("too many", {"kind": bytes(6), "product": bytes(24)}),
            ("unknown field", {"x": 1}),
            ("kind", {"kinds": ["nope"]}),
        )
    ),
    *(
        sending(f"lines {name}", body, content_type=NDJSON)
        for name, body in (
            ("plain", b'{"type":"click","product":"p-1"}\r\n\n{"type":"pay","product":"p-2","amount":5}\n'),
            ("one refused", b'{"type":"click","product":"p-1"}\n{"type":"click"}'),
            ("one broken", b'{"type":"click","product":"p-1"}\n{"type":'),
            ("two on one", b'{"type":"click"} {"type":"click"}'),
            ("closed", b"{}],[{}"),
            ("none", b""),
            ("empty", b"\n\r\n"),
            ("too many", b"{}\n" * 6),
            ("not UTF-8", b'"\xff"'),
            ("json", RAW),
        )
    ),
    sending("lines with a parameter", b"{}", content_type=f"{NDJSON}; charset=utf-8", fast=False),
    sending("packed cut", PACKED[:-1], content_type=MEDIA_TYPE),
    *(
        sending(f"encoding {encoding!r}", body, content_encoding=encoding, fast=False)
        for encoding, body in (
            ("gzip", gzip.compress(RAW)),
            ("br", RAW),
            ("identity", RAW),
            ("", RAW),
            ("identity, gzip", RAW),
        )
    ),
    *(
        sending(f"body {body[:20]!r}", body)
        for body in (
            *(b"", b"{", b"[]", b"null", b"{}", b'{"events": {}}', b'{"events": []}', b'{"events": [], "x": 1}'),
            *(b"\xff\xfe", b'{"events": [{"type": "\xff"}]}', b'{"events": [NaN]}', b"[" * 2000, RAW + b"x"),
            *(b'{"events": [0, 0, 0, 0, 0]}', b'{"events": [0, 0, 0, 0, 0, 0]}', RAW.ljust(BODY_MAX)),
        )
    ),
    *(
        sending(f"event {fields}", {"events": [CLICK, {**CLICK, **fields}]})
        for fields in (
            *({"product": "p-9"}, {"product": "p{"}, {"type": "nope"}, {"type": ""}, {"ts_ms": 1}, {"ts_ms": 2**53}),
            *({"ts_ms": NOW_MS}, {"amount": -1}, {"id": "a{"}, {"user": ""}, {"x": 1}, {"slot": 0}, {"source": "s"}),
        )
    ),
    sending("only refused", {"events": [{"type": "nope", "product": "p-1"}]}),
    sending("only refused, with a key", {"events": [{"type": "nope", "product": "p-1"}]}, idempotency_key="k"),
    sending("ids", {"events": [{**CLICK, "id": "a"}, {**CLICK, "id": "a"}, {**CLICK, "id": "b"}]}),
    sending("ids again", {"events": [{**CLICK, "id": "a"}, {"type": "pay", "product": "p-1", "id": "a"}]}),
    *(
        sending(f"key {key[:20]!r}", BATCH, idempotency_key=key, fast=key in KEYS_TAKEN)
        for key in (*KEYS_TAKEN, "k" * 256, "", "\t", "\xe9", "\x7f", " ")
    ),
    sending("key again", BATCH, idempotency_key="k 1"),
    sending("key with another body", {"events": [CLICK, CLICK]}, idempotency_key="k 1"),
    sending("wrong key and wrong body", b"{", idempotency_key="", fast=False),
    Case(
        "two keys",
        "POST",
        EVENTS,
        fast=False,
        headers=(("content-type", JSON), ("idempotency-key", "x"), ("idempotency-key", "y")),
        parts=(RAW,),
    ),
    Case(
        "two types", "POST", EVENTS, fast=False, headers=(("content-type", JSON), ("content-type", "a/b")), parts=(RAW,)
    ),
    sending("in parts", BATCH, parts=(RAW[:5], b"", RAW[5:])),
    sending("without a length", BATCH, length="", fast=False),
    sending("chunked", BATCH, length="", transfer_encoding="chunked", parts=(RAW[:5], RAW[5:]), fast=False),
    sending(
        "chunked beyond its length", b"", length="5", transfer_encoding="chunked", parts=(b" " * 999,) * 4, fast=False
    ),
    sending("grows too large", b"", length="", parts=(b" " * 999,) * 4, fast=False),
    *(
        sending(f"length {length!r}", RAW, length=length, fast=False)
        for length in (str(BODY_MAX + 1), "9" * 40, "-1", "\xb2", "+5", "5, 5")
    ),
    sending("with a query", BATCH),
    Case("query", "POST", EVENTS, fast=False, query="x=1", headers=(("content-type", JSON),), parts=(RAW,)),
    *(Case(f"{method} events", method, EVENTS, fast=False) for method in ("GET", "PUT", "HEAD")),
    *(
        Case(f"to {path}", "POST", path, fast=False, headers=(("content-type", JSON),), parts=(RAW,))
        for path in (f"{EVENTS}/", "/v1/venues/hall-2/events", "/v1/venues/a{b/events")
    ),
]


def told(answer: Answer) -> tuple[int, list[tuple[str, str]], Any]:
    """All of an answer that its receiver can see."""
    headers = dict(answer.headers)
    is_json = "json" in headers.get("content-type", "") and "content-encoding" not in headers
    return answer.status, answer.headers, json.loads(answer.body) if is_json and answer.body else answer.body


async def compare(cases: Sequence[Case], fast: Served, plain: Served) -> None:
    for case in cases:
        one, other = await fast.ask(case), await plain.ask(case)
        if other.status == 400 and not other.routed:  # uvicorn's own answer, of plain text, to what is no HTTP
            assert (one.status, json.loads(one.body)["code"]) == (400, "malformed")
            continue
        assert told(one) == told(other), case.name
        assert not (case.fast and one.routed), f"{case.name}: was left to the plain route"
        if other.routed:
            assert case.fast is not one.routed, f"{case.name}: {'fast' if case.fast else 'plain'} was expected"
    assert fast.desk.log == plain.desk.log


@pytest.mark.parametrize("age_ms", [None, 20.0, 10_000.0])
async def test_slots_are_answered_alike(age_ms: float | None) -> None:
    """Before the first commit, while the race runs, and when it has stopped."""
    await compare(READS, Served(fast=True, age_ms=age_ms), Served(fast=False, age_ms=age_ms))


async def test_events_are_answered_and_logged_alike() -> None:
    """One after the other: what came before makes repeats of ids and keys."""
    await compare(WRITES, Served(fast=True), Served(fast=False))


async def test_events_for_a_closed_venue_are_refused_alike() -> None:
    """What is wrong in a request is told before what it comes too late for."""
    served = Served(fast=True), Served(fast=False)
    for each in served:
        each.service.frames.views["hall-1"].shut = "its race has ended"
    await compare(WRITES, *served)
    asked = [await each.ask(sending("wrong key", BATCH, idempotency_key="")) for each in served]
    assert [answer.status for answer in asked] == [400, 400]


@pytest.mark.parametrize("error", [StoreUnavailableError("Redis is away"), RuntimeError("a fault of ours")])
async def test_faults_are_answered_alike(error: Exception) -> None:
    cases = [each for each in WRITES if each.name in {"plain", "key 'k'", "in parts", "body b'{'"}]
    assert len(cases) == 4
    with capture_logs() as logged:
        await compare(cases, Served(fast=True, error=error), Served(fast=False, error=error))
    unexpected = 0 if isinstance(error, StoreUnavailableError) else 3
    assert [each["event"] for each in logged] == ["unexpected error"] * 2 * unexpected


async def test_a_sender_that_is_told_to_wait_is_told_how_long() -> None:
    served = Served(fast=True, error=StoreUnavailableError("Redis is away"))
    answer = await served.ask(sending("plain", BATCH))
    assert not answer.routed
    assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "1")


async def test_a_batch_is_refused_as_it_comes_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refusal waits for nothing; one that was let in before the way was shut is taken when its turn comes."""
    served = Served(fast=True)
    await served.ask(sending("the first makes the way into the log", BATCH))
    monkeypatch.setattr("api.turns.TURN_S", 1e-9)
    (early, early_out), (late, late_out) = served.connected(), served.connected()
    request = b"".join(sending("plain", BATCH).request())
    served.connected()[0].data_received(request)  # a turn's work
    early.data_received(request)
    served.service.appenders["hall-1"].shut = "too much waits"
    late.data_received(request)
    (refused,) = late_out.answers()
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "1")
    assert json.loads(refused.body)["detail"] == "too much waits"
    assert not early_out.written
    await answered(early, early_out)
    assert [answer.status for answer in early_out.answers()] == [202]


async def test_the_answers_are_what_they_should_be() -> None:
    """Alike is not enough: the two could be wrong together."""
    served = Served(fast=True, age_ms=20.0)
    found = await served.ask(reading("plain", query="limit=1"))
    headers = dict(found.headers)
    assert found.status == 200
    assert [slot["product"] for slot in json.loads(found.body)["slots"]] == ["p-1"]
    assert headers.pop("content-length") == str(len(found.body))
    assert headers == {
        "etag": VIEW.slots(1, stale=False).etag,
        "cache-control": CACHE_CONTROL,
        "vary": "Accept-Encoding",
        "saima-now-ms": str(NOW_MS),
        "saima-age-ms": "20",
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
    }
    same = await served.ask(reading("same", query="limit=1", if_none_match=headers["etag"]))
    assert (same.status, same.body) == (304, b"")
    assert "content-length" not in dict(same.headers), "it would be that of the 200"
    taken = await served.ask(sending("plain", {"events": [CLICK, {**CLICK, "product": "p-9"}]}))
    assert taken.status == 202
    assert json.loads(taken.body) == {
        "position": "1-0",
        "accepted": 1,
        "duplicate": 0,
        "refused": [
            {
                "index": 1,
                "code": "unknown_product",
                "reason": "product: 'p-9' is not enrolled in venue 'hall-1': enrol it first",
            }
        ],
    }


async def test_a_sender_that_goes_before_its_body_is_whole_changes_nothing() -> None:
    served = Served(fast=True)
    protocol, transport = served.connected()
    head, body = sending("plain", BATCH).request()
    protocol.data_received(head + body[:5])
    protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(0)
    assert (transport.written, served.desk.log) == (b"", [])


async def test_a_sender_that_goes_before_it_is_answered_has_sent_nevertheless() -> None:
    served = Served(fast=True)
    await served.ask(sending("the first makes the way into the log", BATCH))
    protocol, transport = served.connected()
    protocol.data_received(b"".join(sending("plain", BATCH).request()))
    transport.closed = True
    protocol.connection_lost(ConnectionResetError())
    for _ in range(10):
        await asyncio.sleep(0)
    assert (transport.written, len(served.desk.log)) == (b"", 2)


async def test_a_client_that_takes_gzip_is_sent_the_same_body_packed() -> None:
    """Under an ETag of its own, which is the one that it has next time."""
    served = Served(fast=True)
    plain, packed = await served.ask(reading("plain")), await served.ask(reading("packed", accept_encoding="gzip"))
    headers = dict(packed.headers)
    assert gzip.decompress(packed.body) == plain.body
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert headers["etag"] == ETAG.removesuffix('"') + '-gzip"'
    same = await served.ask(reading("same", accept_encoding="gzip", if_none_match=headers["etag"]))
    assert (same.status, same.body, "content-encoding" in dict(same.headers)) == (304, b"", False)


async def test_who_has_seen_a_newer_frame_is_not_answered_at_once() -> None:
    """The plain route looks for it first. One that nobody has published makes no difference."""
    served = Served(fast=True)
    newer = f'"{FRAME.epoch}-{FRAME.frame + 1}-0123456789ab"'
    found = await served.ask(reading("newer", if_none_match=newer))
    assert (found.status, found.routed) == (200, True)
    older = await served.ask(reading("older", if_none_match=f'"{FRAME.epoch}-{FRAME.frame - 1}-0123456789ab"'))
    assert (older.status, older.routed) == (200, False)


ON_ONE_CONNECTION = [
    sending("a batch", {"events": [CLICK, CLICK]}),
    sending("of the same length", {"events": [CLICK, {**CLICK, "product": "p-2"}]}),
    sending("a wrong one", b"{"),
    sending("an unknown product", {"events": [{**CLICK, "product": "p-9"}]}),
    sending("with a key", BATCH, idempotency_key="k"),
    sending("a body that looks like a head", b"GET /v1/venues/hall-1/slots HTTP/1.1\r\n\r\n"),
    reading("a read", query="limit=1"),
    reading("another", query="limit=2"),
    reading("what it has", query="limit=2", if_none_match=ETAG),
    reading("a plain read", query="limit=0"),
    Case("plain", "GET", "/healthz", fast=False),
    Case("no such venue", "GET", "/v1/venues/hall-2/slots", fast=False),
]


@given(
    st.lists(st.sampled_from(ON_ONE_CONNECTION), min_size=1, max_size=12),
    st.lists(st.integers(0, 2000), max_size=6) | st.just(range(1, 5000)),
    st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_whatever_comes_on_one_connection_is_answered_alike(
    cases: list[Case], cuts: Sequence[int], waits: bool
) -> None:
    """Reads and batches, fast and plain, heads seen before and new ones, each awaited or not, in pieces of any size."""

    async def told_by(served: Served) -> list[Any]:
        protocol, transport = served.connected()
        pieces = [b"".join(case.request()) for case in cases]
        if not waits:
            data, ends = b"".join(pieces), sorted(cuts)
            pieces = [data[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)]
        for number, piece in enumerate(pieces, 1):
            if piece:
                protocol.data_received(piece)
            if waits:
                await answered(protocol, transport, number)
        await answered(protocol, transport, len(cases))
        protocol.connection_lost(None)
        return [*map(told, transport.answers()), served.desk.log]

    async def compared() -> None:
        assert await told_by(Served(fast=True, age_ms=20.0)) == await told_by(Served(fast=False, age_ms=20.0))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Service, "now_ms", lambda _: NOW_MS)
        patched.setattr("api.frames.time.monotonic", lambda: 0.0)
        asyncio.run(compared())


@pytest.mark.parametrize(
    "case", [reading("a read", query="limit=1"), sending("a batch", BATCH)], ids=lambda case: case.name
)
async def test_a_head_seen_before_is_not_parsed_again(case: Case) -> None:
    served = Served(fast=True)
    protocol, transport = served.connected()
    request = b"".join(case.request())
    protocol.data_received(request)
    await answered(protocol, transport)
    protocol.parser = None  # type: ignore[assignment]  # to be asked no more
    protocol.data_received(request)
    await answered(protocol, transport, 2)
    first, second = transport.answers()
    assert first.status == second.status
    assert first.status in {200, 202}


async def test_a_connection_is_closed_when_it_has_been_idle_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many reads came since its timer began to run."""
    served = Served(fast=True)
    protocol, transport = served.connected()
    read = b"".join(reading("a read").request())
    clock = asyncio.get_running_loop().time()
    monkeypatch.setattr(protocol, "loop", loop := FakeLoop(clock))
    for _ in range(3):
        protocol.data_received(read)
        loop.pass_s(3)
    assert len(transport.answers()) == 3
    assert not transport.closed
    loop.pass_s(1.9)
    assert not transport.closed
    loop.pass_s(0.2)
    assert transport.closed


async def test_the_heads_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.heads.HEADS_MAX", 8)
    served = Served(fast=True)
    protocol, transport = served.connected()
    for number in range(1, 100):
        protocol.data_received(b"".join(reading("a read", query=f"limit={number}").request()))
        protocol.data_received(b"".join(reading("long", query=f"limit={number}", x="x" * 5000).request()))
    assert isinstance(protocol, FastProtocol)
    assert len(transport.answers()) == 198
    assert 1 <= len(protocol.heads) <= 16
    assert max(map(len, protocol.heads._asked)) <= 1024


async def test_a_server_that_ends_answers_what_it_has_taken_and_hangs_up() -> None:
    served = Served(fast=True)
    await served.ask(sending("the first makes the way into the log", BATCH))
    protocol, transport = served.connected()
    protocol.data_received(b"".join(sending("plain", BATCH).request()))
    protocol.shutdown()
    assert not transport.closed
    await answered(protocol, transport)
    (answer,) = transport.answers()
    assert (answer.status, dict(answer.headers)["connection"]) == (202, "close")
    assert transport.closed


async def test_a_connection_that_is_not_to_stay_is_closed_after_the_answer() -> None:
    served = Served(fast=True)
    for case in (reading("read", fast=False, connection="close"), sending("batch", BATCH, connection="close")):
        protocol, transport = served.connected()
        protocol.data_received(b"".join(case.request()))
        await answered(protocol, transport)
        assert [answer.status // 100 for answer in transport.answers()] == [2]
        assert transport.closed


async def ends_told(*cases: Case, fast: bool) -> list[Any]:
    """What the application is told of the ends of a connection with the last of some requests."""
    served, scopes = Served(fast=fast), list[Scope]()

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await served.app(scope, receive, send)

    protocol, transport = served.connected()
    protocol.app = noted
    for number, case in enumerate(cases, 1):
        protocol.data_received(b"".join(case.request()))
        await answered(protocol, transport, number)
    protocol.connection_lost(None)
    return [scopes[-1][name] for name in ("client", "server", "scheme")]


async def test_the_application_is_told_both_ends_of_a_connection() -> None:
    """Though they are asked for no sooner than it answers, on the first request or on a later one."""
    plain = Case("nothing there", "GET", "/v1/nothing", fast=False)
    known = [PEER, OURS, "http"]
    assert await ends_told(plain, fast=True) == await ends_told(plain, fast=False) == known
    assert await ends_told(reading("a read"), plain, fast=True) == known


async def test_who_asks_for_a_websocket_is_answered_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    asked = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x"}
    found = await Served(fast=True).ask(reading("a websocket", fast=False, **asked))
    assert (found.status, caplog.text) == (200, "")
