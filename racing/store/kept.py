"""Frames that are kept, for API processes: those of the last minutes in Redis, before them one a second in files.

What is found depends on log time and names alone, so every process finds the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from racing.model import Frame, Place
from racing.store.client import store_errors_async
from racing.store.commit import FramePlace, decode_frame, placed_in
from racing.store.keys import VenueKeys
from racing.store.minutes import Pace, points_between
from racing.store.protocol import AsyncClient
from racing.store.reel import frame_in_files, frames_between
from racing.store.watched import Point

T = TypeVar("T")

_READ_MAX = 64
"""Frames of one read: 50 slots are about 20 kB."""
_ID_MAX = 2**64 - 1
"""The largest part of an id that a stream takes; a larger one is refused as an error."""

Raw = tuple[str, bytes]
"""(id in the stream, frame as JSON)"""
Placed = tuple[FramePlace, bytes]
"""A frame in the stream: where it stands, and its fields."""


class KeptFrames:
    """The kept frames of every venue. Each method raises StoreError where they cannot be read."""

    def __init__(self, client: AsyncClient, folder: Path | None = None) -> None:
        """folder: that of the segment files, as the scorers have it; None: only what Redis holds is found."""
        self._client = client
        self._folder = folder

    async def newest(self, venue: str) -> Raw | None:
        """The frame published last."""
        found = await self._at_most(VenueKeys(venue), "+")
        return None if found is None else (found[0].decode(), found[1])

    async def after(self, venue: str, last_id: str) -> list[Raw]:
        """Those published after one, oldest first; at most 64 of them."""
        async with store_errors_async():
            found = await self._client.xrange(VenueKeys(venue).frames, min=f"({last_id}", count=_READ_MAX)
        return [(name.decode(), _raw(fields)) for name, fields in found]

    async def named(self, venue: str, place: Place) -> Frame | None:
        """The frame at a place; None where it is no longer kept, or not yet published."""
        epoch, number = place
        keys = VenueKeys(venue)
        if max(place) > _ID_MAX:
            return None
        async with store_errors_async():
            found = await self._client.xrange(keys.frames, min=f"{epoch}-{number}", count=1)
        raw = _raw(found[0][1]) if found else b""
        if (where := placed_in(raw)) is not None and where.place == place:
            return _frame_of(keys, raw)
        if self._folder is None or not found:  # nothing was published so late
            return None
        kept = await asyncio.to_thread(frame_in_files, self._folder, venue, number=number)
        return kept if kept is not None and kept.place == place else None

    async def before(self, venue: str, at_ms: int) -> Frame | None:
        """The last frame whose moment lies before this one (log time, ms); None where none so old is kept."""
        return (await self.before_each(venue, (at_ms,)))[0]

    async def before_each(self, venue: str, moments_ms: Sequence[int]) -> list[Frame | None]:
        """The last frame before each of some moments, which fall; frames that are the same are one object.

        Cost: of the last minutes about three short reads of Redis each, one after the other, at most twice as many as
        bisecting takes; else one block of one file. Files hold the last frame of each second: for whole seconds both
        give the same.
        """
        keys, found = VenueKeys(venue), list[Frame | None]()
        placed, firsts = await self._placed(keys, "+"), dict[int, Placed | None]()
        for at_ms in moments_ms:
            placed = await self._back(keys, placed, at_ms, firsts)
            last = found[-1] if found else None
            if last is not None and last.at_ms < at_ms:
                found.append(last)
            elif placed is not None:
                found.append(_frame_of(keys, placed[1]))
            else:
                found.append(await self._in_files(venue, at_ms))
        return found

    async def each(
        self, venue: str, from_ms: int, count: int, step_ms: int, read: Callable[[Frame], T]
    ) -> list[T | None]:
        """What is read of the last frame before each of some moments, step_ms apart; None where none so old is kept.

        from_ms: the first moment, a multiple of step_ms, which is whole seconds. Cost: files of that time once, in a
        thread; three short reads of Redis for each of the moments that are not in files yet, those of a minute or two.
        """
        last_ms = from_ms + (count - 1) * step_ms
        ends: dict[int, T] = {}
        if self._folder is not None:
            ends = await asyncio.to_thread(_ends, self._folder, venue, from_ms, last_ms, step_ms, read)
        in_files_ms = max(ends, default=0)
        moments = [from_ms + index * step_ms for index in range(count)]
        asked = [moment for moment in reversed(moments) if moment == from_ms or moment >= in_files_ms]
        frames = await self.before_each(venue, asked)
        found = {moment: frame for moment, frame in zip(asked, frames, strict=True) if frame is not None}
        points: list[T | None] = []
        for moment in moments:
            if moment in found:
                points.append(read(found[moment]))
            else:
                points.append(ends.get(moment, points[-1] if points else None))
        return points

    async def standings(self, venue: str, runner: int, from_ms: int, to_ms: int, pace: Pace) -> dict[int, Point | None]:
        """Where a runner stood by the whole step, as points_between; nothing without a folder."""
        if self._folder is None:
            return {}
        return await asyncio.to_thread(points_between, self._folder, venue, runner, from_ms, to_ms, pace)

    async def _in_files(self, venue: str, at_ms: int) -> Frame | None:
        if self._folder is None:
            return None
        return await asyncio.to_thread(frame_in_files, self._folder, venue, at_ms=at_ms - 1)

    async def _back(
        self, keys: VenueKeys, placed: Placed | None, at_ms: int, firsts: dict[int, Placed | None]
    ) -> Placed | None:
        """The last sound frame of the stream before a moment, up to and with this one. firsts: of owners, as read."""
        while placed is not None and placed[0].at_ms >= at_ms:
            epoch = placed[0].epoch
            if epoch not in firsts:
                firsts[epoch] = await self._first_of(keys, epoch)
            first = firsts[epoch]
            if first is not None and first[0].at_ms < at_ms:
                return await self._between(keys, at_ms, first, placed[0])
            placed = await self._placed(keys, f"({epoch}-0")  # all of this owner's are later: on with the one before
        return placed

    async def _between(self, keys: VenueKeys, at_ms: int, found: Placed, high: FramePlace) -> Placed:
        """The last frame before a moment of one owner, whose numbers count up; found is before it, high is not.

        Frames come at an even pace mostly, so the next guess is in proportion; where that gained less than half of what
        was left, the next one is the middle.
        """
        low, top, top_ms, halve = found[0].frame, high.frame, high.at_ms, False
        while top - low > 1:
            left = top - low
            share = 0.5 if halve else (at_ms - found[0].at_ms) / max(1, top_ms - found[0].at_ms)
            guess = min(max(low + int(left * share), low + 1), top - 1)
            placed = await self._placed(keys, f"{high.epoch}-{guess}")
            if placed is not None and placed[0].at_ms < at_ms:
                low, found = guess, placed
            else:
                top, top_ms = guess, at_ms if placed is None else placed[0].at_ms
            halve = top - low > left / 2
        return found

    async def _placed(self, keys: VenueKeys, last: str) -> Placed | None:
        """The last sound frame up to an id of the stream."""
        while (found := await self._at_most(keys, last)) is not None:
            name, raw = found
            if (where := placed_in(raw)) is not None:
                return where, raw
            last = f"({name.decode()}"
        return None

    async def _first_of(self, keys: VenueKeys, epoch: int) -> Placed | None:
        async with store_errors_async():
            found = await self._client.xrange(keys.frames, min=f"{epoch}-0", count=1)
        where = placed_in(_raw(found[0][1])) if found else None
        return None if where is None else (where, _raw(found[0][1]))

    async def _at_most(self, keys: VenueKeys, last: str) -> tuple[bytes, bytes] | None:
        async with store_errors_async():
            found: list[Any] = await self._client.xrevrange(keys.frames, max=last, count=1)
        return (found[0][0], _raw(found[0][1])) if found else None


def _ends(
    folder: Path, venue: str, from_ms: int, last_ms: int, step_ms: int, read: Callable[[Frame], T]
) -> dict[int, T]:
    """What is read of the last frame in files of each step, by the moment at which the step ends."""
    frames = frames_between(folder, venue, from_ms, last_ms, step_ms)
    return {(frame.at_ms // step_ms + 1) * step_ms: read(frame) for frame in frames}


def _raw(fields: dict[bytes, bytes]) -> bytes:
    return bytes(fields.get(b"frame", b""))


def _frame_of(keys: VenueKeys, raw: bytes) -> Frame:
    """The frame, as one of this venue: an imported one may have had another name."""
    return msgspec.structs.replace(decode_frame(raw), venue=keys.venue)
