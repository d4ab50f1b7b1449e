"""Enrolment: a number for each product, given once, with the entry that tells the race of it."""

from __future__ import annotations

import asyncio

import pytest

from racing.entries import Enrolment, Runner
from racing.errors import StoreUnavailableError
from racing.formats import FORMAT
from racing.model import START
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from tests.contract.servers import LossyStore

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


def runner(product: str, title: str = "title", **data: object) -> Runner:
    return Runner(product, "merchant", title, attributes=dict(data))  # type: ignore[arg-type]  # plain numbers and text


def enrolments(client: SyncClient) -> list[Enrolment]:
    bodies = [entry.body for entry in read_after(client, KEYS, START)]
    assert all(isinstance(body, Enrolment) for body in bodies)
    return bodies  # type: ignore[return-value]  # as just checked


async def test_numbers_count_from_zero_in_order_of_enrolment(desk: Desk, client: SyncClient) -> None:
    enrolled = await desk.runners.enrol(VENUE, [runner("c"), runner("a"), runner("b")])
    assert [(each.product, each.runner, each.state) for each in enrolled] == [
        ("c", 0, "enrolled"),
        ("a", 1, "enrolled"),
        ("b", 2, "enrolled"),
    ]
    assert await desk.runners.numbers(VENUE, ["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": 0}
    assert await desk.runners.count(VENUE) == 3


async def test_the_first_numbers_are_all_of_a_small_venue_and_about_so_many_of_a_large_one(desk: Desk) -> None:
    assert await desk.runners.first_numbers(VENUE, at_most=10) == {}
    numbers: dict[str, int] = {}
    for first in range(0, 12_000, 1_000):  # as many as a caller passes at most
        enrolled = await desk.runners.enrol(VENUE, [runner(f"p-{n}") for n in range(first, first + 1_000)])
        numbers |= {each.product: each.runner for each in enrolled}
    assert await desk.runners.first_numbers(VENUE, at_most=100_000) == numbers
    some = await desk.runners.first_numbers(VENUE, at_most=1_000)
    assert 1_000 <= len(some) < 12_000
    assert some.items() <= numbers.items()


async def test_enrolling_again_changes_nothing_and_logs_nothing(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a"), runner("b")])
    again = await desk.runners.enrol(VENUE, [runner("b"), runner("a")])
    assert [(each.runner, each.state) for each in again] == [(1, "unchanged"), (0, "unchanged")]
    assert len(enrolments(client)) == 1


async def test_other_data_is_taken_over_under_the_same_number(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a"), runner("b")])
    changed = await desk.runners.enrol(VENUE, [runner("b", "new title")])
    assert [(each.runner, each.state) for each in changed] == [(1, "changed")]
    assert (await desk.runners.by_number(VENUE, [1]))[1].title == "new title"
    assert enrolments(client)[1].runners == [(1, runner("b", "new title"))]


async def test_one_entry_tells_of_all_that_are_new_or_changed_and_of_no_other(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a"), runner("b")])
    mixed = await desk.runners.enrol(VENUE, [runner("a"), runner("c"), runner("b", "new title")])
    assert [(each.runner, each.state) for each in mixed] == [(0, "unchanged"), (2, "enrolled"), (1, "changed")]
    assert enrolments(client)[1].runners == [(2, runner("c")), (1, runner("b", "new title"))]


async def test_enrolment_made_by_the_server_says_its_format(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, [runner("a")])
    assert enrolments(client)[0].format == FORMAT


async def test_thousand_products_are_one_entry(desk: Desk, client: SyncClient) -> None:
    enrolled = await desk.runners.enrol(VENUE, [runner(f"p-{index}") for index in range(1000)])
    assert [each.runner for each in enrolled] == list(range(1000))
    assert [number for number, _ in enrolments(client)[0].runners] == list(range(1000))


async def test_enrolments_at_the_same_time_share_no_number(desk: Desk, client: SyncClient) -> None:
    batches = [[runner(f"p-{index}-{each}") for each in range(10)] for index in range(20)]
    enrolled = [
        each for batch in await asyncio.gather(*(desk.runners.enrol(VENUE, b) for b in batches)) for each in batch
    ]
    assert sorted(each.runner for each in enrolled) == list(range(200))
    logged = [number for entry in enrolments(client) for number, _ in entry.runners]
    assert logged == list(range(200)), "entries stand in the log in the order of their numbers"


async def test_one_product_enrolled_at_the_same_time_gets_one_number(desk: Desk, client: SyncClient) -> None:
    answers = await asyncio.gather(*(desk.runners.enrol(VENUE, [runner("a")]) for _ in range(20)))
    assert {batch[0].runner for batch in answers} == {0}
    assert sorted(batch[0].state for batch in answers) == ["enrolled", *["unchanged"] * 19]
    assert len(enrolments(client)) == 1


async def test_any_text_comes_through_the_log_unharmed(desk: Desk, client: SyncClient) -> None:
    title = '双十一 "quoted" \\ back\nline \u2028 ] } 🏇'
    await desk.runners.enrol(VENUE, [runner("a", title, colour='"],[9,{"', price_factor=1e-300)])
    assert enrolments(client)[0].runners == [(0, runner("a", title, colour='"],[9,{"', price_factor=1e-300))]
    assert (await desk.runners.by_number(VENUE, [0]))[0].title == title


@pytest.mark.parametrize("executed", [True, False])
async def test_repeat_after_a_lost_enrolment_gives_the_same_number(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient, *, executed: bool
) -> None:
    await lossy_desk.runners.enrol(VENUE, [runner("before")])
    lossy.fault.lose("EVALSHA", executed=executed)
    with pytest.raises(StoreUnavailableError):
        await lossy_desk.runners.enrol(VENUE, [runner("a")])
    again = await lossy_desk.runners.enrol(VENUE, [runner("a")])
    assert [(each.runner, each.state) for each in again] == [(1, "unchanged" if executed else "enrolled")]
    assert [number for entry in enrolments(client) for number, _ in entry.runners] == [0, 1]
