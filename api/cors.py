"""Other sites' pages: which origins may read answers, by list."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import answer
from api.service import Service

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match")
EXPOSED = (
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Saima-Age-Ms",
    "Saima-Frame",
    "Saima-Now-Ms",
    "Saima-Stale",
)


class Cors(CORSMiddleware):
    """Let pages of the listed origins, and of those that beacon keys name, read answers. No cookies."""

    def __init__(self, app: ASGIApp, *, origins: str, served: FastAPI) -> None:
        listed = [origin for origin in origins.split(",") if origin]
        super().__init__(
            app, allow_origins=listed, allow_methods=METHODS, allow_headers=HEADERS, expose_headers=EXPOSED
        )
        self._listed = bool(listed)
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; say in the answer who may read it, where any origin may."""
        if self._listed or self._named():
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _named(self) -> frozenset[str]:
        service: Service | None = getattr(self._served.state, "service", None)
        return service.grants.origins if service is not None and service.grants is not None else frozenset()

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether pages of this origin may read answers."""
        return origin in self._named() or super().is_allowed_origin(origin)

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks first; a refusal in the one shape of errors."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:  # noqa: PLR2004  # the line between good and bad
            return response
        refused = answer("malformed", bytes(response.body).decode())
        refused.headers["Vary"] = "Origin"
        return refused
