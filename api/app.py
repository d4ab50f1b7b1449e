"""The ASGI application: routes, errors, pages, and the task that follows the frames."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from api import errors, openapi
from api.admission import Admission
from api.cors import Cors
from api.drain import DrainingServer
from api.fastpath import fast_protocol
from api.frames import Frames
from api.grants import Grants
from api.guard import unguarded
from api.history import Shown
from api.last_frames import LastFrames
from api.limits import BodyLimit, SecurityHeaders
from api.purge import Purger
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
from api.service import Service
from racing.errors import RacingError, StoreError
from racing.settings import Settings
from racing.store.client import connect_async
from racing.store.desk import Desk
from racing.store.durability import SafeLine
from racing.store.line import line_over

log = structlog.get_logger("saima.api")

PAGES = str(files("api").joinpath("pages"))
_READ_BLOCK_MS = 1_000


class UnguardedRouteError(RacingError):
    """A fault of ours: a route that is neither public by list nor guarded."""


KEEP_ALIVE_S = 75
"""An idle connection is kept so long: longer than proxies keep theirs (60 s), so that it is they who close it, and no
request meets a connection that is just being closed."""


def create_app(settings: Settings, url: str) -> FastAPI:
    """The application over one Redis. Connects when it starts, and again whenever Redis comes back.

    Raises UnguardedRouteError if a route is neither public by list nor guarded.
    """
    guarded = settings.keys == "on"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client, reader = connect_async(url), connect_async(url, block_ms=_READ_BLOCK_MS)
        safe = settings.durability == "safe"
        line = line_over(client, partial(SafeLine, replicas=settings.safe_replicas) if safe else None)
        desk = Desk(client, line, safe=safe)
        last = None if settings.last_frames_folder is None else LastFrames(settings.last_frames_folder)
        frames = Frames(desk, client, reader, guarded=guarded, folder=settings.segments_folder, last=last)
        grants = Grants(client, settings.key_requests_per_s)
        app.state.service = Service(settings, desk, frames, grants, url)
        try:
            await frames.refresh()
            await _tell_durability(desk, settings)
        except StoreError:  # the task tries again; until then readers get what was shown last, or 503, never a crash
            frames.remember(app.state.service.now_ms())
        purger = None if settings.purge_url is None else Purger(settings.purge_url, app.state.service.gone, client)
        if purger is not None:
            frames.on_show = partial(_see, purger, app.state.service)
            purger.start()
        await frames.start()
        if guarded:
            await grants.start()
        admission = Admission(app.state.service, client)
        admission.start()
        yield
        await admission.stop()
        await app.state.service.live.stop()
        await app.state.service.stop_followers()
        if purger is not None:
            await purger.stop()
        await frames.stop()
        if guarded:
            await grants.stop()
        line.close()
        await client.aclose()
        await reader.aclose()

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
    routers = (
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
    for router in (each.router for each in routers):
        app.include_router(router)
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
        **options,
    )
    return DrainingServer(config, app)


def _see(purger: Purger, service: Service, before: Shown, now: Shown) -> None:
    purger.see(before, now, service.now_ms())


async def _tell_durability(desk: Desk, settings: Settings) -> None:
    found = await desk.durability(settings)
    tell = log.error if found.in_force == "not reached" else log.info
    tell("durability", asked=found.asked, in_force=found.in_force, found=found.found, promise=found.promise)


def _pages(app: FastAPI) -> None:
    app.mount("/pages", StaticFiles(directory=PAGES), name="pages")

    @app.get("/", include_in_schema=False)
    async def race_page() -> FileResponse:
        """The live race."""
        return FileResponse(f"{PAGES}/index.html", headers={"Cache-Control": "no-cache"})
