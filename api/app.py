"""The ASGI application: routes, errors, pages, and the server that it runs in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from api import errors, openapi
from api.cors import Cors
from api.drain import DrainingServer
from api.fastpath import fast_protocol
from api.guard import unguarded
from api.limits import BodyLimit, SecurityHeaders
from api.process import Process
from api.routes import (
    alerts,
    applications,
    audit,
    beacons,
    boards,
    events,
    everywhere,
    live,
    live_standings,
    lives,
    machines,
    merchants,
    orders,
    past_standings,
    plans,
    questions,
    roster,
    rules,
    runners,
    scorers,
    slots,
    stock,
    targets,
    venues,
)
from racing.errors import RacingError
from racing.settings import Settings

PAGES = str(files("api").joinpath("pages"))
KEEP_ALIVE_S = 75
"""An idle connection is kept so long: longer than proxies keep theirs (60 s), so that it is they who close it, and no
request meets a connection that is just being closed."""
ROUTES = (
    venues,
    lives,
    rules,
    roster,
    runners,
    merchants,
    alerts,
    live_standings,
    past_standings,
    applications,
    orders,
    plans,
    audit,
    events,
    beacons,
    slots,
    targets,
    stock,
    boards,
    live,
    questions,
    scorers,
    everywhere,
    machines,
)
"""In the order in which the description has them."""


class UnguardedRouteError(RacingError):
    """A fault of ours: a route that is neither public by list nor guarded."""


def create_app(settings: Settings, url: str) -> FastAPI:
    """The application over one Redis. Connects when it starts, and again whenever Redis comes back.

    Raises UnguardedRouteError if a route is neither public by list nor guarded.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        process = Process(settings, url)
        app.state.service = process.service
        await process.start()
        yield
        await process.stop()

    app = FastAPI(
        title="Saima",
        version="0.1.0",
        summary="Real-time slot ranking for promotion venues (赛马)",
        servers=[{"url": "/", "description": "this service"}],
        lifespan=lifespan,
        docs_url="/docs" if settings.api_docs else None,
        redoc_url="/redoc" if settings.api_docs else None,
        openapi_url="/openapi.json" if settings.api_docs else None,
        telemetry={"tracing": False},
    )
    app.state.settings = settings
    errors.install(app)
    for each in ROUTES:
        app.include_router(each.router)
    openapi.install(app, events_max=settings.batch_max_events)
    app.add_middleware(BodyLimit, most=settings.body_max_bytes)
    app.add_middleware(Cors, origins=settings.cors_origins, served=app)
    app.add_middleware(SecurityHeaders)
    _pages(app)
    open_by_mistake = unguarded(app)
    if open_by_mistake:
        raise UnguardedRouteError(f"routes that say not what they need: {', '.join(open_by_mistake)}")
    return app


def server_of(settings: Settings, url: str, **options: Any) -> uvicorn.Server:
    """The server of the application, its busy addresses answered by the protocol itself. options: uvicorn's own."""
    app = create_app(settings, url)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=fast_protocol(app, settings.body_max_bytes),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",  # there are none; a request for one is answered as any other
        **options,
    )
    return DrainingServer(config, app)


def _pages(app: FastAPI) -> None:
    app.mount("/pages", StaticFiles(directory=PAGES), name="pages")

    @app.get("/", include_in_schema=False)
    async def race_page() -> FileResponse:
        """The live race."""
        return FileResponse(f"{PAGES}/index.html", headers={"Cache-Control": "no-cache"})
