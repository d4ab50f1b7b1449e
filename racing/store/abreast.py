"""The same work for many venues, some at a time: one request may not take every connection to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from racing.store.client import POOL_MAX

AT_ONCE = POOL_MAX // 4
"""Works of one request that run at a time: so four requests for all venues wait for no connection."""

Item = TypeVar("Item")
Found = TypeVar("Found")


async def abreast(work: Callable[[Item], Awaitable[Found]], items: Iterable[Item]) -> list[Found]:
    """What the work gives for each item, in their order; at most AT_ONCE at a time. The first error is raised."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Found:
        async with gate:
            return await work(item)

    return await asyncio.gather(*map(one, items))
