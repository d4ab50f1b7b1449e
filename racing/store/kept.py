"""Frames that are kept, for API processes: those of the last minutes in Redis, before them one a second in files.

What is found depends on log time and names alone, so every process finds the same.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from racing.model import Frame, Place
from racing.store.client import store_errors_async
from racing.store.commit import FramePlace, decode_frame, placed_in
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient
from racing.store.reel import frame_in_files

_READ_MAX = 64
"""Frames of one read: 50 slots are about 20 kB."""

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
        """The last frame whose moment lies before this one (log time, ms); None where none so old is kept.

        Cost: of the last minutes about 12 short reads of Redis, one after the other; else one block of one file. Files
        hold the last frame of each second: for whole seconds both give the same.
        """
        keys = VenueKeys(venue)
        found = await self._in_stream(keys, at_ms)
        if found is not None:
            return _frame_of(keys, found)
        if self._folder is None:
            return None
        return await asyncio.to_thread(frame_in_files, self._folder, venue, at_ms=at_ms - 1)

    async def _in_stream(self, keys: VenueKeys, at_ms: int) -> bytes | None:
        last = "+"
        while True:
            newest = await self._placed(keys, last)
            if newest is None:
                return None
            where, raw = newest
            if where.at_ms < at_ms:
                return raw
            first = await self._first_of(keys, where.epoch)
            if first is not None and first[0].at_ms < at_ms:
                return await self._bisect(keys, at_ms, first, where)
            last = f"({where.epoch}-0"  # all of this owner's frames are later: on with the one before

    async def _bisect(self, keys: VenueKeys, at_ms: int, first: Placed, last: FramePlace) -> bytes:
        """The last frame before a moment of one owner, whose frames count up: first is before it, last is not."""
        low, high, found = first[0].frame, last.frame, first
        while high - low > 1:
            middle = (low + high) // 2
            placed = await self._placed(keys, f"{last.epoch}-{middle}")
            if placed is not None and placed[0].at_ms < at_ms:
                low, found = middle, placed
            else:
                high = middle
        return found[1]

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


def _raw(fields: dict[bytes, bytes]) -> bytes:
    return bytes(fields.get(b"frame", b""))


def _frame_of(keys: VenueKeys, raw: bytes) -> Frame:
    """The frame, as one of this venue: an imported one may have had another name."""
    return msgspec.structs.replace(decode_frame(raw), venue=keys.venue)
