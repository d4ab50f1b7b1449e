"""Reads for those who ask where they stand: the runners of a merchant, and what the sets say of them at one moment."""

from __future__ import annotations

import pytest

from racing.entries import Runner
from racing.errors import StoreError
from racing.rule import DEFAULT_RULE
from racing.store.commit import read_commit
from racing.store.desk import Desk
from racing.store.keys import VenueKeys, member
from racing.store.protocol import SyncClient
from tests.contract.appends import append
from tests.contract.servers import Store
from tests.contract.track import Track, clicks, packed

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
MEASURES = ["click:count"]


def runner(product: str, merchant: str) -> Runner:
    return Runner(product, merchant, "title")


async def raced(desk: Desk, store: Store, *clicked: int) -> None:
    """A venue of the runners enrolled so far, with a click each for these, raced until the sets are complete."""
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    await append(desk, VENUE, packed(clicks(list(clicked))))
    track = Track(store.client(), venue=VENUE)
    track.now_ms = int(store.raw.xrevrange(KEYS.log, count=1)[0][0].split(b"-")[0])
    track.settle(track.owner())


# -- the runners of a merchant --------------------------------------------------------------------------------


async def test_merchant_has_its_own_runners_in_order_of_enrolment(desk: Desk) -> None:
    await desk.runners.enrol(VENUE, [runner("b", "m-1"), runner("a", "m-10"), runner("c", "m-1"), runner("d", "m")])
    assert await desk.standings.owned(VENUE, "m-1") == [0, 2]
    assert await desk.standings.owned(VENUE, "m-10") == [1]
    assert await desk.standings.owned(VENUE, "m") == [3]
    assert await desk.standings.owned(VENUE, "m-2") == []
    assert await desk.standings.owned("hall-none", "m-1") == []


async def test_pages_go_on_after_a_number(desk: Desk) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", f"m-{n % 2}") for n in range(10)])
    assert await desk.standings.owned(VENUE, "m-1", at_most=2) == [1, 3]
    assert await desk.standings.owned(VENUE, "m-1", after=3, at_most=2) == [5, 7]
    assert await desk.standings.owned(VENUE, "m-1", after=9) == []


