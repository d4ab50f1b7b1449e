"""Whether events are let in: told by one task a few times a second, so that a request only looks at one word.

Events are refused (503, retryable) while a venue's log is too far ahead of its scorer, and while Redis is so full that
commits, checkpoints and what trims them might lack room. Reads ask nobody.
"""

from __future__ import annotations

import asyncio

import structlog

from api.appender import Appender
from api.service import Service
from racing.errors import StoreError
from racing.metrics import METRICS
from racing.model import Position
from racing.store.load import MEMORY_SHARE_MAX, Load, Memory, read_loads
from racing.store.protocol import AsyncClient

log = structlog.get_logger("saima.admission")

_EVERY_S = 0.25
_EVERY_TIGHT_S = 0.05
_NEARLY = 0.75
"""Share of what may be filled from which on it is looked at more often."""


class Admission:
    """The task of one API process that shuts and opens the ways into the logs."""

    def __init__(self, service: Service, client: AsyncClient) -> None:
        self._service = service
        self._client = client
        self._task: asyncio.Task[None] | None = None
        self._halted = False

    def start(self) -> None:
        """Begin to look; an absent Redis is tried again."""
        self._task = asyncio.create_task(self._watch(), name="admission")

    async def stop(self) -> None:
        """End the task."""
        self._halted = True  # a cancellation that meets a time-out at once can be lost in the client
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._halted:
            pause_s = _EVERY_S
            try:
                if await self.look() > _NEARLY * MEMORY_SHARE_MAX:
                    pause_s = _EVERY_TIGHT_S
            except StoreError:
                pass  # writers hear of it by themselves; until it is back the ways stay as they are
            except Exception:
                log.exception("unexpected error while looking at the load")
            await asyncio.sleep(pause_s)

    async def look(self) -> float:
        """Look once, and shut or open each way; returns the largest share of memory in use.

        Raises StoreError, and leaves the ways as they are.
        """
        service, views = self._service, self._service.frames.views
        ways = {venue: each for venue, each in service.appenders.items() if each.used or each.shut is not None}
        for way in ways.values():
            way.used = False
        folded = [(venue, Position.parse(views[venue].commit.position)) for venue in ways if venue in views]
        loads = await read_loads(self._client, folded, service.settings.memory_mb)
        whole = loads.pop(None, None)
        service.full = None if whole is None else too_full(whole.memory)
        for venue, way in service.appenders.items():
            load = loads.get(venue, whole)
            if load is not None:
                self._heed(venue, way, load)
        return max((load.memory.share for load in (*loads.values(), whole) if load is not None), default=0.0)

    def _heed(self, venue: str, way: Appender, load: Load) -> None:
        way.shut = too_full(load.memory) or too_far(load.ahead_ms, self._service.settings.log_ahead_max_ms)
        way.used = way.used or load.ahead_ms > 0
        METRICS.set("saima_memory_share", venue, load.memory.share)


def too_full(memory: Memory) -> str | None:
    """Why nothing is taken, if a server is so full."""
    if memory.share < MEMORY_SHARE_MAX:
        return None
    return f"Redis holds {memory}: events are taken below {MEMORY_SHARE_MAX:.0%}"


def too_far(ahead_ms: int, most_ms: int) -> str | None:
    """Why a venue takes no events, if its oldest event that is not yet counted is so old."""
    if ahead_ms <= most_ms:
        return None
    age_s, most_s = ahead_ms / 1000, most_ms / 1000
    return f"events of {age_s:.1f} s ago are not yet counted: more are taken once those are {most_s:g} s old at most"
