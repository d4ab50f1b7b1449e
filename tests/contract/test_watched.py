"""Runners whose standings are kept wherever they stand: who is, until when, and how many may be."""

from __future__ import annotations

import pytest

from racing.decisions import Decision
from racing.entries import Runner
from racing.errors import ConflictError
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.store.watched import watched_at

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


async def test_too_many_of_a_merchant_or_a_venue_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racing.store.watched.OWN_MAX", 2)
    monkeypatch.setattr("racing.store.watched.WATCHED_MAX", 3)
    for merchant, runner in (("m-1", 0), ("m-1", 1), ("m", 2)):
        await desk.watched.watch(VENUE, merchant, runner, until_ms=100 + runner, now_ms=50)
    with pytest.raises(ConflictError, match="2 products of merchant 'm-1'"):
        await desk.watched.watch(VENUE, "m-1", 3, until_ms=100, now_ms=50)
    with pytest.raises(ConflictError, match="3 products of venue 'hall-1'"):
        await desk.watched.watch(VENUE, "m", 4, until_ms=100, now_ms=50)
    await desk.watched.watch(VENUE, "m-1", 1, until_ms=300, now_ms=50)
    assert await desk.watched.until(VENUE, "m-1", 1, now_ms=50) == 300
    await desk.watched.watch(VENUE, "m", 4, until_ms=300, now_ms=100)


async def test_runner_is_watched_until_its_time_is_over_or_it_is_released(desk: Desk, client: SyncClient) -> None:
    await desk.watched.watch(VENUE, "m-1", 7, until_ms=100, now_ms=50)
    await desk.watched.watch(VENUE, "m.2", 3, until_ms=90, now_ms=50)
    await desk.watched.watch(VENUE, "m.3", 3, until_ms=80, now_ms=50)
    assert watched_at(client, KEYS, 79) == [3, 7]
    assert watched_at(client, KEYS, 90) == [7]
    assert watched_at(client, KEYS, 100) == []
    assert await desk.watched.until(VENUE, "m-1", 7, now_ms=99) == 100
    assert await desk.watched.until(VENUE, "m-1", 7, now_ms=100) is None
    assert await desk.watched.until(VENUE, "m-1", 8, now_ms=0) is None
    for _ in range(2):
        await desk.watched.release(VENUE, "m-1", 7)
    assert watched_at(client, KEYS, 0) == [3]


async def test_product_that_is_another_merchants_or_swapped_is_watched_no_more(desk: Desk, client: SyncClient) -> None:
    names = [f"p-{n}" for n in range(5)]
    await desk.runners.enrol(VENUE, [Runner(name, "m-1", "") for name in names])
    for number in range(5):
        await desk.watched.watch(VENUE, "m-1", number, until_ms=100, now_ms=50)
    await desk.runners.enrol(VENUE, [Runner("p-0", "m-2", ""), Runner("p-1", "m-1", "other title")])
    for name, wanted in (("p-2", Runner("p-2", "m-2", "")), ("p-3", Runner("p-3", "m-1", "other title"))):
        found = await desk.runners.find(VENUE, name)
        assert found is not None
        assert await desk.runners.change(VENUE, wanted, read=found[1], author="a")
    found = await desk.runners.find(VENUE, "p-4")
    assert found is not None
    comes = Runner("p-9", "m-1", "")
    assert await desk.runners.swap(VENUE, "p-4", comes, read=found[1], decision=Decision("a", "swap"))
    assert watched_at(client, KEYS, 50) == [1, 3]
