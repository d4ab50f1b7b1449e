"""A venue that is deleted leaves nothing: no key, no file, and no other venue is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from racing.errors import ConflictError, NotFoundError, StoreError
from racing.model import START
from racing.store.archive import archive
from racing.store.keys import VENUES
from racing.store.protocol import SyncClient
from racing.store.reel import Reel
from racing.store.removal import remove_venue
from racing.store.segment_files import venue_folder
from tests.contract.test_checkpoints import race_on
from tests.contract.track import Track
from tests.laws.logs import EVERY_SIGNAL, rule_of

pytestmark = pytest.mark.parametrize("store", ["embedded", "cluster"], indirect=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racing.store.removal._QUIET_S", 0.0)


def raced(client: SyncClient, venue: str, folder: Path) -> Track:
    """A venue with a key of every kind, and files."""
    track = Track(client, venue, segments_dir=folder)
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    track.raw.hset(track.keys.products, "p", 0)
    track.raw.hset(track.keys.answers, "k", "d 1-0 {}")
    owner = track.owner()
    owner.archived = START
    race_on(track, owner, minutes=2)
    track.settle(owner)
    archive(track.client, track.keys, folder, owner.epoch)
    Reel(track.client, track.keys, folder).keep(owner.epoch, track.now_ms)
    assert venue_folder(folder, venue).exists()
    return track


def keys_of(track: Track) -> set[bytes]:
    return set(track.raw.scan_iter(match=f"{track.keys.prefix}*"))


def test_unknown_venue_is_not_found(client: SyncClient, tmp_path: Path) -> None:
    raced(client, "hall-1", tmp_path)
    with pytest.raises(NotFoundError, match="hall"):
        remove_venue(client, client, "hall", folder=tmp_path)


def test_venue_that_a_scorer_will_not_let_go_of_is_left_unlisted(
    client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("racing.store.removal._HANDED_OVER_S", 0.1)
    track = raced(client, "hall-1", tmp_path)
    track.raw.set(track.keys.lease, "scorer-7")
    before = keys_of(track)
    with pytest.raises(ConflictError, match="in the hands of scorer-7"):
        remove_venue(client, client, "hall-1", folder=tmp_path)
    assert keys_of(track) == before
    track.raw.delete(track.keys.lease)
    assert remove_venue(client, client, "hall-1", folder=tmp_path) == len(before) - 1


def test_every_key_and_file_goes_and_other_venues_stay(client: SyncClient, tmp_path: Path) -> None:
    track, other = raced(client, "hall-1", tmp_path), raced(client, "hall-12", tmp_path)
    before = keys_of(other)
    assert remove_venue(client, client, "hall-1", folder=tmp_path) >= 10
    assert keys_of(track) == set()
    assert keys_of(other) == before
    assert [path.name for path in tmp_path.iterdir()] == ["venue-hall-12"]
    assert track.raw.hkeys(VENUES) == [b"hall-12"]


def test_what_is_left_of_a_venue_is_removed_though_it_is_not_listed(client: SyncClient, tmp_path: Path) -> None:
    track = raced(client, "hall-1", tmp_path)
    track.raw.delete(VENUES)
    remove_venue(client, client, "hall-1", folder=tmp_path)
    assert keys_of(track) == set()
    venue_folder(tmp_path, "hall-1").mkdir()
    remove_venue(client, client, "hall-1", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_entry_that_comes_while_it_is_deleted_goes_too(
    client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API process that has not yet looked which venues there are appends one more batch."""
    track = raced(client, "hall-1", tmp_path)
    late = [lambda: track.click(0)]
    monkeypatch.setattr("racing.store.removal.time.sleep", lambda _: late.pop()() if late else None)
    remove_venue(client, client, "hall-1", folder=tmp_path)
    assert not late
    assert keys_of(track) == set()


def test_venue_made_anew_meanwhile_is_told_of(
    client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = raced(client, "hall-1", tmp_path)
    monkeypatch.setattr("racing.store.removal.time.sleep", lambda _: track.raw.hset(VENUES, "hall-1", "{}"))
    with pytest.raises(ConflictError, match="made anew"):
        remove_venue(client, client, "hall-1", folder=tmp_path)


def test_keys_that_keep_coming_back_are_an_error_and_not_a_loop(
    client: SyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = raced(client, "hall-1", tmp_path)
    monkeypatch.setattr("racing.store.removal.time.sleep", lambda _: track.click(0))
    with pytest.raises(StoreError, match="keep coming back"):
        remove_venue(client, client, "hall-1", folder=tmp_path)
