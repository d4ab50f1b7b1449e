"""An API process from start to end: its connections, its service, and the tasks that run beside the requests."""

from __future__ import annotations

from functools import partial

import structlog

from api.admission import Admission
from api.frames import Frames
from api.grants import Grants
from api.history import Shown
from api.last_frames import LastFrames
from api.purge import Purger
from api.service import Service
from racing.errors import StoreError
from racing.settings import Settings
from racing.store.client import connect_async
from racing.store.desk import Desk
from racing.store.durability import SafeLine
from racing.store.line import line_over

log = structlog.get_logger("saima.api")

_READ_BLOCK_MS = 1_000


class Process:
    """One API process over one Redis. To be made, started and stopped in one event loop, in this order, once."""

    def __init__(self, settings: Settings, url: str) -> None:
        """Connect when first needed, and again whenever Redis comes back."""
        self._guarded = settings.keys == "on"
        self._client, self._reader = connect_async(url), connect_async(url, block_ms=_READ_BLOCK_MS)
        safe = settings.durability == "safe"
        self._line = line_over(self._client, partial(SafeLine, replicas=settings.safe_replicas) if safe else None)
        self._looks = line_over(self._client)
        desk = Desk(self._client, self._line, looks=self._looks, safe=safe)
        last = None if settings.last_frames_folder is None else LastFrames(settings.last_frames_folder)
        folder = settings.segments_folder
        self._frames = Frames(desk, self._client, self._reader, guarded=self._guarded, folder=folder, last=last)
        self._grants = Grants(self._client, settings.key_requests_per_s)
        self.service = Service(settings, desk, self._frames, self._grants, url)
        self._admission = Admission(self.service, self._client)
        purge_url = settings.purge_url
        self._purger = None if purge_url is None else Purger(purge_url, self.service.gone, self._client)

    async def start(self) -> None:
        """Look at the store, and begin to follow it. Never fails where it is away: the tasks try again."""
        try:
            await self._frames.refresh()
            await self._tell_durability()
        except StoreError:  # until then readers get what was shown last, or 503, never a crash
            self._frames.remember(self.service.now_ms())
        if self._purger is not None:
            self._frames.on_show = partial(self._see, self._purger)
            self._purger.start()
        await self._frames.start()
        if self._guarded:
            await self._grants.start()
        self._admission.start()

    async def stop(self) -> None:
        """End the tasks and close the connections."""
        await self._admission.stop()
        await self.service.live.stop()
        await self.service.stop_followers()
        if self._purger is not None:
            await self._purger.stop()
        await self._frames.stop()
        if self._guarded:
            await self._grants.stop()
        self._line.close()
        self._looks.close()
        await self._client.aclose()
        await self._reader.aclose()

    def _see(self, purger: Purger, before: Shown, now: Shown) -> None:
        purger.see(before, now, self.service.now_ms())

    async def _tell_durability(self) -> None:
        found = await self.service.desk.durability(self.service.settings)
        tell = log.error if found.in_force == "not reached" else log.info
        tell("durability", asked=found.asked, in_force=found.in_force, found=found.found, promise=found.promise)
