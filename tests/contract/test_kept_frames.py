"""Frames that are kept, as API processes find them: by name, by time, and the newest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from racing.errors import StoreUnavailableError
from racing.settings import Settings
from racing.store.client import connect_async
from racing.store.commit import frames_kept
from racing.store.kept import KeptFrames
from racing.store.protocol import AsyncClient, SyncClient
from racing.store.reel import Reel
from tests.contract.servers import Store
from tests.contract.test_reel import forgotten, race_for
from tests.contract.track import START_MS, Track

pytestmark = pytest.mark.parametrize("store", ["embedded", "cluster"], indirect=True)


@pytest.fixture
def track(client: SyncClient, tmp_path: Path) -> Track:
    made = Track(client, segments_dir=tmp_path)
    made.begin()
    return made


@pytest.fixture
async def reader(store: Store) -> AsyncIterator[AsyncClient]:
    made = store.async_client()
    yield made
    await made.aclose()


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("store")
async def test_store_that_is_away_is_told_from_a_frame_that_is_gone() -> None:
    kept = KeptFrames(connect_async("redis://127.0.0.1:1"))
    for asked in (kept.newest("hall-1"), kept.after("hall-1", "0-0"), kept.named("hall-1", (1, 1))):
        with pytest.raises(StoreUnavailableError):
            await asked
    with pytest.raises(StoreUnavailableError):
        await kept.before("hall-1", START_MS)


async def test_venue_without_frames_has_none(reader: AsyncClient, track: Track, tmp_path: Path) -> None:
    kept = KeptFrames(reader, tmp_path)
    assert await kept.newest(track.venue) is None
    assert await kept.after(track.venue, "0-0") == []
    assert await kept.named(track.venue, (1, 1)) is None
    assert await kept.before(track.venue, track.now_ms) is None


async def test_frame_that_is_not_kept_is_not_taken_for_its_neighbour(
    reader: AsyncClient, track: Track, tmp_path: Path
) -> None:
    owner = track.owner()
    frames = race_for(track, owner, 5)
    epoch, number = frames[-1].place
    kept = KeptFrames(reader, tmp_path)
    beside = (epoch, number + 1), (epoch - 1, number), (epoch + 1, number), (epoch, 0)
    for place in (*beside, (2**64 - 1, number), (2**64, number), (epoch, 10**20 - 1)):
        assert await kept.named(track.venue, place) is None
    Reel(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)
    forgotten(track)
    assert await KeptFrames(reader).named(track.venue, frames[0].place) is None
    between = next(one for one, other in pairwise(frames) if one.at_ms // 1000 == other.at_ms // 1000)
    assert await kept.named(track.venue, between.place) is None, "of a second only its last frame is in files"


async def test_frame_that_is_missing_in_the_middle_is_passed_over(reader: AsyncClient, track: Track) -> None:
    frames = race_for(track, track.owner(), 5)
    damaged = frames[len(frames) // 2]
    track.raw.xdel(track.keys.frames, damaged.name)
    kept = KeptFrames(reader)
    assert await kept.named(track.venue, damaged.place) is None
    assert await kept.before(track.venue, damaged.at_ms + 1) == frames[len(frames) // 2 - 1]


# -- what is found -------------------------------------------------------------------------------------------


async def test_every_frame_in_redis_is_found_by_name_and_by_time(reader: AsyncClient, track: Track) -> None:
    """Whoever published it: the second owner goes on counting under a later epoch."""
    first = race_for(track, track.owner(), 5)
    track.now_ms += 20_000
    second = race_for(track, track.owner(), 5)
    frames, kept = [*first, *second], KeptFrames(reader)
    assert first[0].epoch < second[0].epoch
    for index, frame in enumerate(frames):
        assert await kept.named(track.venue, frame.place) == frame
        assert await kept.before(track.venue, frame.at_ms + 1) == frame
        assert await kept.before(track.venue, frame.at_ms) == (frames[index - 1] if index else None)
    assert await kept.before(track.venue, track.now_ms + 10**6) == frames[-1]


async def test_frames_before_several_moments_are_those_before_each(reader: AsyncClient, track: Track) -> None:
    """At any pace: a burst, a still stretch, another owner."""
    owner = track.owner()
    frames = race_for(track, owner, 3)
    track.now_ms += 40_000
    for _ in range(30):
        track.click(track.now_ms // 120 % 3, after_ms=120)
        track.step(owner)
    track.now_ms += 5_000
    race_for(track, track.owner(), 3)
    frames, kept = track.frames(), KeptFrames(reader)
    moments = range(track.now_ms + 1_000, START_MS - 1_000, -700)
    wanted = [max((f for f in frames if f.at_ms < at_ms), key=lambda f: f.place, default=None) for at_ms in moments]
    assert await kept.before_each(track.venue, moments) == wanted


async def test_what_has_left_redis_is_found_in_files_the_same(
    reader: AsyncClient, track: Track, tmp_path: Path
) -> None:
    """At whole seconds; between them the last frame of the second before stands for all."""
    owner = track.owner()
    race_for(track, owner, 15)
    kept, seconds = KeptFrames(reader, tmp_path), range(START_MS + 2_000, START_MS + 14_000, 1_000)
    before = [await kept.before(track.venue, at_ms) for at_ms in seconds]
    Reel(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)
    forgotten(track)
    assert [await kept.before(track.venue, at_ms) for at_ms in seconds] == before
    for frame in filter(None, before):
        assert await kept.named(track.venue, frame.place) == frame
    assert await KeptFrames(reader).before(track.venue, START_MS + 5_000) is None


async def test_frames_of_a_stretch_are_those_before_each_moment(
    reader: AsyncClient, track: Track, tmp_path: Path
) -> None:
    """Wherever they are kept: in Redis, in both, and in files with those that are newer in Redis."""
    owner, kept, step_ms = track.owner(), KeptFrames(reader, tmp_path), 2_000
    reel = Reel(track.client, track.keys, tmp_path)
    for seconds, files, forget in ((9, False, False), (9, True, False), (0, False, True), (9, False, False)):
        race_for(track, owner, seconds)
        if files:
            reel.keep(owner.epoch, track.now_ms)
        if forget:
            forgotten(track)
        first_ms = START_MS // step_ms * step_ms - step_ms
        moments = range(first_ms, track.now_ms + 1, step_ms)
        each = [(await kept.before_each(track.venue, (moment,)))[0] for moment in moments]
        found = await kept.each(track.venue, first_ms, len(moments), step_ms, lambda frame: frame)
        assert [frame and frame.place for frame in found] == [frame and frame.place for frame in each]
        assert found[0] is None
        assert found[-1] is not None


async def test_newest_frame_and_those_after_one(reader: AsyncClient, track: Track) -> None:
    race_for(track, track.owner(), 5)
    frames, kept = track.frames(), KeptFrames(reader)
    newest = await kept.newest(track.venue)
    assert newest is not None
    assert newest[0] == frames[-1].name
    assert [name for name, _ in await kept.after(track.venue, frames[2].name)] == [f.name for f in frames[3:]]
    assert await kept.after(track.venue, frames[-1].name) == []


@pytest.mark.usefixtures("store")
def test_frames_of_a_minute_are_kept_at_any_pace() -> None:
    """A cursor names one for so long."""
    for frame_ms in (0, 1, 10, 19, 20, 100, 60_000):
        assert frames_kept(frame_ms) * max(frame_ms, 1) >= 60_000, frame_ms
    assert frames_kept(Settings().frame_ms) == 3_000
