"""Runner numbers after a failover that lost enrolments: nothing is appended under those of another table."""

from __future__ import annotations

import pytest

from racing.entries import Runner
from racing.errors import StaleNumbersError
from racing.model import START
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.numbers import UNMARKED, Mark, Numbers
from racing.store.protocol import SyncClient
from tests.contract.servers import Store
from tests.contract.track import clicks, packed

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


def runners(*products: str) -> list[Runner]:
    return [Runner(product, "merchant", "title") for product in products]


class Failover:
    """What the venue's keys held at a moment, and going back to it: as when a replica takes over that lagged."""

    def __init__(self, store: Store) -> None:
        self._raw = store.raw
        self._held = {key: self._raw.dump(key) for key in (KEYS.products, KEYS.runners, KEYS.roll, KEYS.log)}

    def back(self) -> None:
        for key, held in self._held.items():
            self._raw.delete(key)
            if held is not None:
                self._raw.restore(key, 0, held)


async def test_batch_under_the_number_of_a_lost_enrolment_is_refused_with_or_without_a_key(
    real_store: Store, real_desk: Desk
) -> None:
    await real_desk.runners.enrol(VENUE, runners("a"))
    failover = Failover(real_store)
    await real_desk.runners.enrol(VENUE, runners("b"))
    stale = await real_desk.runners.numbers(VENUE, ["a", "b"])
    failover.back()
    await real_desk.runners.enrol(VENUE, runners("c"))
    length = real_store.raw.xlen(KEYS.log)

    keyed = KeyedBatch(packed(clicks([1])), "k", "d", b"{}")
    refused = await real_desk.append_all(VENUE, [packed(clicks([1])), keyed], stale.mark)

    assert [type(each) for each in refused] == [StaleNumbersError, StaleNumbersError]
    assert real_store.raw.xlen(KEYS.log) == length
    assert not real_store.raw.exists(KEYS.answers), "with the right numbers the key can be used"
    with pytest.raises(StaleNumbersError):
        await real_desk.runners.numbers(VENUE, ["a"], stale.mark)


@pytest.mark.parametrize("again", [(), ("b",), ("b", "c")])
async def test_numbers_are_right_again_when_the_lost_products_get_the_same_ones(
    real_store: Store, real_desk: Desk, again: tuple[str, ...]
) -> None:
    await real_desk.runners.enrol(VENUE, runners("a"))
    failover = Failover(real_store)
    await real_desk.runners.enrol(VENUE, runners("b"))
    stale = await real_desk.runners.numbers(VENUE, ["a", "b"])
    failover.back()
    if again:
        await real_desk.runners.enrol(VENUE, runners(*again))

    (done,) = await real_desk.append_all(VENUE, [packed(clicks([1]))], stale.mark)

    assert isinstance(done, Appended) == bool(again)


async def test_numbers_stay_right_while_others_enrol_and_data_changes(desk: Desk, client: SyncClient) -> None:
    await desk.runners.enrol(VENUE, runners("a", "b"))
    known = await desk.runners.numbers(VENUE, ["b", "x"])
    await desk.runners.enrol(VENUE, [*runners("c"), Runner("b", "merchant", "another title")])

    done = await desk.append_all(VENUE, [packed(clicks([1]))] * 2, known.mark)

    assert known == {"b": 1}
    assert [type(each) for each in done] == [Appended, Appended]
    assert len(read_after(client, KEYS, START)) == 4
    assert await desk.runners.numbers(VENUE, ["c"], known.mark) == {"c": 2}


async def test_mark_names_all_products_and_their_order(desk: Desk) -> None:
    orders = {"x": ("a", "b", "c"), "y": ("a", "c", "b"), "z": ("a", "b", "d")}
    marks = {}
    for venue, products in orders.items():
        await desk.runners.enrol(venue, runners(*products[:1]))
        await desk.runners.enrol(venue, runners(*products[1:]))
        marks[venue] = (await desk.runners.numbers(venue, [])).mark
    one_go = await desk.runners.enrol("w", runners("a", "b", "c"))

    assert [each.runner for each in one_go] == [0, 1, 2]
    assert len(set(marks.values())) == 3
    assert (await desk.runners.numbers("w", [])).mark == marks["x"]
    assert {mark.number for mark in marks.values()} == {2}


async def test_venue_without_enrolments_has_no_mark(desk: Desk) -> None:
    assert (await desk.runners.numbers(VENUE, ["a"])).mark == UNMARKED


async def test_roll_that_is_missing_is_made_at_the_next_enrolment(store: Store, desk: Desk) -> None:
    """As in a venue of a version that kept none: until then numbers have no mark, and nothing is checked."""
    await desk.runners.enrol(VENUE, runners("a", "b"))
    before = (await desk.runners.numbers(VENUE, [])).mark
    store.raw.delete(KEYS.roll)
    known = await desk.runners.numbers(VENUE, ["a", "b"])
    assert (known, known.mark) == ({"a": 0, "b": 1}, UNMARKED)

    await desk.runners.enrol(VENUE, runners("c"))
    after = await desk.runners.numbers(VENUE, ["c"], before)

    assert (after, after.mark.number) == ({"c": 2}, 2)


async def test_numbers_read_ahead_have_the_mark_of_their_table(desk: Desk) -> None:
    await desk.runners.enrol(VENUE, runners(*(f"p-{number}" for number in range(500))))
    ahead = await desk.runners.first_numbers(VENUE, at_most=100_000)

    assert ahead == {f"p-{number}": number for number in range(500)}
    assert ahead.mark == (await desk.runners.numbers(VENUE, ["p-7"])).mark


def test_numbers_of_another_table_are_not_taken_over() -> None:
    first, second = Mark(1, b"first"), Mark(1, b"second")
    known = Numbers({"a": 0, "b": 1}, first)

    assert not known.learn(Numbers({"c": 1}, second), UNMARKED)
    assert known == {"a": 0, "b": 1}
    assert known.learn(Numbers({"d": 2}, Mark(2, b"longer")), first)
    assert (known, known.mark) == ({"a": 0, "b": 1, "d": 2}, Mark(2, b"longer"))
