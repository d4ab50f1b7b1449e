"""Frames in memory: what a process knows of each venue, and how that stays fresh while the store comes and goes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api import frames as module
from api.frames import Frames
from racing.errors import StoreUnavailableError
from racing.formats import FORMAT
from racing.store.commit import CommitRecord
from racing.store.documents import RuleVersion
from tests.unit.api.fake_store import FakeStore, eventually, followed, frame_of, runner_of, shown


async def test_those_who_ask_for_venues_that_are_not_there_share_a_look_that_began_after_they_asked(
    frames: Frames, store: FakeStore
) -> None:
    """The first has a look at once, the others the next one together."""
    begun_s = time.monotonic()
    assert await frames.view("hall-9") is None
    assert 0 < frames._rest_s <= module._LOOK_S
    frames._rest_s = 0.05
    assert await asyncio.gather(*(frames.view(f"hall-{number}") for number in range(50))) == [None] * 50
    assert time.monotonic() - begun_s >= 0.05
    assert store.asked == [("venues", None)] * 2


async def test_one_stranger_after_a_while_is_answered_at_once(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 3600.0)
    begun_s = time.monotonic()
    frames._looked_s, frames._rest_s = begun_s - 3600.0, 3600.0
    await frames.refresh()  # as it is done each second, and by whoever makes a venue
    assert await frames.view("hall-9") is None
    assert time.monotonic() - begun_s < 1800.0


async def test_a_venue_made_elsewhere_is_found_when_it_is_asked_for(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    view = await frames.view("hall-1")
    assert view is not None
    assert (view.frame.frame, view.frame.slots, view.rule_version) == (0, (), 1)
    assert await frames.view("hall-1") is view


async def test_a_venue_made_elsewhere_a_moment_after_a_look_is_not_said_to_be_missing(
    frames: Frames, store: FakeStore
) -> None:
    assert await frames.view("hall-1") is None
    store.listed = ["hall-1"]
    assert await frames.view("hall-1") is not None


async def test_a_venue_made_elsewhere_during_a_look_is_not_said_to_be_missing(frames: Frames, store: FakeStore) -> None:
    """That look has listed the venues already."""
    store.while_listing = ["hall-1"]
    first = asyncio.create_task(frames.view("hall-1"))
    await store.listing.wait()
    assert await frames.view("hall-1") is not None
    assert await first is None


async def test_several_venues_are_looked_for_at_once(frames: Frames, store: FakeStore) -> None:
    await frames.look_for(["hall-7", "hall-8", "hall-9"])
    assert store.asked == [("venues", None)]


async def test_nobody_says_that_a_venue_is_missing_while_nobody_can_tell(frames: Frames, store: FakeStore) -> None:
    store.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await frames.view("hall-9")
    store.away = False
    await frames.refresh()
    assert await frames.view("hall-9") is None


async def test_all_who_wait_hear_of_a_store_that_is_away_with_the_one_who_looks(
    frames: Frames, store: FakeStore
) -> None:
    """A look at a store that does not answer takes most of the second within which writers must hear of it."""
    store.away = True
    found = await asyncio.gather(*(frames.view(f"hall-{n}") for n in range(50)), return_exceptions=True)
    assert all(isinstance(each, StoreUnavailableError) for each in found)
    assert store.asked == [("venues", None)]


async def test_a_venue_that_is_known_is_served_while_the_store_is_away(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    store.away = True
    assert await frames.view("hall-1") is not None
    with pytest.raises(StoreUnavailableError):
        await frames.refresh()
    assert await frames.view("hall-1") is not None


async def test_a_venue_that_is_gone_is_forgotten(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1", "hall-2"]
    await frames.refresh()
    store.listed = ["hall-2"]
    await frames.refresh()
    assert set(frames.views) == {"hall-2"}


async def test_a_venue_made_while_others_are_listed_is_not_forgotten(frames: Frames, store: FakeStore) -> None:
    """The older list ends later, and does not hold it."""
    store.listed, store.while_listing = ["hall-1"], ["hall-2"]
    older = asyncio.create_task(frames.refresh())
    await asyncio.sleep(0)
    newer = asyncio.create_task(frames.refresh())
    await asyncio.gather(newer, older)
    assert set(frames.views) == {"hall-1", "hall-2"}


async def test_published_frames_are_shown_with_the_data_of_their_runners(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    assert view.runners == {0: store.known[0]}
    store.published.put_nowait(("hall-1", frame_of("p-1", "p-2", number=2)))
    await shown(view, 2)
    assert view.runners == store.known
    assert [about for what, about in store.asked if what == "runners"] == [[0], [1]]


async def test_data_is_read_anew_when_runners_were_enrolled_or_changed(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    store.known = {0: runner_of("p-1", price=9)}
    store.published.put_nowait(("hall-1", frame_of("p-1", number=2, roster=2)))
    await shown(view, 2)
    assert view.runners[0].price == 9


async def test_a_frame_of_another_rule_brings_that_rule(frames: Frames, store: FakeStore) -> None:
    """So that this process takes the kinds that the rule declares."""
    view = await followed(frames, store)
    rule = {**store.version.rule, "metrics": {"click": {"event": "share"}}, "terms": [store.version.rule["terms"][0]]}
    store.version = RuleVersion(2, rule, "a", "", 0)
    store.published.put_nowait(("hall-1", frame_of("p-1", rule_version=2)))
    await shown(view, 1)
    assert (view.rule_version, "share" in view.rule.kinds()) == (2, True)


async def test_the_age_of_the_data_is_taken_from_the_last_commit_and_the_clock_of_redis(
    frames: Frames, store: FakeStore
) -> None:
    store.commit = CommitRecord(7, 1, "1-0", "1-0", 1, as_of_ms=100_200, counts={"counted": 3})
    view = await followed(frames, store)
    await eventually(lambda: view.age_ms is not None)
    assert view.age_ms == 300
    assert view.commit.counts == {"counted": 3}
    assert frames.redis_ok


async def test_following_goes_on_when_the_store_comes_back(frames: Frames, store: FakeStore) -> None:
    """Meanwhile the last frame stays."""
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    store.away = True
    await eventually(lambda: not frames.redis_ok)
    assert view.frame.frame == 1
    store.away = False
    store.published.put_nowait(("hall-1", frame_of("p-2", number=2)))
    await shown(view, 2)


async def test_a_frame_that_cannot_be_shown_does_not_end_the_following(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is logged, and the next frame is shown."""
    view = await followed(frames, store)
    store.published.put_nowait(("hall-2", frame_of("p-1", venue="hall-2")))
    store.published.put_nowait(("hall-1", frame_of("p-1", number=2)))
    await shown(view, 2)


