"""The chain of checkpoint records: what is kept is always enough, and it does not grow without end."""

from __future__ import annotations

import random

import pytest

from racing.errors import StoreError
from racing.scorer import VenueScorer
from racing.store import reads
from racing.store.checkpoints import moment_of, position_of
from racing.store.log import first_position
from racing.store.protocol import SyncClient
from racing.verify import verify
from tests.contract.test_owner import damaged
from tests.contract.track import START_MS, Track, sets_of
from tests.laws.logs import EVERY_SIGNAL, rule_of, state

KEEP_S = 60
ENTRIES = 4
"""In each bucket of race_on(): folded twice, each costs 3 ms, and what is kept goes by buckets."""


@pytest.fixture
def track(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    return Track(client, log_keep_s=KEEP_S)


def kept(track: Track) -> dict[str, bytes]:
    return reads.checkpoints(track.client, track.keys)


def fulls(track: Track) -> list[str]:
    return sorted(name for name in kept(track) if name.endswith("full"))


def race_on(track: Track, owner: VenueScorer, *, minutes: int) -> None:
    """Some traffic: a few entries in each bucket of 30 s, and a step."""
    rng = random.Random(minutes)
    for _ in range(2 * minutes):
        for _ in range(ENTRIES):
            events = [
                {"type": rng.choice(["click", "pay"]), "runner": rng.randrange(5), "amount": 7, "id": f"{track.now_ms}"}
                for _ in range(3)
            ]
            track.write({"events": events}, after_ms=30_000 // ENTRIES)
        track.step(owner)


@pytest.fixture
def long_raced(track: Track) -> VenueScorer:
    """A race of more than half an hour, whose parts soon weigh more than a full record."""
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    race_on(track, owner, minutes=33)
    return owner


def test_first_record_is_full_and_each_new_bucket_adds_a_part(track: Track) -> None:
    track.begin()
    owner = track.owner()
    for _ in range(5):
        track.click(0, after_ms=1_000)
        track.step(owner)
    names = sorted(kept(track))
    assert [name.rsplit(":")[-1] for name in names] == ["full", "part", "part"]
    assert [moment_of(name) - START_MS for name in names] == [1_000, 2_000, 4_000]
    assert [position_of(record).ms for _, record in sorted(kept(track).items())] == [moment_of(name) for name in names]


def test_buckets_cut_anew_make_a_full_record(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.click(0)
    track.step(owner)
    track.write({"rule": rule_of(*EVERY_SIGNAL, window_s=4, bucket_s=1)}, after_ms=100)
    track.step(owner)
    assert len(fulls(track)) == 2
    assert state(track.owner().race) == state(owner.race)


def test_still_race_writes_no_records(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.settle(owner)
    before = kept(track)
    for _ in range(10):
        track.step(owner, after_ms=1_000)
    assert kept(track) == before


def test_two_full_records_are_kept_and_the_log_that_they_need(track: Track, long_raced: VenueScorer) -> None:
    """The last one, and the one before it: for recounts over more than two windows, and where the last is damaged."""
    older, newer = fulls(track)
    assert moment_of(newer) - moment_of(older) >= 2 * 60_000
    assert min(kept(track)) == older, "what is older than both has gone"
    first = first_position(track.client, track.keys)
    assert first is not None
    assert START_MS + 60_000 < first.ms, "of the log, too, something has gone"
    assert first < position_of(kept(track)[older])
    assert first.ms < track.now_ms - 1000 * KEEP_S
    assert state(track.owner().race) == state(long_raced.race)
    track.settle(long_raced)
    report = verify(track.client, track.venue)
    assert report.differences == []
    assert report.notes == [f"refolded from {position_of(kept(track)[older])}"]


def test_records_damaged_after_the_log_was_trimmed_are_made_up_for_while_one_full_is_sound(
    track: Track, long_raced: VenueScorer
) -> None:
    older, newer = fulls(track)
    track.raw.hset(track.keys.checkpoints, newer, damaged(kept(track)[newer], "flip"))
    owner = track.owner()
    assert state(owner.race) == state(long_raced.race)
    track.raw.hset(track.keys.checkpoints, older, damaged(kept(track)[older], "cut"))
    with pytest.raises(StoreError, match="no sound checkpoint"):
        track.owner()


def test_chain_grows_and_shrinks_across_owners(track: Track) -> None:
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    most = 0
    for _ in range(3):
        race_on(track, owner, minutes=13)
        before, owner = state(owner.race), track.owner()
        assert state(owner.race) == before
        most = max(most, len(kept(track)))
    assert len(fulls(track)) == 2
    assert most <= 90, "two stretches of at most 15 minutes and a bit, a record in each bucket"
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)
