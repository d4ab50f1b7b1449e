"""All live streams of a process: of which boards and whose standings, how many, and who may still follow them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from api.errors import ProblemError
from api.frames import Frames
from api.grants import Grants
from api.hub import Asked, Hub
from api.live_boards import Boards, Kind
from api.live_standings import MerchantStandings, Scope
from api.stream import Stream
from api.view import VenueView
from racing.metrics import METRICS
from racing.settings import Settings

_RETRY_AFTER_S: Final = 5

K = TypeVar("K", bound=Hashable)


class Live:
    """All live streams of a process, within their bounds."""

    def __init__(self, settings: Settings, frames: Frames, grants: Grants | None) -> None:
        self._most, self._most_each = settings.live_streams_max, settings.live_streams_per_caller
        self._lives_s = settings.token_lives_s
        self._frames = frames
        self._grants = grants if settings.keys == "on" else None
        self._hubs: WeakValueDictionary[tuple[str, str], Hub[Any]] = WeakValueDictionary()  # held by their streams
        self._open: Counter[str] = Counter()
        self._callers: Counter[str] = Counter()

    def check_room(self, label: str, caller: str) -> None:
        """Raise ProblemError where there is no room for one more stream: 429 of this caller, 503 in this process.

        label: as Followed has it.
        """
        retry = {"Retry-After": str(_RETRY_AFTER_S)}
        if self._most_each and self._callers[caller] >= self._most_each:
            METRICS.count("saima_live_refused_total", label, reason="caller")
            told = f"{self._most_each} live streams of {caller} are open: close some, or read changes instead"
            raise ProblemError("too_many_requests", told, headers=retry)
        if self._open.total() >= self._most:
            METRICS.count("saima_live_refused_total", label, reason="process")
            told = f"{self._most} live streams are open, as many as this process keeps: read changes instead"
            raise ProblemError("overloaded", told, headers=retry)

    def boards(self, view: VenueView) -> Hub[Kind]:
        """The streams of a venue's board. To be held by who means to open one."""
        name = ("venue", view.venue.venue)
        hub: Hub[Kind] | None = self._hubs.get(name)
        if hub is None or not isinstance(hub.followed, Boards) or hub.followed.view is not view:
            hub = self._hubs[name] = Hub(Boards(view, self._lives_s, self._may), self._left)
        return hub

    def standings(self, merchant: str, make: Callable[[], MerchantStandings]) -> Hub[Scope]:
        """The streams of a merchant's standings, made of what make gives where there are none. To be held likewise."""
        name = ("merchant", merchant)
        hub: Hub[Scope] | None = self._hubs.get(name)
        if hub is None:
            hub = self._hubs[name] = Hub(make(), self._left)
        return hub

    def open(self, hub: Hub[K], asked: Asked[K], transport: asyncio.Transport, connections: set[Any]) -> None:
        """Make a stream of a connection, whose answer has begun, and write to it from now on."""
        self._count(hub.label, asked.caller, 1)
        stream = Stream(hub, asked.caller, asked.key)
        stream.take_over(transport, connections)
        hub.join(stream, asked)

    def _left(self, stream: Stream) -> None:
        self._count(stream.writer.label, stream.caller, -1)

    def _count(self, label: str, caller: str, more: int) -> None:
        self._open[label] += more
        METRICS.set("saima_live_streams", label, self._open[label])
        self._callers[caller] += more
        if not self._open[label]:
            del self._open[label]
        if not self._callers[caller]:
            del self._callers[caller]

    def _may(self, view: VenueView, key: str) -> bool:
        name = view.venue.venue
        if self._frames.views.get(name) is not view:
            return False
        is_open = name in self._frames.open_views
        if not key or self._grants is None:
            return is_open
        grant = self._grants.by_id(key)
        return grant is not None and (is_open or grant.reaches(name))

    async def stop(self) -> None:
        """End the tasks."""
        tasks = [hub.task for hub in self._hubs.values() if hub.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