async def test_without_a_start_there_is_nothing_to_stop(frames: Frames) -> None:
    await frames.stop()


async def test_frame_that_nobody_published_is_not_shown(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    view = frames.views["hall-1"]
    assert await frames.catch_up(view, (7, 1)) is False
    assert view.frame.frame == 0


async def test_a_venue_is_seen_with_its_newest_frame(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    store.stream = [frame_of("p-1", number=1), frame_of("p-1", number=2)]
    await frames.refresh()
    view = frames.views["hall-1"]
    assert (view.frame.frame, view.last_id, len(view.history)) == (2, "7-2", 1)


async def test_a_frame_that_another_process_has_shown_is_fetched(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream = [frame_of("p-1", number=number) for number in (1, 2)]
    assert await frames.catch_up(view, (7, 2)) is True
    assert (view.frame.frame, view.last_id) == (2, "7-2")
    asked = len(store.asked)
    assert await frames.catch_up(view, (7, 1)) is True
    assert len(store.asked) == asked, "what is shown already is not asked for"


async def test_a_process_that_lags_far_behind_catches_up_before_it_answers(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream = [frame_of("p-1", number=number, at_ms=100 * number) for number in range(1, 200)]
    assert await frames.catch_up(view, (7, 199)) is True
    assert view.frame.frame == 199


async def test_readers_who_name_newer_frames_share_a_look(frames: Frames, store: FakeStore) -> None:
    """However many do, and whether there is such a frame or not."""
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.asked.clear()
    assert set(await asyncio.gather(*(frames.catch_up(view, (99, 1)) for _ in range(20)))) == {False}
    assert [what for what, _ in store.asked].count("xrange") <= 2
    store.stream = [frame_of("p-1", number=1)]
    assert set(await asyncio.gather(*(frames.catch_up(view, (7, 1)) for _ in range(20)))) == {True}


async def test_what_was_fetched_is_not_shown_again_when_it_is_read_as_well(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.stream = [frame_of("p-1", number=number) for number in (1, 2)]
    await frames.catch_up(view, (7, 2))
    store.published.put_nowait(("hall-1", store.stream[0]))
    store.published.put_nowait(("hall-1", frame_of("p-1", number=3)))
    await shown(view, 3)
    assert [view.history.find((7, number)) is not None for number in (1, 2, 3)] == [False, True, True]


async def test_frames_that_are_passed_over_count_for_what_the_next_is_compared_with(
    frames: Frames, store: FakeStore
) -> None:
    """The board of the last moment before each ten seconds, whichever of the frames were shown here."""
    store.listed = ["hall-1"]
    store.stream = [frame_of("p-1", number=1, at_ms=1_000)]
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream += [frame_of("p-1", number=2 + n, at_ms=9_000 + 1_000 * n) for n in range(25)]
    await frames.catch_up(view, (7, 26))
    last_before = [board.at_ms for board in view.now.references if board is not None]
    assert last_before == [29_000, 19_000, 9_000]
    fresh = Frames(*[_any(store)] * 3)
    await fresh.refresh()
    assert fresh.views["hall-1"].now.references == view.now.references, (
        "a process that has seen none of them tells the same"
    )


def _any(store: FakeStore) -> Any:
    return store


async def test_a_commit_of_a_newer_saima_is_told_as_what_it_is_and_leaves_other_venues_alone(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, by its venue and both versions; what can be read of the others is."""
    store.listed = ["hall-1", "hall-2"]
    await frames.refresh()
    good = CommitRecord(7, 1, "1-0", "1-0", 1, 100_400)
    newer = msgspec.structs.replace(good, format=FORMAT + 1)

    async def execute() -> list[Any]:
        await asyncio.sleep(0)
        return [None, (100, 500_000), msgspec.json.encode(newer), msgspec.json.encode(good)]

    monkeypatch.setattr(store, "execute", execute)
    with capture_logs() as lines:
        await frames.start()
        await eventually(lambda: frames.views["hall-2"].age_ms is not None and frames.redis_ok)

    told = [line for line in lines if line["log_level"] in {"error", "warning"}]
    assert [(line["event"], line["venue"]) for line in told] == [
        ("commit cannot be read, frames are served as they were", "hall-1")
    ]
    assert f"format {FORMAT + 1}" in told[0]["reason"]
    assert frames.views["hall-1"].age_ms is None
