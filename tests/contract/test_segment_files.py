"""Segment files: the log outlives Redis, each entry once, and a damaged file is named and refused."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from racing.errors import StoreError
from racing.model import START, Position
from racing.race import Race
from racing.scorer import VenueScorer
from racing.store.archive import ArchiveThread, archive, settled_after_ms
from racing.store.log import first_position
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.reads import full_positions
from racing.store.segment_files import (
    DamagedSegmentError,
    archived_until,
    read_segment,
    segments_of,
    venue_folder,
)
from racing.verify import verify
from tests.contract.servers import RealStore
from tests.contract.test_checkpoints import ENTRIES, fulls, race_on
from tests.contract.track import Track
from tests.laws.logs import EVERY_SIGNAL, rule_of, state
from tests.waiting import until

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: what is asked of it here, the other suites ask of all."""


@pytest.fixture
def track(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    return Track(client, log_keep_s=60)


def begin(track: Track) -> VenueScorer:
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    owner.archived = START
    return owner


def file_away(track: Track, owner: VenueScorer, folder: Path) -> list[Path]:
    """What the archive's thread does."""
    written = archive(track.client, track.keys, folder, owner.epoch)
    owner.archived = archived_until(folder, track.venue)
    return written


def race_and_file(track: Track, owner: VenueScorer, folder: Path, *, times: int = 5) -> None:
    for _ in range(times):
        race_on(track, owner, minutes=13)
        file_away(track, owner, folder)


@pytest.fixture
def raced(track: Track, tmp_path: Path) -> VenueScorer:
    """More than an hour, filed away as it went, whose log in Redis has been trimmed."""
    owner = begin(track)
    race_and_file(track, owner, tmp_path)
    first = first_position(track.client, track.keys)
    assert first is not None
    assert first.ms > track.now_ms - 60 * 60_000
    return owner


def refolded(track: Track, folder: Path, last: Position) -> Race:
    past = Past(track.client, track.keys, folder)
    race, _ = past.begin()
    for entries in past.between(race.position, last):
        race.apply(entries)
    return race


def test_whole_past_refolds_to_the_very_state_that_the_owner_has(
    track: Track, raced: VenueScorer, tmp_path: Path
) -> None:
    race = refolded(track, tmp_path, raced.race.position)
    assert state(race) == state(raced.race)
    assert segments_of(tmp_path, track.venue)[0].after == START


def test_every_segment_begins_with_the_state_at_its_start(track: Track, raced: VenueScorer, tmp_path: Path) -> None:
    names = segments_of(tmp_path, track.venue)
    assert len(names) >= 3
    for name in (names[1], names[-1]):
        record = read_segment(name).checkpoint
        assert record is not None
        race = Race.restore([record])
        assert race.position == name.after
        for entries in Past(track.client, track.keys, tmp_path).between(race.position, raced.race.position):
            race.apply(entries)
        assert state(race) == state(raced.race)


def test_verify_of_the_whole_past_is_clean(track: Track, raced: VenueScorer, tmp_path: Path) -> None:
    track.settle(raced)
    report = verify(track.client, track.venue, segments=tmp_path, whole=True)
    assert report.differences == []
    assert report.notes[0] == "refolded from 0-0"
    assert report.entries > 5 * 26 * ENTRIES


def test_log_is_not_trimmed_while_nothing_is_filed_away(track: Track, tmp_path: Path) -> None:
    """As on a full disk: the race goes on, and all is filed away later."""
    owner = begin(track)
    first = first_position(track.client, track.keys)
    race_on(track, owner, minutes=65)
    assert first_position(track.client, track.keys) == first
    waiting = len(fulls(track))
    assert waiting > 2, "full records wait, for segments begin with them"
    assert len(file_away(track, owner, tmp_path)) == waiting
    race_on(track, owner, minutes=20)
    assert first_position(track.client, track.keys) != first
    file_away(track, owner, tmp_path)
    race_on(track, owner, minutes=5)
    assert len(fulls(track)) <= 3
    assert state(refolded(track, tmp_path, owner.race.position)) == state(owner.race)


def test_what_a_failover_may_take_back_goes_to_no_file(track: Track, tmp_path: Path) -> None:
    owner = begin(track)
    race_on(track, owner, minutes=30)
    newest = max(full_positions(track.client, track.keys))

    def filed(as_of_ms: int) -> Position:
        record = msgspec.structs.replace(track.commit(), as_of_ms=as_of_ms)
        track.raw.set(track.keys.commit, msgspec.json.encode(record))
        archive(track.client, track.keys, tmp_path, owner.epoch)
        return archived_until(tmp_path, track.venue)

    settled_ms = settled_after_ms(track.client)
    assert START < filed(newest.ms + settled_ms - 1) < newest
    assert filed(newest.ms + settled_ms) == newest


def test_full_disk_leaves_no_file_and_the_next_try_files_all_away(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = begin(track)
    race_on(track, owner, minutes=30)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("racing.store.blocks.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            file_away(track, owner, tmp_path)
    assert list(venue_folder(tmp_path, track.venue).iterdir()) == []
    assert file_away(track, owner, tmp_path)


def test_owners_in_turn_leave_overlaps_and_no_gap(track: Track, tmp_path: Path) -> None:
    """A second owner, whose folder lacked the newest files when it looked, writes them again under its epoch."""
    owner = begin(track)
    race_and_file(track, owner, tmp_path, times=3)
    newest = segments_of(tmp_path, track.venue)[-1]
    hidden = newest.path.rename(tmp_path / "hidden")
    again = track.owner()
    assert [path.name.split("_")[:2] for path in file_away(track, again, tmp_path)] == [newest.path.name.split("_")[:2]]
    hidden.rename(newest.path)
    assert len(segments_of(tmp_path, track.venue)) == len({name.path for name in segments_of(tmp_path, track.venue)})
    race_and_file(track, again, tmp_path, times=2)
    assert state(refolded(track, tmp_path, again.race.position)) == state(again.race)


def test_missing_segment_is_a_gap_that_is_refused(track: Track, raced: VenueScorer, tmp_path: Path) -> None:
    segments_of(tmp_path, track.venue)[1].path.unlink()
    with pytest.raises(StoreError, match="neither in a segment file nor in Redis"):
        refolded(track, tmp_path, raced.race.position)


def test_damaged_segment_is_named_and_nothing_of_it_is_used(track: Track, raced: VenueScorer, tmp_path: Path) -> None:
    name = segments_of(tmp_path, track.venue)[1]
    whole = name.path.read_bytes()
    rng = random.Random(1)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        name.path.write_bytes(damaged)
        with pytest.raises(StoreError, match=name.path.name):
            read_segment(name)
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        name.path.write_bytes(whole[:length])
        with pytest.raises(DamagedSegmentError, match=name.path.name):
            refolded(track, tmp_path, raced.race.position)


def test_thread_files_away_once_it_owns_and_is_told_of_trouble(track: Track, store: RealStore, tmp_path: Path) -> None:
    owner = begin(track)
    race_on(track, owner, minutes=30)
    (tmp_path / "segments").write_text("not a folder")
    thread = ArchiveThread(store.url, track.venue, tmp_path / "segments")
    thread.start()
    try:
        thread.owned(owner.epoch)
        until(lambda: thread.failures, within_s=10, what="the thread has seen that it cannot write")
        assert thread.until == START
        (tmp_path / "segments").unlink()
        thread.owned(owner.epoch)
        until(lambda: thread.until > START, within_s=10, what="segments are written")
    finally:
        thread.stop()
        thread.join(10)
    assert len(segments_of(tmp_path / "segments", track.venue)) == len(fulls(track))
