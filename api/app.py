"""The ASGI application: routes, errors, pages, and the task that follows the frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from api import errors
from api.frames import Frames
from api.routes import events, machines, slots, venues
from api.service import Service
from racing.errors import StoreError
from racing.settings import Settings
from racing.store.client import connect_async
from racing.store.desk import Desk

PAGES = str(files("api").joinpath("pages"))
_CSP = "default-src 'self'; img-src 'self' data: https:; frame-ancestors 'none'"
_READ_BLOCK_MS = 1_000


def create_app(settings: Settings, url: str) -> FastAPI:
    """The application over one Redis. Connects when it starts, and again whenever Redis comes back."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client, reader = connect_async(url), connect_async(url, block_ms=_READ_BLOCK_MS)
        desk = Desk(client)
        frames = Frames(desk, client, reader)
        app.state.service = Service(settings, desk, frames)
        try:
            await frames.refresh()
        except StoreError:
            pass  # the task tries again; until then readers get 404 or 503, never a crash
        await frames.start()
        yield
        await frames.stop()
        await client.aclose()
        await reader.aclose()

    app = FastAPI(
        title="Saima",
        version="0.1.0",
        summary="Real-time slot ranking for promotion venues (赛马)",
        lifespan=lifespan,
        max_body_size=settings.body_max_bytes,
        telemetry={"tracing": False},
    )
    errors.install(app)
    for router in (venues.router, events.router, slots.router, machines.router):
        app.include_router(router)
    app.middleware("http")(_security_headers)
    _pages(app)
    return app


async def _security_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.headers.get("content-type", "").startswith("text/html") and not request.url.path.startswith("/docs"):
        response.headers["Content-Security-Policy"] = _CSP
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _pages(app: FastAPI) -> None:
    app.mount("/pages", StaticFiles(directory=PAGES), name="pages")

    @app.get("/", include_in_schema=False)
    async def race_page() -> FileResponse:
        """The live race."""
        return FileResponse(f"{PAGES}/index.html", headers={"Cache-Control": "no-cache"})
