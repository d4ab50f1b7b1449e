"""The purge hook: tells a cache's own interface which products an exclusion has taken off a board.

It is for caches that keep answers longer than Saima asks them to. It never delays an answer, is bounded, and gives up.
"""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any, NamedTuple

import msgspec
import structlog

from api.gone import Gone
from api.history import Shown
from racing.errors import StoreError
from racing.metrics import METRICS
from racing.store.client import store_errors_async
from racing.store.keys import purged
from racing.store.protocol import AsyncClient

log = structlog.get_logger("saima.api")

WAITING_MAX = 100
"""Boards that wait to be looked at; when more come, the oldest are let go: caches keep answers for 2 s anyway."""
TIMEOUT_S = 2.0
_PAUSES_S = (0.2, 1.0)
_MARK_S = 60
_encode = msgspec.json.Encoder().encode


class _Left(NamedTuple):
    """A board from which products have gone, and the name of the frame without them."""

    before: Shown
    products: frozenset[str]
    frame: str
    now_ms: int


class Purger:
    """One task that looks at what leaves boards, and calls the address for what was excluded, one call at a time."""

    def __init__(self, url: str, gone: Gone, client: AsyncClient) -> None:
        self._url = url
        self._gone = gone
        self._client = client
        self._waiting: asyncio.Queue[_Left] = asyncio.Queue(WAITING_MAX)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work(), name="purge")

    async def stop(self) -> None:
        """End; what waits is let go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def see(self, before: Shown, now: Shown, now_ms: int) -> None:
        """Take note of a venue's new frame, which comes after another. Cost: O(slots)."""
        left = {slot.product for slot in before.frame.slots}.difference(slot.product for slot in now.frame.slots)
        if not left:
            return
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(_Left(before, frozenset(left), now.frame.name, now_ms))

    async def _work(self) -> None:
        while True:
            left = await self._waiting.get()
            venue = left.before.frame.venue
            try:
                await self._tell(left)
            except StoreError as exc:
                log.warning("cannot tell what was excluded, caches are not purged", venue=venue, reason=str(exc))
            except Exception:
                log.exception("unexpected error while purging", venue=venue)

    async def _tell(self, left: _Left) -> None:
        products = left.products & await self._gone.since(left.before, left.now_ms, fresh=True)
        if not products or not await self._is_first(left):
            return
        venue = left.before.frame.venue
        paths = [f"/v1/venues/{venue}/slots", "/v1/slots"]
        body = _encode({"venue": venue, "frame": left.frame, "products": sorted(products), "paths": paths})
        result = "done" if await self._called(body) else "failed"
        METRICS.count("saima_purges_total", venue, result=result)
        tell = log.info if result == "done" else log.warning
        tell("caches were told of what was excluded", venue=venue, result=result, products=len(products))

    async def _is_first(self, left: _Left) -> bool:
        """Whether no other process has told of this frame."""
        name = purged(left.before.frame.venue, left.frame)
        async with store_errors_async():
            return await self._client.execute_command("SET", name, b"1", "NX", "EX", _MARK_S) is not None

    async def _called(self, body: bytes) -> bool:
        for pause_s in (*_PAUSES_S, 0.0):
            try:
                await asyncio.to_thread(_post, self._url, body)
            except OSError as exc:  # urllib's own errors and time-outs are such
                log.warning("the purge hook failed", reason=str(exc))
                await asyncio.sleep(pause_s)
            else:
                return True
        return False


def _post(url: str, body: bytes) -> None:
    """POST some JSON. Raises OSError for anything but a 2xx."""
    headers = {"Content-Type": "application/json", "User-Agent": "saima"}
    request: Any = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  # the setting's pattern lets only http and https in
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # as above
        answer.read(1)
