"""Venues and their rules: made once, changed one version after another."""

from __future__ import annotations

import asyncio

import pytest

from racing.entries import RuleChange
from racing.errors import ConflictError, NotFoundError, StoreUnavailableError
from racing.formats import FORMAT
from racing.model import START
from racing.rule import DEFAULT_RULE, parse_rule
from racing.store import reads
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from tests.contract.servers import LossyStore, Store
from tests.contract.track import CLICKS

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
OTHER = parse_rule(CLICKS)


def logged(client: SyncClient) -> list[int]:
    """The rule versions that stand in the log, in its order."""
    return [entry.body.version for entry in read_after(client, KEYS, START) if isinstance(entry.body, RuleChange)]


async def test_venue_that_exists_is_refused_and_stays_as_it_is(desk: Desk, client: SyncClient) -> None:
    made = await desk.venues.create(VENUE, "first", DEFAULT_RULE, author="a")
    with pytest.raises(ConflictError):
        await desk.venues.create(VENUE, "second", OTHER, author="b")
    assert await desk.venues.all() == [made]
    assert (await desk.rules.read(VENUE)).rule == DEFAULT_RULE.model_dump(mode="json", exclude_none=True)
    assert logged(client) == [1]


async def test_venue_made_at_the_same_time_is_listed_once(desk: Desk, client: SyncClient) -> None:
    made = await asyncio.gather(
        *(desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a") for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(each, ConflictError) for each in made) == 9
    assert reads.venues(client) == [VENUE]
    assert logged(client) == [1]


@pytest.mark.parametrize("command", ["EVALSHA", "HSETNX"])
@pytest.mark.parametrize("executed", [True, False])
async def test_venue_can_be_made_again_after_any_fault(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient, command: str, *, executed: bool
) -> None:
    await lossy_desk.venues.create("before", "title", DEFAULT_RULE, author="a")
    lossy.fault.lose(command, executed=executed)
    with pytest.raises(StoreUnavailableError):
        await lossy_desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    if command == "HSETNX" and executed:
        with pytest.raises(ConflictError):
            await lossy_desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    else:
        await lossy_desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    assert reads.venues(client) == ["before", VENUE]
    assert logged(client) == [1], "a venue has one first rule"
    assert reads.current_rule(client, KEYS).version == 1


async def test_venues_are_listed_in_order_of_their_ids(desk: Desk, client: SyncClient) -> None:
    for venue in ("c", "a", "b"):
        await desk.venues.create(venue, venue.upper(), DEFAULT_RULE, author="a")
    assert [venue.venue for venue in await desk.venues.all()] == reads.venues(client) == ["a", "b", "c"]


async def test_rule_that_follows_an_outdated_version_is_refused(desk: Desk, client: SyncClient) -> None:
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    await desk.rules.put(VENUE, OTHER, after=1, author="a", note="")
    for after in (0, 1, 3):
        with pytest.raises(ConflictError):
            await desk.rules.put(VENUE, DEFAULT_RULE, after=after, author="b", note="")
    assert (await desk.rules.read(VENUE)).version == 2
    assert logged(client) == [1, 2]


async def test_of_two_rules_put_at_once_one_becomes_the_next_version(desk: Desk, client: SyncClient) -> None:
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    put = await asyncio.gather(
        *(desk.rules.put(VENUE, OTHER, after=1, author=f"author-{index}", note="") for index in range(10)),
        return_exceptions=True,
    )
    won = [each for each in put if not isinstance(each, BaseException)]
    assert len(won) == 1
    assert (await desk.rules.read(VENUE)).author == won[0][0].author
    assert logged(client) == [1, 2]


async def test_put_rule_is_current_logged_and_kept_with_its_author(desk: Desk, client: SyncClient) -> None:
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    made, entry = await desk.rules.put(VENUE, OTHER, after=1, author="me", note="why")
    found = read_after(client, KEYS, START)[-1]
    assert str(found.position) == entry
    assert found.body == RuleChange(2, OTHER.model_dump(mode="json", exclude_none=True), "me", "why", format=FORMAT)
    assert await desk.rules.read(VENUE) == await desk.rules.read(VENUE, 2) == made
    assert (await desk.rules.read(VENUE, 1)).version == 1


async def test_version_that_never_was_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFoundError):
        await desk.rules.read(VENUE)
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    with pytest.raises(NotFoundError):
        await desk.rules.read(VENUE, 2)


async def test_rule_whose_answer_was_lost_is_put_only_once(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient
) -> None:
    await lossy_desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    lossy.fault.lose("EVALSHA", executed=True)
    with pytest.raises(StoreUnavailableError):
        await lossy_desk.rules.put(VENUE, OTHER, after=1, author="a", note="")
    with pytest.raises(ConflictError):
        await lossy_desk.rules.put(VENUE, OTHER, after=1, author="a", note="")
    assert logged(client) == [1, 2]


async def test_secret_is_made_once_and_the_same_for_every_process(store: Store, desk: Desk) -> None:
    other = store.async_client()
    secrets = await asyncio.gather(desk.secret(), Desk(other).secret(), desk.secret())
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32
    await other.aclose()
