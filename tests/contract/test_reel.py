"""The past that is kept: a board of every second, and every decision, read back by time and number."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from racing.entries import Enrolment, RuleChange
from racing.errors import StoreError
from racing.model import START, Frame, Position
from racing.scorer import VenueScorer
from racing.store.archive import archive
from racing.store.blocks import write_blocks
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.reel import FORMAT, Reel, reels_of
from racing.store.segment_files import archived_until, segments_of
from tests.contract.test_checkpoints import race_on
from tests.contract.track import CLICKS, START_MS, Track
from tests.laws.logs import EVERY_SIGNAL, rule_of

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: what is asked of it here, the other suites ask of all."""


@pytest.fixture
def track(client: SyncClient, tmp_path: Path) -> Track:
    made = Track(client, segments_dir=tmp_path)
    made.begin()
    return made


def race_for(track: Track, owner: VenueScorer, seconds: int) -> list[Frame]:
    """A click every 0.3 s; the frames published since."""
    seen = len(track.frames())
    for _ in range(seconds * 10 // 3):
        track.click(track.now_ms // 300 % 3, after_ms=300)
        track.step(owner)
    return track.frames()[seen:]


def reel(track: Track, tmp_path: Path) -> Reel:
    return Reel(track.client, track.keys, tmp_path)


def forgotten(track: Track) -> None:
    """All frames leave Redis but the last, as in time they do."""
    track.raw.xtrim(track.keys.frames, maxlen=1, approximate=False)


def past(track: Track, tmp_path: Path | None) -> Past:
    return Past(track.client, track.keys, tmp_path)


# -- refusals ------------------------------------------------------------------------------------------------


def test_damaged_file_is_named(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    race_for(track, owner, 10)
    reel(track, tmp_path).keep(owner.epoch, track.now_ms)
    forgotten(track)
    (name,) = reels_of(tmp_path, track.venue)
    whole = name.path.read_bytes()
    name.path.write_bytes(whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:])
    with pytest.raises(StoreError, match=name.path.name):
        past(track, tmp_path).frame(at_ms=track.now_ms - 5_000)


def test_damaged_file_does_not_end_the_reel(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    race_for(track, owner, 5)
    reel(track, tmp_path).keep(owner.epoch, track.now_ms)
    (name,) = reels_of(tmp_path, track.venue)
    name.path.write_bytes(name.path.read_bytes()[:-1])
    owner = track.owner()
    race_for(track, owner, 5)
    assert reel(track, tmp_path).keep(owner.epoch, track.now_ms) >= 9, "what the file held is kept anew"


def test_file_of_a_newer_format_is_refused_by_its_number(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    race_for(track, owner, 3)
    reel(track, tmp_path).keep(owner.epoch, track.now_ms)
    (name,) = reels_of(tmp_path, track.venue)
    write_blocks(name.path, b"SAIMAREL", [(b"H", msgspec.json.encode({"format": FORMAT + 1}))])
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1}, this Saima reads up to {FORMAT}"):
        reel(track, tmp_path).keep(owner.epoch, track.now_ms)


# -- frames --------------------------------------------------------------------------------------------------


def test_last_frame_of_every_second_is_kept_and_found_by_time_and_number(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    frames = race_for(track, owner, 20)
    by_second = {frame.at_ms // 1000: frame for frame in frames if frame.at_ms // 1000 < track.now_ms // 1000}
    assert len(frames) > 2 * len(by_second) > 30
    assert reel(track, tmp_path).keep(owner.epoch, track.now_ms) == len(by_second)
    forgotten(track)
    kept = past(track, tmp_path)
    for second, frame in by_second.items():
        assert kept.frame(at_ms=1000 * second + 999) == frame
        assert kept.frame(number=frame.frame) == frame
    last = max(by_second)
    assert kept.frame(number=by_second[last].frame - 1) == by_second[last - 1], "the newest kept that is not after it"
    assert kept.frame(at_ms=START_MS - 1) is None
    assert kept.frame(number=0) is None


def test_frames_of_the_last_minutes_are_all_there(track: Track, tmp_path: Path) -> None:
    frames = race_for(track, track.owner(), 10)
    for folder in (tmp_path, None):
        for frame in frames:
            assert past(track, folder).frame(number=frame.frame) == frame
            assert past(track, folder).frame(at_ms=frame.at_ms) == frame
        assert past(track, folder).frame(at_ms=track.now_ms + 10**6) == frames[-1]


def test_file_grows_and_owners_in_turn_go_on_where_the_last_one_ended(track: Track, tmp_path: Path) -> None:
    kept = 0
    for _ in range(3):
        owner, mine = track.owner(), reel(track, tmp_path)
        for _ in range(2):
            race_for(track, owner, 6)
            kept += mine.keep(owner.epoch, track.now_ms)
    assert reel(track, tmp_path).keep(1, track.now_ms) == 0, "nothing is kept twice"
    assert len(reels_of(tmp_path, track.venue)) == 3, "a file for each owner"
    by_second = {frame.at_ms // 1000: frame for frame in track.frames()}
    del by_second[track.now_ms // 1000]
    assert kept == len(by_second)
    forgotten(track)
    for second, frame in by_second.items():
        assert past(track, tmp_path).frame(at_ms=1000 * second + 999) == frame


def test_files_are_of_ten_minutes(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    track.now_ms = START_MS + 599_000
    race_for(track, owner, 3)
    reel(track, tmp_path).keep(owner.epoch, track.now_ms)
    assert [name.period_ms for name in reels_of(tmp_path, track.venue)] == [START_MS, START_MS + 600_000]
    forgotten(track)
    found = past(track, tmp_path).frame(at_ms=START_MS + 599_999)
    assert found is not None
    assert found.at_ms // 1000 == (START_MS + 599_999) // 1000


def test_second_that_still_runs_is_left_for_the_next_time(track: Track, tmp_path: Path) -> None:
    owner = track.owner()
    track.click(1)
    track.step(owner)
    assert reel(track, tmp_path).keep(owner.epoch, track.now_ms) == 0
    assert reel(track, tmp_path).keep(owner.epoch, track.now_ms + 1000) == 1


def test_full_disk_leaves_the_file_as_it_was_and_the_next_try_keeps_all(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = track.owner()
    mine = reel(track, tmp_path)
    race_for(track, owner, 5)
    kept = mine.keep(owner.epoch, track.now_ms)
    (name,) = reels_of(tmp_path, track.venue)
    before = name.path.read_bytes()
    race_for(track, owner, 5)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("racing.store.blocks.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            mine.keep(owner.epoch, track.now_ms)
    assert name.path.read_bytes() == before
    assert kept + mine.keep(owner.epoch, track.now_ms) == len({f.at_ms // 1000 for f in track.frames()}) - 1


# -- decisions -----------------------------------------------------------------------------------------------


def test_every_decision_is_read_back_from_files_and_redis(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    track = Track(track.client, "hall-2", log_keep_s=60, segments_dir=tmp_path)
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    owner.archived = START
    made = [(START_MS, RuleChange), (START_MS, Enrolment)]
    for number in range(4):
        race_on(track, owner, minutes=4)
        track.write({"enrol": {number: {"entry_score": number}}})
        made.append((track.now_ms, Enrolment))
        archive(track.client, track.keys, tmp_path, owner.epoch)
        owner.archived = archived_until(tmp_path, track.venue)
    track.write({"rule": CLICKS})
    made.append((track.now_ms, RuleChange))
    assert len(segments_of(tmp_path, track.venue)) >= 2
    first = track.raw.xrange(track.keys.log, count=1)[0][0]
    assert Position.parse(first).ms > START_MS, "the log was trimmed"
    kept = past(track, tmp_path)
    found = list(kept.decisions())
    assert [(position.ms, type(decision)) for position, decision in found] == made
    assert list(kept.decisions(found[1][0], found[4][0])) == found[2:5]
    segments_of(tmp_path, track.venue)[0].path.unlink()
    with pytest.raises(StoreError, match="neither in a segment file nor in Redis"):
        list(past(track, tmp_path).decisions())
