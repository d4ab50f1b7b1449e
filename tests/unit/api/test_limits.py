"""Bodies have a bound, announced or not; answers carry headers that keep browsers careful."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import install
from api.limits import CSP, READER_CSP, BodyLimit, SecurityHeaders

MOST = 10


def application() -> FastAPI:
    """An application that reads its bodies, and has one page."""
    app = FastAPI(docs_url=None, redoc_url=None)
    install(app)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.get("/page")
    @app.get("/docs")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>")

    app.add_middleware(BodyLimit, most=MOST)
    app.add_middleware(SecurityHeaders)
    return app


class Exchange:
    """One request, sent part by part, and its answer; asked counts the parts that were read."""

    def __init__(self, *parts: bytes, method: str = "POST", path: str = "/", **headers: str) -> None:
        self.parts = list(parts)
        self.asked = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": pairs,
            "server": ("test", 80),
            "scheme": "http",
            "http_version": "1.1",
        }

    async def receive(self) -> Message:
        body = self.parts[self.asked] if self.asked < len(self.parts) else b""
        self.asked += 1
        return {"type": "http.request", "body": body, "more_body": self.asked < len(self.parts)}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")

    async def through(self, app: ASGIApp) -> Exchange:
        await app(self.scope, self.receive, self.send)
        return self


@pytest.mark.parametrize("size", [MOST + 1, 100 * MOST, 10**40])
async def test_a_body_announced_as_too_large_is_refused_unread(size: int) -> None:
    found = await Exchange(b"x" * 20, content_length=str(size)).through(application())
    assert (found.status, found.asked) == (413, 0)
    assert json.loads(found.body)["detail"] == "a body of more than 10 bytes: send smaller batches"


@pytest.mark.parametrize("parts", [(b"x" * 11,), (b"x" * 10, b"x"), (b"x",) * 50])
@pytest.mark.parametrize("announced", [{}, {"content_length": "5"}, {"content_length": "\xb2"}])
async def test_a_body_that_grows_too_large_is_refused_as_it_does(
    parts: tuple[bytes, ...], announced: dict[str, str]
) -> None:
    """Whatever was announced, also a length that is no number; no more is read than shows it."""
    found = await Exchange(*parts, **announced).through(application())
    assert found.status == 413
    assert found.asked == min(len(parts), 11)
    assert json.loads(found.body)["code"] == "too_large"


@pytest.mark.parametrize("parts", [(b"x" * 10,), (b"x" * 4, b"", b"x" * 6), (b"",)])
async def test_a_body_within_the_bound_is_read_whole(parts: tuple[bytes, ...]) -> None:
    size = sum(map(len, parts))
    found = await Exchange(*parts, content_length=str(size)).through(application())
    assert (found.status, json.loads(found.body)) == (200, size)


async def test_other_protocols_are_passed_on_as_they_are() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "lifespan.startup.complete"})

    exchange = Exchange()
    exchange.scope = {"type": "lifespan"}
    await exchange.through(SecurityHeaders(BodyLimit(inner, MOST)))
    assert seen == [{"type": "lifespan"}]


async def test_a_page_is_bound_to_its_own_service() -> None:
    found = await Exchange(method="GET", path="/page").through(application())
    assert found.headers["content-security-policy"] == CSP
    assert found.headers["referrer-policy"] == "no-referrer"
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_the_api_reader_may_load_its_own_assets() -> None:
    """Swagger UI comes from elsewhere, and from nowhere but there; all else is as for other pages."""
    found = await Exchange(method="GET", path="/docs").through(application())
    assert found.headers["content-security-policy"] == READER_CSP
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("exchange", [Exchange(b"{}"), Exchange(path="/nope"), Exchange(content_length="99")])
async def test_answers_of_every_kind_have_types_that_are_not_guessed(exchange: Exchange) -> None:
    found = await exchange.through(application())
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in found.headers
