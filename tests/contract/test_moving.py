"""A venue moved whole: out of one server into a file, out of the file into another server, and raced on there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from racing.errors import ConflictError, NotFoundError, StoreError
from racing.model import START
from racing.scorer import VenueScorer
from racing.store import reads
from racing.store.archive import archive
from racing.store.blocks import write_blocks
from racing.store.exports import export_venue
from racing.store.imports import import_venue
from racing.store.log import first_position
from racing.store.minutes import MinuteBook
from racing.store.protocol import SyncClient
from racing.store.reel import Reel
from racing.store.segment_files import archived_until, segments_of, venue_folder
from racing.store.venue_file import FORMAT, HEADER, MAGIC
from racing.verify import verify
from tests.contract.servers import RealStore, Servers
from tests.contract.test_checkpoints import ENTRIES, race_on
from tests.contract.track import Track, sets_of
from tests.laws.logs import EVERY_SIGNAL, rule_of, state

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server to export from, another one to import into."""

RULE = rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4})


@pytest.fixture
def track(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    made = Track(client, log_keep_s=60)
    monkeypatch.setattr("racing.store.imports.server_ms", lambda _: made.now_ms)
    return made


@pytest.fixture
def target(servers: Servers) -> RealStore:
    """Another server, of another version where there is one."""
    found = servers.store("redis")
    assert isinstance(found, RealStore)
    return found


@pytest.fixture
def raced(track: Track, tmp_path: Path) -> VenueScorer:
    """A quarter of an hour, part of it filed away and trimmed, with its tables and an answer under a key."""
    track.begin(RULE, runners=5)
    for runner in range(5):
        track.raw.hset(track.keys.products, f"p-{runner}", runner)
        track.raw.hset(track.keys.runners, runner, b'{"product":"p"}')
    track.raw.hset(track.keys.rules, mapping={"1": b"{}", "current": 1})
    track.raw.set(track.keys.roll, b"0123456789abcdef" * 5)
    track.raw.hset(track.keys.orders, mapping={"hero": b"{}", "@last": "1-0"})
    track.raw.hset(track.keys.plans, "night", b"{}")
    track.raw.xadd(track.keys.decisions, {"decision": b"{}"}, id="1-0")
    track.raw.hset(track.keys.answers, "key", b"d 1-0 {}")
    track.raw.zadd(track.keys.watched, {"m-1:0000000003": track.now_ms + 1, "m-2:0000000004": 1_800_000_000_123})
    owner = track.owner()
    owner.archived = START
    for _ in range(3):
        race_on(track, owner, minutes=5)
        archive(track.client, track.keys, home(tmp_path), owner.epoch)
        owner.archived = archived_until(home(tmp_path), track.venue)
    assert Reel(track.client, track.keys, home(tmp_path)).keep(owner.epoch, track.now_ms)
    assert MinuteBook(track.client, track.keys, home(tmp_path)).keep(owner.epoch, track.now_ms)
    return owner


def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def away(tmp_path: Path) -> Path:
    return tmp_path / "away"


def exported(track: Track, tmp_path: Path) -> Path:
    path = tmp_path / "hall-1.venue"
    export_venue(track.client, track.client, track.venue, path, folder=home(tmp_path))
    return path


def moved(track: Track, target: RealStore, tmp_path: Path, venue: str = "hall-1") -> Track:
    """The same venue on the other server, raced by hand from the same moment on."""
    import_venue(
        target.client(), lambda _: target.client(), exported(track, tmp_path), folder=away(tmp_path), venue=venue
    )
    there = Track(target.client(), venue, log_keep_s=60)
    there.now_ms, there.versions = track.now_ms, track.versions
    return there


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tables(track: Track) -> list[Any]:
    keys = track.keys
    hashes = (
        keys.rules,
        keys.products,
        keys.runners,
        keys.orders,
        keys.plans,
        keys.checkpoints,
        keys.answers,
    )
    streams = (keys.log, keys.decisions)
    return [
        *(track.raw.hgetall(key) for key in hashes),
        *(track.raw.xrange(key) for key in streams),
        track.raw.get(keys.roll),
        track.raw.zrange(keys.watched, 0, -1, withscores=True),
    ]


# -- refusals ------------------------------------------------------------------------------------------------


def test_venue_that_does_not_exist_is_not_exported(track: Track, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="hall-9"):
        export_venue(track.client, track.client, "hall-9", tmp_path / "file", folder=None)
    assert not list(tmp_path.iterdir())


def test_existing_venue_is_not_overwritten(track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path) -> None:
    path = exported(track, tmp_path)
    before = tables(track)
    with pytest.raises(ConflictError, match="'hall-1' exists already"):
        import_venue(track.client, lambda _: track.client, path, folder=away(tmp_path))
    with pytest.raises(ConflictError, match="holds the past of another venue of this id"):
        import_venue(target.client(), lambda _: target.client(), path, folder=home(tmp_path))
    assert tables(track) == before
    assert target.raw.dbsize() == 0
    assert segments_of(home(tmp_path), "hall-1")
    assert not away(tmp_path).exists()


def test_keys_that_another_venue_left_behind_are_not_mixed_with_it(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    target.raw.xadd(track.keys.log, {b"tick": b"1"})
    with pytest.raises(ConflictError, match="are left: delete it first"):
        import_venue(target.client(), lambda _: target.client(), exported(track, tmp_path), folder=away(tmp_path))
    assert target.raw.xlen(track.keys.log) == 1


def test_venue_in_the_hands_of_another_process_is_left_alone(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    target.raw.set(track.keys.lease, "scorer-7")
    with pytest.raises(ConflictError, match="in the hands of scorer-7"):
        import_venue(target.client(), lambda _: target.client(), exported(track, tmp_path), folder=away(tmp_path))
    assert target.raw.dbsize() == 1


def test_damaged_file_is_refused_and_nothing_is_written(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    path = exported(track, tmp_path)
    whole = path.read_bytes()
    rng = random.Random(1)
    wrong = [whole[:length] for length in (0, 7, 20, len(whole) // 2, len(whole) - 1)]
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        wrong.append(bytes(flipped))
    for data in (*wrong, whole + b"x"):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"hall-1\.venue"):
            import_venue(target.client(), lambda _: target.client(), path, folder=away(tmp_path))
    assert target.raw.dbsize() == 0
    assert not away(tmp_path).exists()


def test_file_of_a_newer_format_is_refused_by_its_number(track: Track, target: RealStore, tmp_path: Path) -> None:
    write_blocks(tmp_path / "new", MAGIC, [(HEADER, msgspec.json.encode({"format": FORMAT + 1}))])
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1}, this Saima reads up to {FORMAT}"):
        import_venue(target.client(), lambda _: target.client(), tmp_path / "new", folder=None)
    assert target.raw.dbsize() == 0


def test_segments_are_not_left_out_for_want_of_a_folder(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="set SAIMA_SEGMENTS_DIR"):
        import_venue(target.client(), lambda _: target.client(), exported(track, tmp_path), folder=None)
    assert target.raw.dbsize() == 0


def test_log_from_the_future_is_refused(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("racing.store.imports.server_ms", lambda _: track.now_ms - 90_000)
    with pytest.raises(StoreError, match="ahead of the server's clock"):
        import_venue(target.client(), lambda _: target.client(), exported(track, tmp_path), folder=away(tmp_path))
    assert target.raw.dbsize() == 0


def test_import_that_fails_half_way_leaves_nothing(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = exported(track, tmp_path)
    monkeypatch.setattr("racing.store.blocks.os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        import_venue(target.client(), lambda _: target.client(), path, folder=away(tmp_path))
    assert target.raw.dbsize() == 0
    assert not venue_folder(away(tmp_path), track.venue).exists()


def test_file_that_cannot_be_written_is_an_error_and_leaves_none(track: Track, raced: VenueScorer) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        export_venue(track.client, track.client, track.venue, Path("/proc/none/file"), folder=None)


# -- the move ------------------------------------------------------------------------------------------------


def test_paused_venue_stands_on_the_other_server_as_it_stood(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    first = first_position(track.client, track.keys)
    assert first is not None
    assert first.ms > track.now_ms - 14 * 60_000, "something has been trimmed"
    there = moved(track, target, tmp_path)
    assert tables(there) == tables(track)
    assert there.frames() == track.frames()
    assert not reads.reaches_back(there.client, there.keys), "that the log was trimmed is known there too"
    assert there.commit().counts == track.commit().counts
    assert files(away(tmp_path)) == files(home(tmp_path))
    ours, theirs = track.owner(), there.owner()
    assert state(theirs.race) == state(ours.race)
    assert reads.venues(there.client) == [there.venue]


def test_moved_venue_races_on_as_the_one_that_stayed(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    there = moved(track, target, tmp_path, venue="hall-2")
    ends = []
    for each, folder in ((track, home(tmp_path)), (there, away(tmp_path))):
        owner = each.owner()
        owner.archived = archived_until(folder, each.venue)  # what is in no file is not trimmed
        race_on(each, owner, minutes=5)
        each.settle(owner)
        ends.append((state(owner.race), each.frames()[-1].slots, each.sets(), each.frames()[-1].frame))
        assert each.sets() == sets_of(owner.race)
    assert ends[0] == ends[1]
    assert {frame.venue for frame in there.frames()} == {"hall-2"}
    whole = verify(there.client, there.venue, segments=away(tmp_path), whole=True)
    assert whole.differences == []
    assert whole.notes[0] == "refolded from 0-0"
    assert whole.entries > 15 * 2 * ENTRIES
    assert verify(there.client, there.venue).differences == []


def test_segments_go_on_where_the_moved_ones_end(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path
) -> None:
    there = moved(track, target, tmp_path)
    assert [n.path.name for n in segments_of(away(tmp_path), "hall-1")] == [
        n.path.name for n in segments_of(home(tmp_path), "hall-1")
    ]
    owner = there.owner()
    owner.archived = archived_until(away(tmp_path), there.venue)
    race_on(there, owner, minutes=12)
    assert archive(there.client, there.keys, away(tmp_path), owner.epoch)
    there.settle(owner)
    assert verify(there.client, there.venue, segments=away(tmp_path), whole=True).differences == []


def test_venue_that_races_on_while_it_is_exported_is_whole_in_the_file(
    track: Track, raced: VenueScorer, target: RealStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New runners and entries arrive after the tables were read, and again after the snapshot."""
    scans: list[str] = []
    scan = track.raw.hscan_iter

    def meanwhile(name: str, *, count: int) -> Iterator[Any]:
        found = list(scan(name, count=count))
        if not scans:
            track.raw.hset(track.keys.products, "late", 5)
        scans.append(name)
        return iter(found)

    monkeypatch.setattr(track.client, "hscan_iter", meanwhile)
    there = moved(track, target, tmp_path)
    tables = [name for name in scans if name not in {track.keys.answers, track.keys.answers_before}]
    assert len(tables) == 2 * len(set(tables)), "read twice: the tables had changed the first time"
    assert there.raw.hget(there.keys.products, "late") == b"5"
    assert state(there.owner().race) == state(track.owner().race)


def test_venue_that_never_raced_is_moved_too(track: Track, target: RealStore, tmp_path: Path) -> None:
    track.begin(RULE, runners=5)
    there = moved(track, target, tmp_path)
    there.click(1)
    there.settle(there.owner())
    assert there.standings()[0] == 1