async def test_product_that_changes_hands_leaves_its_merchant(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a", "m-1"), runner("b", "m-1")])
    await desk.runners.enrol(VENUE, [runner("a", "m-2")])
    assert await desk.standings.owned(VENUE, "m-1") == [1]
    assert await desk.standings.owned(VENUE, "m-2") == [0]
    assert client.execute_command("ZCARD", KEYS.merchants) == 2


async def test_product_that_is_given_back_is_its_merchants_again(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a", "m-1")])
    await desk.runners.enrol(VENUE, [runner("a", "m-2")])
    found = await desk.runners.find(VENUE, "a")
    assert found is not None
    assert await desk.runners.change(VENUE, runner("a", "m-1"), read=found[1], author="a")
    assert await desk.standings.owned(VENUE, "m-1") == [0]
    assert await desk.standings.owned(VENUE, "m-2") == []
    assert client.execute_command("ZCARD", KEYS.merchants) == 1


async def test_index_of_an_older_venue_is_made_when_it_is_first_asked_for(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", f"m-{n % 3}") for n in range(1_000)])
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-0") for n in range(1_000, 1_500)])
    client.delete(KEYS.merchants)
    await desk.runners.enrol(VENUE, [runner("p-1500", "m-0")])
    assert await desk.standings.owned(VENUE, "m-1") == list(range(1, 1_000, 3))
    assert client.execute_command("ZCARD", KEYS.merchants) == 1_501


async def test_index_with_a_member_too_many_is_made_anew(desk: Desk, client: SyncClient) -> None:
    """As after a flipped bit of the server's file."""
    await desk.runners.enrol(VENUE, [runner("a", "m-1"), runner("b", "m-2")])
    client.execute_command("ZADD", KEYS.merchants, 0, f"m-1:{member(1)}")
    assert await desk.standings.owned(VENUE, "m-1") == [0]


# -- what the sets say ----------------------------------------------------------------------------------------


async def test_runners_are_read_with_the_commit_they_are_of(desk: Desk, store: Store, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-1") for n in range(4)])
    await raced(desk, store, 1, 1, 1, 2)
    ((numbers, read),) = await desk.standings.read(VENUE, [0, 1, 2, 3, 9], MEASURES)
    assert numbers == [0, 1, 2, 3, 9]
    assert read.commit == read_commit(client, KEYS)
    assert read.field == 4
    assert read.standing.tolist() == [3, 1, 2, 4, 0]
    assert read.better.tolist() == [2, 0, 1, 2, 0], "equal scores share a rank"
    assert read.of("window:click:count").tolist() == [0, 3, 1, 0, 0]
    assert read.of("delta:click:count").tolist() == [0, 3, 1, 0, 0]
    assert read.of("total:click:count").tolist() == [0, 3, 1, 0, 0]
    assert read.of("window:cart:count").tolist() == [0] * 5
    assert read.score[1] > read.score[2] > 0
    assert await desk.standings.places(VENUE, [0, 1, 2, 3, 9]) == [3, 1, 2, 4, None]


async def test_what_scores_are_made_with_is_kept_beside_them(desk: Desk, store: Store) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-1") for n in range(4)])
    await raced(desk, store, 1)
    ((_, read),) = await desk.standings.read(VENUE, [0], [])
    assert read.held is not None
    assert (read.held.rule_version, read.held.formula) == (1, 1)
    assert len(read.held.now) == len(read.held.before) == 2 * len(read.held.kinds)
    assert read.held.kind_index()["click"] == read.held.kinds.index("click")


async def test_venue_that_never_raced_has_no_standings(desk: Desk) -> None:
    await desk.runners.enrol(VENUE, [runner("a", "m-1")])
    ((_, read),) = await desk.standings.read(VENUE, [0], MEASURES)
    assert (read.commit.number, read.held, read.field, read.standing.tolist()) == (0, None, 0, [0])


async def test_many_runners_are_read_in_pieces(desk: Desk, store: Store) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-1") for n in range(1_000)])
    await raced(desk, store, 999)
    pieces = await desk.standings.read(VENUE, range(1_000), MEASURES)
    assert [len(numbers) for numbers, _ in pieces] == [200] * 5
    assert [sum(read.of("total:click:count")) for _, read in pieces] == [0, 0, 0, 0, 1]
    assert pieces[4][1].of("total:click:count")[199] == 1
    assert [place for _, read in pieces for place in read.standing.tolist()] == [*range(2, 1_001), 1]
    assert await desk.standings.read(VENUE, [], MEASURES) == []


async def test_neighbours_are_told_with_their_standings(desk: Desk, store: Store) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-1") for n in range(5)])
    await raced(desk, store, 4, 4, 4, 2, 2, 1)
    around = await desk.standings.around(VENUE, 2, 1)
    assert [(standing, number) for standing, number, _ in around] == [(1, 4), (2, 2), (3, 1)]
    assert [score for *_, score in around] == sorted((score for *_, score in around), reverse=True)
    assert [each[:2] for each in await desk.standings.around(VENUE, 4, 2)] == [(1, 4), (2, 2), (3, 1)]
    assert [each[:2] for each in await desk.standings.around(VENUE, 3, 1)] == [(4, 0), (5, 3)]
    assert await desk.standings.around(VENUE, 9, 2) == []


async def test_places_are_told_by_who_stands_there(desk: Desk, store: Store) -> None:
    await desk.runners.enrol(VENUE, [runner(f"p-{n}", "m-1") for n in range(4)])
    await raced(desk, store, 3)
    assert await desk.standings.at(VENUE, [1, 2, 4, 5]) == [3, 0, 2, None]
    assert await desk.standings.size(VENUE) == 4
    assert await desk.standings.size("hall-none") == 0


async def test_what_is_no_sorted_set_is_refused(desk: Desk, client: SyncClient) -> None:
    client.set(KEYS.standings, "7")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await desk.standings.size(VENUE)
    with pytest.raises(StoreError):
        await desk.standings.read(VENUE, [0], MEASURES)
