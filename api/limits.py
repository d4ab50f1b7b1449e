"""What holds for every request and answer: a bound on bodies, and headers that keep browsers careful."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer

CSP = (
    "default-src 'self'; img-src 'self' data: https:; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
READER_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net;"
    " style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com;"
    " font-src https://fonts.gstatic.com; img-src 'self' data: https:; worker-src blob:; object-src 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""Of the reader of the API's description, whose scripts come from elsewhere."""
_READERS = ("/docs", "/redoc")


class BodyLimit:
    """Refuse bodies of more than ``most`` bytes (413), by Content-Length at once, else when they pass it."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._most:
            await answer("too_large", self._detail())(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            """The next part of the body. Raises HTTPException (413) for the one that goes beyond the bound."""
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, self._detail())
            return message

        await self._app(scope, counted, send)

    def _detail(self) -> str:
        return f"a body of more than {self._most} bytes: send smaller batches"


class SecurityHeaders:
    """Tell browsers not to guess types, bind pages to what this service serves, and tell callers of their quota."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add the headers as the answer begins."""
        state = scope.setdefault("state", {}) if scope["type"] == "http" else {}

        async def with_headers(message: Message) -> None:
            """Send a part of the answer, its head with the headers."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.update(state.get("told", {}))
                if headers.get("content-type", "").startswith("text/html"):
                    reader = scope["path"].startswith(_READERS)
                    headers["Content-Security-Policy"] = READER_CSP if reader else CSP
                    headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
