"""Following venues on a cluster: each by itself, so that the trouble of one node leaves the others' alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import redis

from racing.errors import StoreUnavailableError
from racing.store import feed as module
from racing.store.feed import ClusterFeed, Fresh, LastCommit, PlainFeed, feed_over
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient

BLOCK_MS = 2_000
AFTER = {"one": "0-0", "two": "0-0"}


class Node:
    """One venue's node: blocks until it has a frame, unless it is away."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.away = False
        self.reads = 0

    def pipeline(self, *, transaction: bool) -> Pipe:
        assert not transaction
        return Pipe(self)


class Pipe:
    """One round trip: XREAD, TIME, GET."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.asked: list[Any] = []

    def execute_command(self, *args: Any) -> None:
        self.asked.append(args)

    def time(self) -> None:
        self.asked.append("time")

    def get(self, name: str) -> None:
        self.asked.append(name)

    async def execute(self) -> list[Any]:
        node = self._node
        node.reads += 1
        if node.away:
            raise redis.exceptions.ConnectionError("away")
        last_id, raw = await node.frames.get()
        read = self.asked[0]
        found = [(b"0-1", {b"frame": b"older"}), (last_id.encode(), {b"frame": raw})]
        return [[[read[read.index("STREAMS") + 1].encode(), found]], (7, 500), b"{}"]


class Nodes:
    """A node for each venue."""

    def __init__(self) -> None:
        self.by_venue = {name: Node() for name in ("one", "two")}

    def client(self, venue: str | None) -> AsyncClient:
        return cast("AsyncClient", self.by_venue[venue or ""])


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
async def feed(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterFeed]:
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    routed = RoutedClient(nodes.client, dict, lambda _: nodes.client("one"))
    made = feed_over(routed)
    assert isinstance(made, ClusterFeed)
    yield made
    await made.stop()


def test_one_server_is_followed_by_one_read() -> None:
    client: Any = object()
    assert isinstance(feed_over(client), PlainFeed)


async def test_venues_that_are_all_away_are_an_absent_store(feed: ClusterFeed, nodes: Nodes) -> None:
    for node in nodes.by_venue.values():
        node.away = True

    async def two_rounds() -> None:
        for _ in range(2):
            await feed.look(AFTER, block_ms=BLOCK_MS)

    with pytest.raises(StoreUnavailableError, match="away"):
        await two_rounds()


async def test_frames_come_while_the_node_of_another_venue_is_away(feed: ClusterFeed, nodes: Nodes) -> None:
    nodes.by_venue["one"].away = True
    assert await feed.look(AFTER, block_ms=BLOCK_MS) == Fresh()
    nodes.by_venue["two"].frames.put_nowait(("5-2", b"frame"))
    found: dict[str, list[tuple[str, bytes]]] = {}
    while not found:
        found = (await feed.look(AFTER, block_ms=BLOCK_MS)).frames
    assert found == {"two": [("0-1", b"older"), ("5-2", b"frame")]}


async def test_venue_is_followed_again_when_its_node_is_back(feed: ClusterFeed, nodes: Nodes) -> None:
    node = nodes.by_venue["one"]
    node.away = True
    with pytest.raises(StoreUnavailableError):
        await feed.look({"one": "0-0"}, block_ms=BLOCK_MS)
    node.away = False
    node.frames.put_nowait(("5-1", b"frame"))
    found = await feed.look({"one": "0-0"}, block_ms=BLOCK_MS)
    assert found.frames == {"one": [("0-1", b"older"), ("5-1", b"frame")]}


async def test_commit_and_clock_come_with_the_frame_and_are_told_once(feed: ClusterFeed, nodes: Nodes) -> None:
    nodes.by_venue["one"].frames.put_nowait(("5-1", b"frame"))
    assert (await feed.look(AFTER, block_ms=BLOCK_MS)).commits == {"one": LastCommit(b"{}", 7000.5)}
    assert await feed.look(AFTER, block_ms=1) == Fresh()


async def test_read_that_waits_goes_on_waiting(feed: ClusterFeed, nodes: Nodes) -> None:
    """A round that found nothing asks nothing anew."""
    for _ in range(3):
        assert await feed.look({"one": "0-0"}, block_ms=1) == Fresh()
    assert nodes.by_venue["one"].reads == 1


async def test_venue_that_has_gone_is_read_no_more(feed: ClusterFeed, nodes: Nodes) -> None:
    await feed.look(AFTER, block_ms=1)
    reading = [task for task in asyncio.all_tasks() if task.get_name() == "read-one"]
    await feed.look({"two": "0-0"}, block_ms=1)
    await asyncio.wait(reading, timeout=5)
    assert [task.cancelled() for task in reading] == [True]
