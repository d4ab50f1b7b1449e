"""Numbers of runners are read once, a bounded number of them is kept, and lost enrolments are dropped."""

from __future__ import annotations

import asyncio

import pytest

from api import known_numbers
from api.frames import Frames
from tests.unit.api.fake_store import FakeStore, view_of


async def test_numbers_are_read_once_and_then_known(frames: Frames, store: FakeStore) -> None:
    """What is not enrolled is asked for again: it may be by now."""
    store.products = {"p-1": 0, "p-2": 1}
    view = view_of(read_ahead=True)
    assert (await frames.numbers.of(view, {"p-1", "p-9"}))["p-1"] == 0
    assert (await frames.numbers.of(view, {"p-1", "p-2", "p-9"})) == {"p-1": 0, "p-2": 1}
    assert store.asked == [("numbers", ["p-1", "p-9"]), ("numbers", ["p-2", "p-9"])]


async def test_the_first_miss_reads_ahead_once_however_many_wait(frames: Frames, store: FakeStore) -> None:
    """A process that starts under load learns the venue's products at once, and asks only for the others."""
    store.products, store.ahead = {f"p-{n}": n for n in range(5)}, 3
    view = view_of()
    first, second = await asyncio.gather(frames.numbers.of(view, {"p-1"}), frames.numbers.of(view, {"p-4"}))
    assert first["p-1"] == 1
    assert second["p-4"] == 4
    assert await frames.numbers.of(view, {"p-0", "p-2"}) == {f"p-{n}": n for n in (0, 1, 2, 4)}
    assert [what for what, _ in store.asked] == ["first_numbers", "numbers"]


async def test_the_memory_for_numbers_is_bounded(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it starts anew, with all that is asked for now."""
    monkeypatch.setattr(known_numbers, "_PRODUCTS_MAX", 2)
    store.products = {f"p-{n}": n for n in range(5)}
    view = view_of(read_ahead=True)
    await frames.numbers.of(view, {"p-0", "p-1", "p-2"})
    assert await frames.numbers.of(view, {"p-2", "p-3"}) == {"p-2": 2, "p-3": 3}


async def test_numbers_of_lost_enrolments_are_dropped_when_another_product_is_looked_up(
    frames: Frames, store: FakeStore
) -> None:
    """A failover lost b, and c got its number: b is unknown from then on."""
    store.products = {"a": 0, "b": 1}
    view = view_of(read_ahead=True)
    assert await frames.numbers.of(view, {"a", "b"}) == {"a": 0, "b": 1}
    store.products = {"a": 0, "c": 1}
    assert await frames.numbers.of(view, {"b", "c"}) == {"c": 1}
    assert await frames.numbers.of(view, {"a", "b", "c"}) == {"a": 0, "c": 1}


async def test_numbers_that_were_read_before_and_after_a_loss_are_not_mixed(frames: Frames, store: FakeStore) -> None:
    """Two lookups are under way at once; between them c took the number that b had."""
    store.products = {"a": 0, "b": 1}
    view = view_of(read_ahead=True)
    before = asyncio.create_task(frames.numbers.of(view, {"b"}))
    await asyncio.sleep(0)
    store.products = {"a": 0, "c": 1}
    after = asyncio.create_task(frames.numbers.of(view, {"c"}))
    await asyncio.gather(before, after)
    assert view.numbers["c"] == 1
    assert "b" not in view.numbers


async def test_numbers_that_are_forgotten_stay_whole_for_batches_under_way(frames: Frames, store: FakeStore) -> None:
    store.products = {"a": 0}
    view = view_of(read_ahead=True)
    old = await frames.numbers.of(view, {"a"})
    frames.numbers.forget(view, old)
    store.products = {"a": 0, "b": 1}
    assert await frames.numbers.of(view, {"b"}) == {"b": 1}
    frames.numbers.forget(view, old)  # by another batch of that time: nothing is dropped twice
    assert (old, view.numbers) == ({"a": 0}, {"b": 1})
