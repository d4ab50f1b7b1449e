"""What API processes follow: of every venue its newest frame, its last commit, and the clock of its server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a look has found, by venue: (id, frame as JSON), oldest first, and last commits, of those that have any."""

    frames: dict[str, list[Raw]] = field(default_factory=dict)
    commits: dict[str, LastCommit] = field(default_factory=dict)


class Feed(Protocol):
    """Looks at all venues at once."""

    async def look(self, after: Mapping[str, str], *, block_ms: int) -> Fresh:
        """All frames after the given id of each venue, one at least unless none comes in time; and the last commits.

        A commit is that of the frame told with it, or a later one. Raises StoreError where nothing can be read.
        """
        ...

    async def stop(self) -> None:
        """End what reads in the background."""


def feed_over(reader: AsyncClient) -> Feed:
    """The feed for this client, whose socket waits longer than a look may block."""
    return ClusterFeed(reader) if isinstance(reader, RoutedClient) else PlainFeed(reader)


class PlainFeed:
    """All venues on one server: one round trip for all of them."""

    def __init__(self, reader: AsyncClient) -> None:
        self._reader = reader

    async def look(self, after: Mapping[str, str], *, block_ms: int) -> Fresh:
        """As Feed has it."""
        with store_errors():
            return await _look(self._reader, after, block_ms)

    async def stop(self) -> None:
        """As Feed has it: there is nothing."""


class ClusterFeed:
    """A blocking look for each venue, for keys of several slots cannot be read together.

    So the trouble of one node leaves the venues of the others alone. Bound: one task and one connection for each venue.
    """

    def __init__(self, reader: RoutedClient) -> None:
        self._reader = reader
        self._looks: dict[str, asyncio.Task[Fresh]] = {}
        self._away: dict[str, str] = {}

    async def look(self, after: Mapping[str, str], *, block_ms: int) -> Fresh:
        """As Feed has it."""
        for venue in self._looks.keys() - after.keys():
            self._looks.pop(venue).cancel()
            self._away.pop(venue, None)
        for venue, last_id in after.items():
            if venue not in self._looks:
                self._looks[venue] = asyncio.create_task(self._look(venue, last_id, block_ms), name=f"read-{venue}")
        done, _ = await asyncio.wait(self._looks.values(), timeout=block_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        found = Fresh()
        for venue in [venue for venue, task in self._looks.items() if task in done]:
            fresh = self._result(venue, self._looks.pop(venue))
            found.frames.update(fresh.frames)
            found.commits.update(fresh.commits)
        if self._away.keys() >= after.keys():
            raise StoreUnavailableError(next(iter(self._away.values())))
        return found

    def _result(self, venue: str, task: asyncio.Task[Fresh]) -> Fresh:
        try:
            fresh = task.result()
        except StoreError as exc:
            if venue not in self._away:
                log.warning("venue away, its frame is served as it was", venue=venue, reason=str(exc))
            self._away[venue] = str(exc)
            return Fresh()
        self._away.pop(venue, None)
        return fresh

    async def _look(self, venue: str, last_id: str, block_ms: int) -> Fresh:
        try:
            with store_errors():
                return await _look(self._reader.at(VenueKeys(venue).frames), {venue: last_id}, block_ms)
        except StoreError:
            await asyncio.sleep(_RETRY_S)
            raise

    async def stop(self) -> None:
        """As Feed has it."""
        looks, self._looks = list(self._looks.values()), {}
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


async def _look(client: AsyncClient, after: Mapping[str, str], block_ms: int) -> Fresh:
    """One round trip: it waits for a frame, and what is asked behind it is answered after that."""
    names = {VenueKeys(venue).frames: venue for venue in after}
    pipe = client.pipeline(transaction=False)
    pipe.execute_command("XREAD", "BLOCK", block_ms, "STREAMS", *names, *after.values())
    pipe.time()
    for venue in after:
        pipe.get(VenueKeys(venue).commit)
    streams, (seconds, micros), *commits = await pipe.execute()
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    return Fresh(
        {names[key.decode()]: _raws(raws) for key, raws in streams or []},
        {venue: LastCommit(raw, now_ms) for venue, raw in zip(after, commits, strict=True)},
    )


def _raws(found: list[Any]) -> list[Raw]:
    return [(name.decode(), bytes(fields.get(b"frame", b""))) for name, fields in found]
