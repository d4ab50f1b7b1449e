"""What is in the log and no commit holds yet: how many events, and how old the oldest entry is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from racing.model import Position
from racing.store.flight import Books, Flight, read_books
from racing.store.log import READ_MAX
from racing.store.protocol import AsyncClient, SyncClient
from racing.verify import verify
from tests.contract.servers import Store
from tests.contract.track import Track


@pytest.fixture
async def reader(store: Store) -> AsyncIterator[AsyncClient]:
    made = store.async_client()
    yield made
    await made.aclose()


async def books(track: Track, reader: AsyncClient) -> Books:
    found = await read_books(reader, track.venue)
    assert found.accepted == found.commit.counts.get("accepted", 0) + found.flight.events
    return found


async def test_venue_that_never_raced_has_all_its_events_in_flight(client: SyncClient, reader: AsyncClient) -> None:
    track = Track(client)
    assert (await books(track, reader)).flight == Flight()
    track.begin()
    first = track.raw.xrange(track.keys.log, count=1)[0][0]
    track.click(0, 1, 2)

    found = await books(track, reader)

    assert found.flight == Flight(3, Position.parse(first).ms)
    assert found.accepted == 3


async def test_events_after_the_commit_are_in_flight_until_they_are_folded(
    client: SyncClient, reader: AsyncClient
) -> None:
    track = Track(client)
    track.begin()
    track.click(0, 7)
    owner = track.owner()
    track.settle(owner)
    assert (await books(track, reader)).oldest_age_ms == 0
    waits = track.click(1, 1, after_ms=5)
    track.write({"unreadable": True})
    track.click(2)

    found = await books(track, reader)

    assert (found.flight, found.accepted) == (Flight(3, waits.ms), 5)
    assert found.oldest_age_ms == max(0, found.now_ms - waits.ms)
    report = verify(client, track.venue)
    assert (report.clean, report.in_flight) == (True, 3)
    track.settle(owner)
    found = await books(track, reader)
    assert (found.flight, found.accepted, found.commit.counts["counted"]) == (Flight(), 5, 4)


async def test_what_is_read_of_a_long_backlog_is_bounded(client: SyncClient, reader: AsyncClient) -> None:
    track = Track(client)
    for _ in range(READ_MAX + 3):
        track.click(0)

    assert (await books(track, reader)).flight.events == READ_MAX
