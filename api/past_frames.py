"""Past frames with all that is shown with them: the last some seconds from memory, older ones fetched, few at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from api.badges import badges_of, told_lately
from api.history import Shown, references_at
from api.view import VenueView
from racing.badge_settings import DEFAULT_BADGES, BadgeSettings
from racing.errors import NotFoundError, OverloadedError
from racing.model import Frame, Place
from racing.rule import parse_rule
from racing.store.desk import Desk
from racing.store.kept import KeptFrames, T
from racing.store.minutes import Pace
from racing.store.watched import Point

_OLDER_MAX = 16
"""Fetched frames remembered for each venue: pages of one are asked for again and again."""
_FETCHING_MAX, _WAITING_MAX = 2, 64
"""Past frames that are fetched at once, some 15 ms of CPU each, and that wait for it with them."""


class PastFrames:
    """The frames of every venue that are no longer the current ones, as far as they are kept."""

    def __init__(self, desk: Desk, kept: KeptFrames) -> None:
        self._desk = desk
        self._kept = kept
        self._fetching, self._waiting = asyncio.Semaphore(_FETCHING_MAX), 0

    async def find(self, view: VenueView, place: Place) -> Shown | None:
        """The frame at a place with all that is shown with it; None where it is no longer kept, or not published yet.

        The data of its runners is what it is now. Raises StoreError. Cost: nothing for one of the last some seconds,
        or one that was asked for just before; else some reads of Redis, or of files.
        """
        recent = view.history.find(place)
        if recent is not None and view.data_of(recent.frame) == view.data_of(view.frame):
            return recent
        if place in view.older:
            return view.older[place]
        async with self._few_at_once():
            if place in view.older:  # others have waited for the same
                return view.older[place]
            frame = recent.frame if recent is not None else await self._kept.named(view.venue.venue, place)
            return None if frame is None else await self._fetch_all(view, frame)

    async def frame(self, view: VenueView, place: Place) -> Frame | None:
        """As find, the frame alone: nothing that is shown with it is read."""
        recent = view.history.find(place) or view.older.get(place)
        if recent is not None:
            return recent.frame
        async with self._few_at_once():
            return await self._kept.named(view.venue.venue, place)

    async def each(
        self, view: VenueView, from_ms: int, count: int, step_ms: int, read: Callable[[Frame], T]
    ) -> list[T | None]:
        """As KeptFrames.each, few at once. Raises OverloadedError where too many wait, StoreError."""
        async with self._few_at_once():
            return await self._kept.each(view.venue.venue, from_ms, count, step_ms, read)

    async def standings(
        self, view: VenueView, runner: int, from_ms: int, to_ms: int, pace: Pace
    ) -> dict[int, Point | None]:
        """As KeptFrames.standings, few at once. Raises OverloadedError where too many wait, StoreError."""
        async with self._few_at_once():
            return await self._kept.standings(view.venue.venue, runner, from_ms, to_ms, pace)

    async def find_before(self, view: VenueView, at_ms: int) -> Shown | None:
        """As find, the frame that stood just before a moment of log time, ms."""
        if view.frame.frame and view.frame.at_ms < at_ms:
            return view.now
        async with self._few_at_once():
            frame = await self._kept.before(view.venue.venue, at_ms)
            return None if frame is None else view.older.get(frame.place) or await self._fetch_all(view, frame)

    @asynccontextmanager
    async def _few_at_once(self) -> AsyncIterator[None]:
        """Fetch past frames, in turn with a few others: they cost a thousand times what the current one does.

        Raises OverloadedError where too many wait.
        """
        if self._waiting >= _WAITING_MAX:
            raise OverloadedError("too many past frames are asked for at once: ask again, or for the current one")
        self._waiting += 1
        try:
            async with self._fetching:
                yield
        finally:
            self._waiting -= 1

    async def _fetch_all(self, view: VenueView, frame: Frame) -> Shown:
        """A frame with what is shown with it, which is remembered while the data of the venue's runners stays."""
        venue, data = view.venue.venue, view.data_of(view.frame)
        runners = await self._desk.runners.by_number(venue, sorted(runners_of(frame)))
        references = await references_at(self._kept, venue, frame.at_ms)
        badges = await self.badges_of(view, frame.rule_version)
        shown = Shown(frame, runners, references, badges, told_lately(references, badges))
        if data == view.data_of(view.frame):
            if len(view.older) >= _OLDER_MAX:
                view.older.clear()
            view.older[frame.place] = shown
        return shown

    async def badges_of(self, view: VenueView, version: int) -> BadgeSettings:
        """What a rule version says of badges; the defaults where it is gone."""
        if version == view.rule_version:
            return badges_of(view.rule)
        if version not in view.badges:
            with suppress(NotFoundError):
                found = await self._desk.rules.read(view.venue.venue, version)
                view.badges[version] = badges_of(parse_rule(found.rule))
        return view.badges.get(version, DEFAULT_BADGES)


def runners_of(frame: Frame) -> set[int]:
    """Whoever has a slot, also of a segment."""
    return {slot.runner for slots in (frame.slots, *frame.segments.values()) for slot in slots}
