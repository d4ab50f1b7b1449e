"""What API processes follow: of every venue its newest frame, its last commit, and the clock of its server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from racing.errors import StoreError, StoreUnavailableError
from racing.store.client import store_errors
from racing.store.kept import Raw
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient

log = structlog.get_logger("saima.feed")

_RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class LastCommit:
    """The commit record of a venue as Redis has it, and its server's clock when it was read, ms."""

    raw: bytes | None
    now_ms: float


class Feed(Protocol):
    """Reads for all venues at once."""

    async def frames(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[Raw]]:
        """(id, frame as JSON) by venue: all after the given id, oldest first, of those that have one; waits for one.

        Raises StoreError where nothing can be read.
        """
        ...

    async def commits(self, venues: Sequence[str]) -> dict[str, LastCommit]:
        """The last commits of the venues that can be read. Raises StoreError where none can."""
        ...

    async def stop(self) -> None:
        """End what reads in the background."""


def feed_over(client: AsyncClient, reader: AsyncClient) -> Feed:
    """The feed for these clients. reader: one whose socket waits longer than a read may block."""
    return ClusterFeed(reader) if isinstance(reader, RoutedClient) else PlainFeed(client, reader)


class PlainFeed:
    """All venues on one server: one read for all frames, one round trip for all commits."""

    def __init__(self, client: AsyncClient, reader: AsyncClient) -> None:
        self._client = client
        self._reader = reader

    async def frames(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[Raw]]:
        """As Feed has it."""
        names = {VenueKeys(venue).frames: venue for venue in after}
        with store_errors():
            replies = await self._reader.xread({key: after[venue] for key, venue in names.items()}, block=block_ms)
        return {names[key.decode()]: _raws(raws) for key, raws in replies or []}

    async def commits(self, venues: Sequence[str]) -> dict[str, LastCommit]:
        """As Feed has it."""
        with store_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.time()
            for venue in venues:
                pipe.get(VenueKeys(venue).commit)
            clock, *raws = await pipe.execute()
        return {venue: LastCommit(raw, _ms(clock)) for venue, raw in zip(venues, raws, strict=True)}

    async def stop(self) -> None:
        """As Feed has it: there is nothing."""


class ClusterFeed:
    """A blocking read for each venue, for keys of several slots cannot be read together.

    So the trouble of one node leaves the venues of the others alone. Clock and commit come in the round trip of the
    frames. Bound: one task and one connection for each venue.
    """

    def __init__(self, reader: RoutedClient) -> None:
        self._reader = reader
        self._reads: dict[str, asyncio.Task[list[Raw] | None]] = {}
        self._commits: dict[str, LastCommit] = {}
        self._away: dict[str, str] = {}

    async def frames(self, after: Mapping[str, str], *, block_ms: int) -> dict[str, list[Raw]]:
        """As Feed has it."""
        for venue in self._reads.keys() - after.keys():
            self._reads.pop(venue).cancel()
            self._away.pop(venue, None)
        for venue, last_id in after.items():
            if venue not in self._reads:
                self._reads[venue] = asyncio.create_task(self._read(venue, last_id, block_ms), name=f"read-{venue}")
        done, _ = await asyncio.wait(self._reads.values(), timeout=block_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        found: dict[str, list[Raw]] = {}
        for venue in [venue for venue, task in self._reads.items() if task in done]:
            fresh = self._result(venue, self._reads.pop(venue))
            if fresh is not None:
                found[venue] = fresh
        if self._away.keys() >= after.keys():
            raise StoreUnavailableError(next(iter(self._away.values())))
        return found

    def _result(self, venue: str, task: asyncio.Task[list[Raw] | None]) -> list[Raw] | None:
        try:
            fresh = task.result()
        except StoreError as exc:
            if venue not in self._away:
                log.warning("venue away, its frame is served as it was", venue=venue, reason=str(exc))
            self._away[venue] = str(exc)
            return None
        self._away.pop(venue, None)
        return fresh

    async def _read(self, venue: str, last_id: str, block_ms: int) -> list[Raw] | None:
        keys = VenueKeys(venue)
        try:
            with store_errors():
                pipe = self._reader.at(keys.frames).pipeline(transaction=False)
                pipe.execute_command("XREAD", "BLOCK", block_ms, "STREAMS", keys.frames, last_id)
                pipe.time()
                pipe.get(keys.commit)
                streams, clock, raw = await pipe.execute()
        except StoreError:
            await asyncio.sleep(_RETRY_S)
            raise
        self._commits[venue] = LastCommit(raw, _ms(clock))
        return _raws(streams[0][1]) if streams else None

    async def commits(self, venues: Sequence[str]) -> dict[str, LastCommit]:
        """As Feed has it: what came with the frames since the last time."""
        fresh, self._commits = self._commits, {}
        return {venue: fresh[venue] for venue in venues if venue in fresh}

    async def stop(self) -> None:
        """As Feed has it."""
        reads, self._reads = list(self._reads.values()), {}
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


def _raws(found: list[Any]) -> list[Raw]:
    return [(name.decode(), bytes(fields.get(b"frame", b""))) for name, fields in found]


def _ms(clock: tuple[int, int]) -> float:
    seconds, micros = clock
    return int(seconds) * 1000 + int(micros) / 1000
