"""How much a server holds, and how far a venue's log is ahead of its scorer: what admission goes by."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from racing.errors import StoreError, StoreUnavailableError
from racing.model import Position
from racing.store.client import store_errors
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient, SyncClient
from racing.store.routed import RoutedClient

Folded = tuple[str, Position]
"""A venue and up to where its log is folded."""

MEMORY_SHARE_MAX = 0.8
"""Of its memory a server may be filled so far by events: the rest is for commits, checkpoints and what trims them."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a server uses and may use, bytes. bound_bytes 0: it does not tell."""

    used_bytes: int
    bound_bytes: int

    @property
    def share(self) -> float:
        """The part of the bound that is used; 0 without a bound."""
        return self.used_bytes / self.bound_bytes if self.bound_bytes else 0.0

    def __str__(self) -> str:
        used, bound = self.used_bytes / 1e6, self.bound_bytes / 1e6
        return f"{used:.0f} of {bound:.0f} MB ({self.share:.0%})" if self.bound_bytes else f"{used:.0f} MB"


def memory_of(info: Mapping[str, Any], given_mb: int = 0) -> Memory:
    """By INFO memory: the bound is the server's own maxmemory, else the one given, else the machine's memory."""
    bound = int(info.get("maxmemory") or 0) or given_mb * 1_000_000 or int(info.get("total_system_memory") or 0)
    return Memory(int(info.get("used_memory") or 0), bound)


def read_memory(client: SyncClient, given_mb: int = 0) -> Memory:
    """A server's memory; nothing of one that does not tell this user. Raises StoreUnavailableError."""
    try:
        with store_errors():
            return memory_of(client.info("memory"), given_mb)
    except StoreUnavailableError:
        raise
    except StoreError:
        return Memory(0, 0)


@dataclass(frozen=True, slots=True)
class Load:
    """The memory of a venue's server, and the age of the venue's oldest entry that is not folded, ms; 0 without one."""

    memory: Memory
    ahead_ms: int = 0


async def read_loads(client: AsyncClient, folded: Sequence[Folded], given_mb: int) -> dict[str | None, Load]:
    """The load of each venue, told up to where it is folded; under None that of the server, where there is but one.

    Raises StoreError where none can be read. Cost: one round trip to each server; one entry a venue comes back.
    """
    if not isinstance(client, RoutedClient):
        return await _loads(client, folded, given_mb)
    nodes = [(client.at(VenueKeys(venue).log), [(venue, position)]) for venue, position in folded]
    found = await asyncio.gather(*(_loads(*node, given_mb) for node in nodes), return_exceptions=True)
    read = {venue: load for loads in found if isinstance(loads, dict) for venue, load in loads.items()}
    if found and not read and isinstance(found[0], BaseException):
        raise found[0]
    return {venue: load for venue, load in read.items() if venue is not None}


async def _loads(client: AsyncClient, folded: Sequence[Folded], given_mb: int) -> dict[str | None, Load]:
    with store_errors():
        pipe = client.pipeline(transaction=False)
        pipe.time()
        pipe.execute_command("INFO", "memory")
        for venue, position in folded:
            pipe.execute_command("XRANGE", VenueKeys(venue).log, f"({position}", "+", "COUNT", 1)
        (seconds, micros), info, *found = await pipe.execute(raise_on_error=False)
    memory = Memory(0, 0) if isinstance(info, Exception) else memory_of(info, given_mb)
    loads: dict[str | None, Load] = {None: Load(memory)}
    for (venue, _), entries in zip(folded, found, strict=True):
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        told = isinstance(entries, list) and entries
        oldest_ms = Position.parse(entries[0][0].decode()).ms if told else now_ms
        loads[venue] = Load(memory, max(0, now_ms - oldest_ms))
    return loads
