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
    Event,
    Flow,
    Flows,
    Follower,
    Query,
    Receipt,
    Wait,
    answered,
    raise_for,
    raise_if_final,
)


class AsyncVenue(Flows):
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
        super().__init__(base_url, venue, key=key, origin=origin, tries=tries)
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
        follower = Follower(self, {"limit": limit, **query})
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

    async def _stream(self, follower: Follower) -> AsyncGenerator[Board, None]:
        ask = follower.ask("live")
        async with self._http.stream("GET", ask.url, headers=ask.headers, timeout=STREAM_TIMEOUT) as response:
            if not response.is_success:
                await response.aread()
                raise_for(response)
            async for line in response.aiter_lines():
                board = follower.hear(line)
                if board is not None:
                    yield board

    async def aclose(self) -> None:
        """As Venue.close."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
