"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Self

import httpx2

from api.client.boards import Board
from api.client.flows import (
    POLL_S,
    STREAM_TIMEOUT,
    TIMEOUT,
    TRIES,
    TROUBLE,
    Asking,
    Event,
    Flow,
    Flows,
    Query,
    Receipt,
    Wait,
    answered,
    raise_for,
    raise_if_final,
)
from api.client.following import BoardFollower, Follower, StandingsFollower, T
from api.client.standings import Standings


class _Awaited:
    """Makes requests, for asyncio."""

    def __init__(self, http: httpx2.AsyncClient | None, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._own = http is None
        self._http = http or httpx2.AsyncClient(timeout=TIMEOUT)
        self._sleep = sleep

    async def _run(self, flow: Flow) -> Any:
        response: httpx2.Response | None = None
        error: Exception | None = None
        while True:
            try:
                step = flow.send(response) if error is None else flow.throw(error)
            except StopIteration as done:
                return done.value
            response = error = None
            if isinstance(step, Wait):
                await self._sleep(step.seconds)
                continue
            try:
                response = await self._http.request(step.method, step.url, headers=step.headers, content=step.content)
            except httpx2.TransportError as exc:
                error = exc

    async def _stream(self, follower: Follower[T]) -> AsyncGenerator[T, None]:
        ask = follower.ask("live")
        async with self._http.stream("GET", ask.url, headers=ask.headers, timeout=STREAM_TIMEOUT) as response:
            if not response.is_success:
                await response.aread()
                raise_for(response)
            async for line in response.aiter_lines():
                heard = follower.hear(line)
                if heard is not None:
                    yield heard

    async def aclose(self) -> None:
        """As Venue.close."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncVenue(_Awaited, Flows):
    """A venue, for asyncio: as Venue."""

    def __init__(
        self,
        base_url: str,
        venue: str,
        *,
        key: str | None = None,
        origin: str | None = None,
        tries: int = TRIES,
        http: httpx2.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        _Awaited.__init__(self, http, sleep)
        Flows.__init__(self, base_url, "venues", venue, key=key, origin=origin, tries=tries)

    async def slots(self, *, limit: int = 50, cursor: str | None = None, **query: Query) -> Board:
        """As Venue.slots."""
        found: Board = await self._run(self.slots_flow({"limit": limit, "cursor": cursor, **query}))
        return found

    async def pages(self, *, limit: int = 50, **query: Query) -> AsyncGenerator[Board, None]:
        """As Venue.pages."""
        shown: set[str] = set()
        page: Board | None = None
        while (page := await self._run(self.next_page_flow(page, shown, {"limit": limit, **query}))) is not None:
            yield page

    async def send(self, events: Sequence[Event], *, key: str | None = None) -> Receipt:
        """As Venue.send."""
        receipt: Receipt = await self._run(self.send_flow(events, key))
        return receipt

    async def beacons(self, events: Sequence[Event], *, batch: str | None = None) -> Receipt:
        """As Venue.beacons."""
        receipt: Receipt = await self._run(self.beacons_flow(events, batch))
        return receipt

    async def follow(self, *, limit: int = 50, **query: Query) -> AsyncGenerator[Board, None]:
        """As Venue.follow."""
        follower = BoardFollower(self, {"limit": limit, **query})
        while True:
            try:
                if follower.streams():
                    async for board in self._stream(follower):
                        yield board
                    await self._sleep(follower.retry_s)
                else:
                    changed = follower.take((await self._run(answered(follower.ask("changes"), 1))).json())
                    follower.failed = 0
                    if changed is not None:
                        yield changed
                    await self._sleep(POLL_S)
            except TROUBLE as exc:
                raise_if_final(exc)
                await self._sleep(follower.delay_s())


class AsyncMerchant(_Awaited, Asking):
    """A merchant's products, for asyncio: as Merchant."""

    def __init__(
        self,
        base_url: str,
        merchant: str,
        *,
        key: str | None = None,
        tries: int = TRIES,
        http: httpx2.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        _Awaited.__init__(self, http, sleep)
        Asking.__init__(self, base_url, "merchants", merchant, key=key, tries=tries)

    async def runners(self, *, limit: int = 1000, **query: Query) -> list[dict[str, Any]]:
        """As Merchant.runners."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._run(self.read_flow("runners", {"limit": limit, **query, "cursor": cursor or None}))
            found += page["runners"]
            cursor = page["next_cursor"]
        return found

    async def follow(self, *, venue: str | None = None) -> AsyncGenerator[Standings, None]:
        """As Merchant.follow."""
        follower = StandingsFollower(self, {"venue": venue})
        while True:
            try:
                async for standings in self._stream(follower):
                    yield standings
                await self._sleep(follower.retry_s)
            except TROUBLE as exc:
                raise_if_final(exc)
                await self._sleep(follower.delay_s())
