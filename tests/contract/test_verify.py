"""verify: finds nothing on an honest venue, and names whatever was changed behind the race's back."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from racing.errors import NotFoundError, StoreError
from racing.scorer import VenueScorer
from racing.store.commit import decode_commit, decode_frame
from racing.store.keys import member
from racing.store.protocol import SyncClient
from racing.store.reads import full_positions, oldest_race
from racing.verify import Report, verify
from tests.contract.test_owner import EVERYTHING, lively
from tests.contract.track import CLICKS, Track
from tests.laws.logs import rule_of


@pytest.fixture
def track(client: SyncClient) -> Track:
    """A venue with three runners: 2 clicks, 1 and none."""
    made = Track(client)
    made.begin()
    owner = made.owner()
    made.settle(owner)
    made.click(0, 0, 1)
    made.write({"tick": True})
    made.settle(owner)
    return made


def differences(track: Track) -> list[str]:
    return verify(track.client, track.venue).differences


def change_frame(track: Track, **fields: object) -> None:
    """Put another frame in the place of the last one."""
    name, held = track.raw.xrevrange(track.keys.frames, count=1)[0]
    frame = msgspec.structs.replace(decode_frame(held[b"frame"]), **fields)
    track.raw.delete(track.keys.frames)
    track.raw.xadd(track.keys.frames, {b"frame": msgspec.json.encode(frame)}, id=name)


def change_slots(track: Track) -> None:
    slots = track.frames()[-1].slots
    swapped = (msgspec.structs.replace(slots[1], slot=1), msgspec.structs.replace(slots[0], slot=2), *slots[2:])
    change_frame(track, slots=swapped)


def change_counts(track: Track) -> None:
    record = track.commit()
    record = msgspec.structs.replace(record, counts={**record.counts, "counted": record.counts["counted"] + 1})
    track.raw.set(track.keys.commit, msgspec.json.encode(record))


def sums(track: Track, what: str) -> str:
    return track.keys.sums(what, "click:count")


TAMPERINGS: list[tuple[str, Callable[[Track], object], str]] = [
    (
        "a score",
        lambda track: track.raw.zadd(track.keys.standings, {member(1): -1.0000000000000002}),
        "standings: runner 1 is -1.0000000000000002, recomputed -1.0",
    ),
    (
        "a standing taken away",
        lambda track: track.raw.zrem(track.keys.standings, member(2)),
        "standings: runner 2 is None, recomputed 0.0",
    ),
    (
        "a standing of nobody",
        lambda track: track.raw.zadd(track.keys.standings, {member(3): 0}),
        "standings: runner 3 is 0.0, recomputed None",
    ),
    (
        "a window sum",
        lambda track: track.raw.zincrby(sums(track, "window"), 1, member(0)),
        "window:click:count: runner 0 is 3.0, recomputed 2.0",
    ),
    (
        "a window sum taken away",
        lambda track: track.raw.zrem(sums(track, "window"), member(1)),
        "window:click:count: runner 1 is None, recomputed 1.0",
    ),
    (
        "a window sum of one who has none",
        lambda track: track.raw.zadd(sums(track, "window"), {member(2): 1}),
        "window:click:count: runner 2 is 1.0, recomputed None",
    ),
    (
        "a delta",
        lambda track: track.raw.zincrby(sums(track, "delta"), 0.1, member(0)),
        "delta:click:count: runner 0 is 2.1, recomputed 2.0",
    ),
    (
        "a whole set of deltas",
        lambda track: track.raw.delete(sums(track, "delta")),
        "delta:click:count: runner 0 is None, recomputed 2.0",
    ),
    (
        "a total",
        lambda track: track.raw.zincrby(sums(track, "total"), -1, member(0)),
        "total:click:count: runner 0 is 1.0, recomputed 2.0",
    ),
    (
        "a sum of a measure that nobody has",
        lambda track: track.raw.zadd(track.keys.sums("window", "order:count"), {member(0): 5}),
        "window:order:count: runner 0 is 5.0, recomputed None",
    ),
    ("a frame's order", change_slots, "slot 1"),
    (
        "a frame's length",
        lambda track: change_frame(track, slots=track.frames()[-1].slots[:1]),
        "has 1 slots, refolded 3",
    ),
    ("a count", change_counts, "count of counted: 4 committed, 3 refolded"),
    (
        "an event of the log",
        lambda track: track.raw.xdel(track.keys.log, track.raw.xrevrange(track.keys.log, count=2)[1][0]),
        "count of counted: 3 committed, 0 refolded",
    ),
]


@pytest.mark.parametrize(("tamper", "named"), [pytest.param(*rest, id=what) for what, *rest in TAMPERINGS])
def test_what_was_changed_behind_the_races_back_is_named(
    track: Track, tamper: Callable[[Track], object], named: str
) -> None:
    assert differences(track) == []
    tamper(track)
    found = differences(track)
    assert any(named in line for line in found), found


def test_a_venue_that_was_steered_is_clean(client: SyncClient) -> None:
    """Phases of another window, pins, a freeze and stock, a full checkpoint amid them, and events all the while."""
    track = Track(client)
    track.begin()
    owner = track.owner()
    start_ms = track.now_ms
    burst = rule_of({"metric": "click", "signal": "total", "weight": 1}, window_s=6, bucket_s=3, board={"slots": 2})
    encore = {**CLICKS, "board": {"slots": 3, "stock": {"policy": "drop"}, "stability": {"margin": 2}}}
    phases = [
        {"kind": "phase", "id": name, "title": name, "rule": rule, "version": version, "start_ms": start_ms + at_ms}
        for name, rule, version, at_ms in (("burst", burst, 2, 5000), ("encore", encore, 3, 17_500))
    ]
    track.write({"orders": phases})
    rng = random.Random(7)
    for turn in range(160):
        track.click(*(rng.randrange(3) for _ in range(3)), after_ms=rng.choice([50, 200, 400]))
        if turn == 60:
            track.write({"orders": [{"kind": "pin", "id": "a", "product": "product-2", "slot": 1}]})
        if turn == 90:
            track.write({"orders": [{"kind": "freeze", "id": "f", "slots": 1}], "withdraw": ["a"]})
        if turn == 120:
            track.write({"events": [{"type": "stock", "runner": 0, "amount": 0}]})
        track.step(owner)
    track.settle(owner)

    assert {frame.phase for frame in track.frames()} == {"", "burst", "encore"}
    assert verify(client, track.venue).differences == []
    assert owner.full_checkpoints > 1


def test_many_differences_of_one_set_are_counted_not_listed(client: SyncClient) -> None:
    track = Track(client)
    track.begin(runners=100)
    track.click(*range(100))
    track.settle(track.owner())
    track.raw.delete(track.keys.standings)
    found = differences(track)
    assert len(found) == 6
    assert found[-1] == "standings: and 95 more runners"


def test_venue_that_does_not_exist_is_not_found(track: Track) -> None:
    with pytest.raises(NotFoundError):
        verify(track.client, "hall-9")


def test_venue_that_was_never_raced_is_refused_with_advice(client: SyncClient) -> None:
    track = Track(client)
    track.begin()
    with pytest.raises(StoreError, match="is a scorer running"):
        verify(client, track.venue)


def test_sets_that_never_become_complete_are_refused_with_advice(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racing.verify._SETTLE_S", 0.0)
    record = decode_commit(track.raw.get(track.keys.commit))
    record = msgspec.structs.replace(record, sets_position="5-0")
    track.raw.set(track.keys.commit, msgspec.json.encode(record))
    with pytest.raises(StoreError, match="they do not meet"):
        verify(track.client, track.venue)


def raced_on(track: Track, owner: VenueScorer, rng: random.Random) -> Report:
    for _ in range(20):
        lively(rng, track, 5)
        track.step(owner)
    track.settle(owner)
    return verify(track.client, track.venue)


@pytest.mark.parametrize("seed", range(3))
def test_honest_venue_is_clean_whatever_was_raced(client: SyncClient, seed: int) -> None:
    rng = random.Random(seed)
    track = Track(client)
    track.begin(EVERYTHING, runners=5)
    owner = track.owner()
    for index in range(4):
        report = raced_on(track, owner, rng)
        assert report.differences == []
        assert report.events == owner.race.counts.counted > 0
        assert report.entries > 20 * (index + 1) / 2
        assert report.members > 5
        owner = track.owner()


def test_venue_whose_buckets_were_just_cut_anew_is_clean_with_a_note(client: SyncClient) -> None:
    rng = random.Random(8)
    track = Track(client)
    track.begin(EVERYTHING, runners=5)
    owner = track.owner()
    raced_on(track, owner, rng)
    track.write({"rule": CLICKS}, after_ms=100)
    track.settle(owner)
    report = verify(client, track.venue)
    assert report.differences == []
    assert any("cut anew" in note for note in report.notes)


def test_venue_whose_log_was_trimmed_less_than_two_windows_ago_is_clean_with_a_note(track: Track) -> None:
    owner = track.owner()
    for window_s in (2, 6):
        track.write({"rule": {**CLICKS, "window_s": window_s}}, after_ms=100)  # each makes a full checkpoint
        track.settle(owner)
    oldest_ms = oldest_race(track.client, track.keys).position.ms
    oldest_full = min(full_positions(track.client, track.keys))
    track.raw.xtrim(track.keys.log, minid=str(oldest_full), approximate=False)
    assert oldest_race(track.client, track.keys).position.ms > oldest_ms
    track.click(2, after_ms=100)
    track.settle(owner)
    report = verify(track.client, track.venue)
    assert report.differences == []
    assert any("the refolded log begins less than two windows ago" in note for note in report.notes)


def test_frame_older_than_the_last_commit_is_compared_at_its_own_position(track: Track) -> None:
    owner = track.owner()
    track.write({"events": [{"type": "cart", "runner": 1}]}, after_ms=100)
    track.settle(owner)
    assert track.frames()[-1].position != track.commit().position
    assert differences(track) == []
