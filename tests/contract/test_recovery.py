"""A new owner whose checkpoints are gone or damaged: it goes back to segment files, or says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from racing.errors import StoreError, UnrestorableError
from racing.model import START
from racing.owner import VenueThread
from racing.scorer import VenueScorer
from racing.store.archive import archive
from racing.store.protocol import SyncClient
from racing.store.segment_files import archived_until, segments_of
from racing.verify import verify
from tests.contract.servers import RealStore
from tests.contract.test_checkpoints import fulls, kept, race_on
from tests.contract.test_owner import damaged
from tests.contract.track import Track, sets_of
from tests.laws.logs import EVERY_SIGNAL, rule_of, state
from tests.waiting import until

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: what is asked of it here, the other suites ask of all."""


@pytest.fixture
def track(client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    return Track(client, log_keep_s=60, segments_dir=tmp_path)


@pytest.fixture
def raced(track: Track, tmp_path: Path) -> VenueScorer:
    """A quarter of an hour, part of it filed away and trimmed."""
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    owner.archived = START
    for _ in range(3):
        race_on(track, owner, minutes=5)
        file_away(track, owner, tmp_path)
    track.settle(owner)
    return owner


def file_away(track: Track, owner: VenueScorer, folder: Path) -> None:
    archive(track.client, track.keys, folder, owner.epoch)
    owner.archived = archived_until(folder, track.venue)


def without_checkpoints(track: Track) -> None:
    track.raw.delete(track.keys.checkpoints)


def with_damaged_checkpoints(track: Track) -> None:
    for name, record in kept(track).items():
        track.raw.hset(track.keys.checkpoints, name, damaged(record, "flip"))


def without_checkpoints_and_commit(track: Track) -> None:
    track.raw.delete(track.keys.checkpoints, track.keys.commit)


LOSSES = [without_checkpoints, with_damaged_checkpoints, without_checkpoints_and_commit]


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lose", LOSSES)
def test_without_segment_files_the_race_is_refused_and_not_begun_anew(
    track: Track, raced: VenueScorer, tmp_path: Path, lose: Callable[[Track], None]
) -> None:
    for name in segments_of(tmp_path, track.venue):
        name.path.unlink()
    lose(track)
    log = track.raw.xrange(track.keys.log)
    with pytest.raises(UnrestorableError, match=r"no sound checkpoint.* no sound segment files are in"):
        track.owner()
    assert track.raw.xrange(track.keys.log) == log


def test_gap_between_the_newest_sound_segment_and_the_log_is_refused(
    track: Track, raced: VenueScorer, tmp_path: Path
) -> None:
    without_checkpoints(track)
    newest = segments_of(tmp_path, track.venue)[-1]
    newest.path.write_bytes(newest.path.read_bytes()[:-1])
    before = state(raced.race)
    assert state(track.owner().race) == before, "Redis still holds what the damaged file does"
    track.raw.xtrim(track.keys.log, minid=str(newest.last), approximate=False)
    with pytest.raises(StoreError, match=newest.path.name):
        track.owner()
    newest.path.unlink()
    with pytest.raises(StoreError, match="neither in a segment file nor in Redis"):
        track.owner()


def test_refusal_is_one_line_of_the_log_and_no_traceback(
    track: Track, raced: VenueScorer, store: RealStore, tmp_path: Path
) -> None:
    without_checkpoints(track)
    for name in segments_of(tmp_path, track.venue):
        name.path.unlink()
    with structlog.testing.capture_logs() as lines:
        thread = VenueThread(store.url, track.venue, "scorer-1", track.settings)
        thread.start()
        try:
            until(lambda: any(line["log_level"] == "error" for line in lines), within_s=10, what="it is refused")
        finally:
            thread.stop()
            thread.join(10)
    told = next(line for line in lines if line["log_level"] == "error")
    assert told["event"] == "race cannot be restored, retrying"
    assert "no sound checkpoint" in told["reason"]
    assert "exc_info" not in told


# -- falling back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lose", LOSSES)
def test_race_is_restored_from_segments_bit_for_bit_and_goes_on(
    track: Track, raced: VenueScorer, tmp_path: Path, lose: Callable[[Track], None]
) -> None:
    before, sets = state(raced.race), track.sets()
    newest = segments_of(tmp_path, track.venue)[-1]
    track.raw.xtrim(track.keys.log, minid=str(newest.last), approximate=False)
    lose(track)
    owner = track.owner()
    track.step(owner)  # what no commit record vouches for is folded as it would be anew
    assert {**state(owner.race), "position": 0} == {**before, "position": 0}
    track.settle(owner)
    assert track.sets() == sets == sets_of(owner.race)
    race_on(track, owner, minutes=1)
    track.settle(owner)
    assert state(track.owner().race) == state(owner.race), "what it has written since suffices"
    assert verify(track.client, track.venue, segments=tmp_path, whole=True).differences == []


def test_segments_go_on_without_a_gap_after_a_checkpoint_was_damaged(
    track: Track, raced: VenueScorer, tmp_path: Path
) -> None:
    """The next segment begins with the state that the one before leads up to."""
    files = len(segments_of(tmp_path, track.venue))
    for name in fulls(track):
        track.raw.hset(track.keys.checkpoints, name, damaged(kept(track)[name], "flip"))
    owner = track.owner()
    owner.archived = archived_until(tmp_path, track.venue)
    for _ in range(2):
        race_on(track, owner, minutes=5)
        file_away(track, owner, tmp_path)
    assert len(segments_of(tmp_path, track.venue)) >= files + 2
    track.settle(owner)
    report = verify(track.client, track.venue, segments=tmp_path, whole=True)
    assert report.differences == []
    assert report.notes[0] == "refolded from 0-0"
