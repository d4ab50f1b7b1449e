"""Past frames are found in memory or in the store, and fetched a few at once."""

from __future__ import annotations

import asyncio

import pytest

from api import past_frames
from api.frames import Frames
from racing.errors import OverloadedError, StoreUnavailableError
from tests.unit.api.fake_store import FakeStore, frame_of, runner_of


async def test_nobody_is_told_that_a_frame_is_not_there_while_the_store_is_away(
    frames: Frames, store: FakeStore
) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await frames.catch_up(frames.views["hall-1"], (7, 1))
    with pytest.raises(StoreUnavailableError):
        await frames.past.find(frames.views["hall-1"], (7, 1))


async def test_past_frames_are_fetched_a_few_at_once(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for the same waits for the first; where too many wait, more are told to come again."""
    monkeypatch.setattr(past_frames, "_WAITING_MAX", 3)
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    store.stream = [frame_of("p-1", number=number, at_ms=100_000 * number) for number in (1, 2)]
    await frames.refresh()
    view = frames.views["hall-1"]
    found = await asyncio.gather(*(frames.past.find(view, (7, 1)) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found].count(OverloadedError) == 2
    fetched = [each for each in found if not isinstance(each, BaseException)]
    assert len(fetched) == 3
    assert await frames.past.find(view, (7, 1)) in fetched


async def test_a_frame_of_a_moment_ago_is_found_in_memory_and_an_older_one_in_the_store(
    frames: Frames, store: FakeStore
) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1"), 1: runner_of("p-2")}
    store.stream = [frame_of("p-2", "p-1", number=1), frame_of("p-1", "p-2", number=2, at_ms=200_000)]
    await frames.refresh()
    view = frames.views["hall-1"]
    asked = len(store.asked)
    recent = await frames.past.find(view, (7, 2))
    assert recent is not None
    assert (recent.frame, len(store.asked)) == (store.stream[1], asked)
    older = await frames.past.find(view, (7, 1))
    assert older is not None
    assert (older.frame, older.runners) == (store.stream[0], store.known)
    assert await frames.past.find(view, (7, 9)) is None
    assert await frames.past.find_before(view, 200_000) == older
    assert await frames.past.find_before(view, 200_001) == recent
    assert await frames.past.find_before(view, 1000) is None
