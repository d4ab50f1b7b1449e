"""Standings by the minute: written once a minute, read back by runner, and none where a file is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from racing.errors import StoreError
from racing.store.minutes import (
    BY_TENS,
    MINUTE_MS,
    Minute,
    MinuteBook,
    minute_files,
    points_between,
    write_minute,
)
from racing.store.protocol import SyncClient
from tests.contract.test_reel import race_for
from tests.contract.track import START_MS, Track

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: what is asked of it here, the other suites ask of all."""


@pytest.fixture
def track(client: SyncClient, tmp_path: Path) -> Track:
    made = Track(client, segments_dir=tmp_path)
    made.begin()
    return made


def test_damaged_file_is_named_and_not_written_over(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    race_for(track, owner, 3)
    assert MinuteBook(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)
    (name,) = minute_files(tmp_path, track.venue)
    whole = name.path.read_bytes()
    name.path.write_bytes(whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:])
    with pytest.raises(StoreError, match=name.path.name):
        points_between(tmp_path, track.venue, 0, 0, 2**62)
    with pytest.raises(StoreError, match=name.path.name):
        MinuteBook(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)


def test_each_minute_is_kept_once_also_by_the_next_owner(track: Track, tmp_path: Path) -> None:
    owner, kept = track.owner(), 0
    for _ in range(8):
        race_for(track, owner, 20)
        kept += MinuteBook(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)
    points = points_between(tmp_path, track.venue, 0, START_MS, START_MS + 5 * MINUTE_MS)
    assert kept == len(points) == 3
    assert list(points) == sorted(points)
    assert all(moment % MINUTE_MS == 0 for moment in points)
    score = -track.client.zrange(track.keys.standings, 0, 0, withscores=True)[0][1]
    best = points_between(tmp_path, track.venue, owner.race.order()[0], START_MS, START_MS + 5 * MINUTE_MS)
    slot, standing, told = list(best.values())[-1] or (None, 0, 0.0)
    assert (slot, standing) == (1, 1)
    assert told == pytest.approx(score, rel=1e-6)
    assert set(points_between(tmp_path, track.venue, 999, START_MS, START_MS + 5 * MINUTE_MS).values()) == {None}


def test_ten_seconds_are_kept_for_an_hour_in_short_files(client: SyncClient, tmp_path: Path) -> None:
    track = Track(client, segments_dir=tmp_path)
    track.begin(runners=5)
    owner = track.owner()
    book = MinuteBook(track.client, track.keys, tmp_path, BY_TENS)
    old_ms, nobody = START_MS - 2 * 3_600_000, np.zeros(0, np.int64)
    write_minute(tmp_path, track.venue, Minute(old_ms, 1, nobody, nobody, np.zeros(0)), 1, BY_TENS)
    kept = 0
    for _ in range(26):
        track.click(4, after_ms=5_000)
        track.step(owner)
        kept += book.keep(owner.epoch, track.now_ms)
    points = points_between(tmp_path, track.venue, 4, START_MS, 2**62, BY_TENS)
    assert kept == len(points) >= 12
    assert {moment % 10_000 for moment in points} == {0}
    assert {point[1] for point in points.values() if point is not None} == {1}
    names = minute_files(tmp_path, track.venue, BY_TENS)
    assert len(names) >= 2
    assert names[0].period_ms > old_ms, "what is older than an hour is gone"
    assert minute_files(tmp_path, track.venue) == []


def test_watched_runner_is_kept_behind_the_first_until_its_time_is_over(
    client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every owner, and from the next step on also where nothing is folded meanwhile."""
    monkeypatch.setattr("racing.store.minutes.KEPT_MAX", 2)
    track = Track(client, segments_dir=tmp_path)
    track.begin(runners=6)
    owner = track.owner()
    track.click(*range(4), after_ms=1_000)
    track.settle(owner)

    def kept(runner: int, *, after_ms: int, book: MinuteBook) -> list[object]:
        track.step(owner, after_ms=after_ms)
        book.keep(owner.epoch, track.now_ms)
        return list(points_between(tmp_path, track.venue, runner, START_MS, 2**62, BY_TENS).values())

    book = MinuteBook(track.client, track.keys, tmp_path, BY_TENS)
    assert kept(5, after_ms=10_000, book=book) == [None]
    track.raw.zadd(track.keys.watched, {"m-1:0000000005": track.now_ms + 25_000, "m-2:0000000099": 2**50})
    assert kept(5, after_ms=10_000, book=book) == [None, (None, 6, 0.0)]
    track.click(5, after_ms=1_000)
    track.settle(owner)
    owner = track.owner()
    track.settle(owner)
    assert kept(5, after_ms=8_000, book=MinuteBook(track.client, track.keys, tmp_path, BY_TENS))[2] == (1, 1, 1.0)
    track.click(*range(4), after_ms=40_000)
    track.settle(owner)
    assert kept(5, after_ms=0, book=book)[3:] == [None]
    assert kept(99, after_ms=0, book=book) == [None] * 4


def test_where_all_are_on_the_board_ten_seconds_are_not_kept(track: Track, tmp_path: Path) -> None:
    """Frames tell them already."""
    owner = track.owner()
    race_for(track, owner, 3)
    assert not MinuteBook(track.client, track.keys, tmp_path, BY_TENS).keep(owner.epoch, track.now_ms)
    assert MinuteBook(track.client, track.keys, tmp_path).keep(owner.epoch, track.now_ms)
