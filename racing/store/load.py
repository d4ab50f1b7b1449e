"""How much a server holds, and how far a venue's log is ahead of its scorer: what admission goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from racing.model import Position
from racing.store.client import store_errors, store_errors_async
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient, SyncClient

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

    @property
    def tight(self) -> bool:
        """Whether no more events may come in."""
        return self.share >= MEMORY_SHARE_MAX

    def __str__(self) -> str:
        used, bound = self.used_bytes / 1e6, self.bound_bytes / 1e6
        return f"{used:.0f} of {bound:.0f} MB ({self.share:.0%})" if self.bound_bytes else f"{used:.0f} MB"


def memory_of(info: Mapping[str, Any], given_mb: int = 0) -> Memory:
    """By INFO memory: the bound is the server's own maxmemory, else the one given, else the machine's memory."""
    bound = int(info.get("maxmemory") or 0) or given_mb * 1_000_000 or int(info.get("total_system_memory") or 0)
    return Memory(int(info.get("used_memory") or 0), bound)


def read_memory(client: SyncClient, given_mb: int = 0) -> Memory:
    """A server's memory. Raises StoreError."""
    with store_errors():
        return memory_of(client.info("memory"), given_mb)


async def read_memory_async(client: AsyncClient, given_mb: int = 0) -> Memory:
    """As read_memory, for the API."""
    async with store_errors_async():
        return memory_of(await client.info("memory"), given_mb)


async def ahead_ms(client: AsyncClient, folded: Sequence[tuple[str, Position]]) -> dict[str, int]:
    """Age of the oldest entry after a position, by venue, in server time; 0 where there is none.

    Cost: one round trip, and one entry a venue comes back.
    """
    async with store_errors_async():
        pipe = client.pipeline(transaction=False)
        pipe.time()
        for venue, position in folded:
            pipe.execute_command("XRANGE", VenueKeys(venue).log, f"({position}", "+", "COUNT", 1)
        (seconds, micros), *found = await pipe.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return {
        venue: max(0, now_ms - Position.parse(entries[0][0].decode()).ms) if entries else 0
        for (venue, _), entries in zip(folded, found, strict=True)
    }
