"""The owner's loop, step by step: what it folds, what it publishes, and how the next owner goes on from there."""

from __future__ import annotations

import random
from itertools import cycle, pairwise
from typing import Any

import pytest

from racing.board import check_board
from racing.entries import Entry
from racing.errors import FencedError, StoreError, StoreUnavailableError
from racing.model import START, Position
from racing.race import Race
from racing.scorer import HEARTBEAT_MS, VenueScorer
from racing.settings import Settings
from racing.store.log import append_tick, read_after
from racing.store.protocol import SyncClient
from tests.contract.servers import LossyStore, Store
from tests.contract.track import START_MS, Track, sets_of
from tests.laws.logs import EVERY_SIGNAL, raced, rule_of, state

EVERYTHING = rule_of(*EVERY_SIGNAL, window_s=6, bucket_s=2, board={"slots": 4})


@pytest.fixture
def track(client: SyncClient) -> Track:
    return Track(client)


def refolded(track: Track) -> Race:
    """The race as the whole log says that it is, folded in one go."""
    entries: list[Entry] = []
    while batch := read_after(track.client, track.keys, entries[-1].position if entries else START):
        entries += batch
    return raced(entries)


def lively(rng: random.Random, track: Track, runners: int) -> None:
    """Some seconds' worth of anything: events with and without ids, refunds, ticks, new runners, damaged entries."""
    kind = rng.choice(["events"] * 8 + ["tick", "unreadable", "enrol"])
    after_ms = rng.choice([0, 0, 1, 50, 200, 700, 1900])
    if kind != "events":
        body: dict[str, Any] = {kind: {rng.randrange(runners): {"entry_score": rng.random()}}}
        track.write(body, after_ms=after_ms)
        return
    events = [
        {
            "type": rng.choice(["click", "click", "order", "pay", "refund", "scan"]),
            "runner": rng.randrange(runners),
            "amount": rng.choice([None, 5, 100]),
            "id": rng.choice([None, None, "a", "b", "c", "d"]),
            "ts_ms": rng.choice([None, track.now_ms - rng.randrange(8000)]),
        }
        for _ in range(rng.randrange(1, 9))
    ]
    track.write({"events": events}, after_ms=after_ms)


# -- refusals ------------------------------------------------------------------------------------------------


def test_owner_that_was_taken_over_is_fenced_and_writes_nothing(track: Track) -> None:
    track.begin()
    paused = track.owner()
    track.settle(paused)
    track.owner()
    before = (track.commit(), track.frames(), track.sets())
    track.click(0)
    with pytest.raises(FencedError):
        track.step(paused, after_ms=1000)
    assert (track.commit(), track.frames(), track.sets()) == before


def test_owner_that_is_taken_over_while_it_folds_writes_nothing(
    track: Track, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    track.begin()
    paused = track.owner()
    track.settle(paused)
    track.click(0)
    apply = paused.race.apply

    def pause(entries: Any) -> None:
        apply(entries)
        other = Track(store.client())
        other.now_ms = track.now_ms
        other.settle(other.owner())

    monkeypatch.setattr(paused.race, "apply", pause)
    with pytest.raises(FencedError):
        track.step(paused, after_ms=1000)
    assert track.sets() == sets_of(refolded(track))
    assert {frame.epoch for frame in track.frames()[1:]} == {track.commit().epoch}


# -- frames --------------------------------------------------------------------------------------------------


def test_first_step_publishes_the_first_frame(track: Track) -> None:
    track.begin()
    track.click(1)
    owner = track.owner()
    record = track.step(owner)
    assert record is not None
    assert record == track.commit()
    (frame,) = track.frames()
    assert (frame.frame, frame.position, frame.at_ms, frame.rule_version) == (1, track.last(), START_MS, 1)
    assert [(slot.slot, slot.runner, slot.score) for slot in frame.slots] == [(1, 1, 1.0), (2, 0, 0.0), (3, 2, 0.0)]
    assert record.frame == 1
    check_board(frame.slots, owner.race.scores)


def test_frame_is_published_at_most_every_frame_ms_and_then_shows_all(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.settle(owner)
    published_ms = []
    for _ in range(30):
        track.click(2, after_ms=20)
        seen = len(track.frames())
        track.step(owner)
        if len(track.frames()) > seen:
            published_ms.append(track.now_ms)
            assert track.frames()[-1].position == track.last()
    gaps = [after - before for before, after in pairwise(published_ms)]
    assert len(gaps) >= 4
    assert min(gaps) >= Settings().frame_ms


def test_entry_between_two_frames_is_shown_when_the_next_is_due(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.settle(owner)
    track.click(2, after_ms=Settings().frame_ms)
    track.step(owner)
    track.click(1, 1, after_ms=10)
    track.step(owner)
    assert track.frames()[-1].slots[0].runner == 2
    assert owner.wait_ms(track.now_ms) == Settings().frame_ms - 10
    track.step(owner, after_ms=owner.wait_ms(track.now_ms))
    assert track.frames()[-1].slots[0].runner == 1


def test_what_changes_nothing_on_the_board_makes_no_frame(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.settle(owner)
    seen = len(track.frames())
    track.write({"tick": True})
    track.write({"unreadable": True})
    track.write({"events": [{"type": "cart", "runner": 0}]})
    track.settle(owner)
    assert len(track.frames()) == seen
    assert track.commit().position == track.last()
    assert track.commit().counts["unreadable"] == 1


def test_still_venue_is_committed_as_a_heartbeat(track: Track) -> None:
    track.begin()
    owner = track.owner()
    before = track.settle(owner)
    for _ in range(3):
        track.step(owner, after_ms=owner.wait_ms(track.now_ms))
        assert track.step(owner, after_ms=owner.wait_ms(track.now_ms) - 1) is None
        beat = track.step(owner, after_ms=1)
        assert beat is not None
        assert (beat.position, beat.frame) == (before.position, before.frame)
        assert beat.as_of_ms == track.now_ms
        assert owner.wait_ms(track.now_ms) == HEARTBEAT_MS


def test_time_of_nothing_missing_is_that_of_the_last_entry_while_more_may_wait(track: Track) -> None:
    track.begin()
    track.click(0, after_ms=700)
    owner = track.owner()
    track.now_ms += 300
    record = track.step(owner)
    assert record is not None
    assert record.as_of_ms == track.now_ms - 300


def test_frames_count_on_without_a_gap_across_take_overs(track: Track) -> None:
    track.begin()
    for _ in range(5):
        owner = track.owner()
        for _ in range(4):
            track.click(0, 1, 2, 0, after_ms=150)
            track.step(owner)
    frames = track.frames()
    assert [frame.frame for frame in frames] == list(range(1, len(frames) + 1))
    assert len(frames) >= 20
    epochs = [frame.epoch for frame in frames]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 5


def test_new_owner_of_an_unchanged_board_publishes_nothing_new(track: Track) -> None:
    track.begin()
    track.click(0)
    track.settle(track.owner())
    seen = track.frames()
    track.settle(track.owner())
    assert track.frames() == seen


# -- time ----------------------------------------------------------------------------------------------------


def test_tick_is_due_when_a_step_is_due_and_nothing_came(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.settle(owner)
    assert not owner.tick_due(track.now_ms + 10**6), "a race without live cells needs no ticks"
    track.click(0)
    track.step(owner)
    step_ms = owner.race.next_step_ms()
    due_ms = next(ms for ms in range(track.now_ms, track.now_ms + 1000) if owner.tick_due(ms))
    assert step_ms <= due_ms <= step_ms + 5
    assert owner.wait_ms(due_ms - 1) == 1


def test_tick_is_due_in_a_venue_at_rest_when_an_order_begins(track: Track) -> None:
    """And the first frame of the order comes with that tick, from an owner that was asleep."""
    track.begin()
    owner = track.owner()
    at_ms = track.now_ms + 60_000
    track.write({"orders": [{"kind": "pin", "id": "a", "product": "product-2", "slot": 1, "start_ms": at_ms}]})
    track.settle(owner)
    assert not owner.tick_due(at_ms - 1)
    assert owner.tick_due(at_ms + 5)
    frames = len(track.frames())
    track.now_ms = at_ms + 5
    track.write({"tick": True})
    track.step(owner)
    assert len(track.frames()) == frames + 1
    assert track.frames()[-1].slots[0].product == "product-2"
    assert track.frames()[-1].slots[0].labels == ("pinned",)


def test_clock_that_is_set_back_an_hour_holds_up_neither_frames_nor_sets_nor_heartbeats(track: Track) -> None:
    """What was paced by moments that the clock will not see again for an hour is due at once."""
    track.begin()
    owner = track.owner()
    track.click(0)
    track.settle(owner)
    back_ms = track.now_ms - 3_600_000
    track.click(1, 1)
    frames = len(track.frames())
    owner.step(read_after(track.client, track.keys, owner.race.position), back_ms)
    assert 0 < owner.pause_ms(back_ms) <= Settings().frame_ms
    assert len(track.frames()) == frames + 1
    assert track.frames()[-1].slots[0].runner == 1
    assert track.commit().sets_position == track.last()
    assert track.sets() == sets_of(owner.race)
    assert owner.step([], back_ms + HEARTBEAT_MS) is not None


def test_loop_does_not_sleep_until_a_clock_that_was_set_back_is_where_it_was(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.click(0)
    track.step(owner)
    assert owner.pause_ms(track.now_ms - 3_600_000) <= Settings().frame_ms


def test_ticks_alone_let_the_scores_fall_back_to_nothing(track: Track) -> None:
    track.begin()
    track.click(2, 2)
    owner = track.owner()
    track.step(owner)
    ticks = 0
    while owner.race.windows.buckets:
        track.now_ms += 1
        if not owner.tick_due(track.now_ms):
            continue
        track.write({"tick": True})
        track.step(owner)
        ticks += 1
    track.settle(owner)
    assert 20 <= ticks <= 50, "ten in each of the four buckets at most, and the one that ends it"
    assert [slot.runner for slot in track.frames()[-1].slots] == [0, 1, 2]
    assert track.sets() == {"standings": {0: 0.0, 1: 0.0, 2: 0.0}, "total:click:count": {2: 2.0}}


def test_tick_of_an_owner_that_is_no_more_harms_nothing(track: Track) -> None:
    track.begin()
    track.click(0)
    owner = track.owner()
    track.settle(owner)
    before = dict(track.commit().counts)
    append_tick(track.client, track.keys)  # at the server's own, earlier time: it is put after the last entry
    append_tick(track.client, track.keys)
    track.settle(owner)
    assert track.commit().counts == before
    assert state(owner.race) == state(refolded(track))


# -- the next owner ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_race_restored_after_every_commit_is_the_same_bit_for_bit(track: Track, seed: int) -> None:
    rng = random.Random(seed)
    track.begin(EVERYTHING, runners=5)
    owner = track.owner()
    for _ in range(60):
        for _ in range(rng.randrange(4)):
            lively(rng, track, 5)
        track.step(owner, after_ms=rng.choice([0, 100, 600]))
        committed = track.commit().position
        if rng.random() < 0.5:
            before, owner = state(owner.race), track.owner()
            if committed == str(before["position"]):
                assert state(owner.race) == before
    track.settle(owner)
    assert state(owner.race) == state(refolded(track))
    assert track.sets() == sets_of(owner.race)
    assert track.frames()[-1].slots == owner.race.slots()


@pytest.mark.parametrize("executed", [True, False])
def test_commits_lost_on_the_way_change_nothing_in_the_end(
    lossy: LossyStore, client: SyncClient, *, executed: bool
) -> None:
    rng = random.Random(7)
    track = Track(lossy.client())
    track.begin(EVERYTHING, runners=5)
    owner = track.owner()
    fenced = 0
    for index in range(40):
        lively(rng, track, 5)
        if index % 3 == 0:
            lossy.fault.lose("EXEC", executed=executed)
        try:
            track.step(owner, after_ms=100)
        except FencedError:
            fenced += 1
            owner = track.owner()
    assert lossy.fault.lost == 14
    assert fenced == (0 if executed else 14), "a lost reply is no conflict, a lost commit is"
    track.settle(owner)
    assert state(owner.race) == state(refolded(track))
    assert track.sets() == sets_of(owner.race)
    frames = [frame.frame for frame in track.frames()]
    assert frames == list(range(1, len(frames) + 1))


def test_every_command_of_a_step_may_find_the_server_away(lossy: LossyStore) -> None:
    track = Track(lossy.client())
    track.begin()
    for command in ("WATCH", "GET", "EXEC"):
        owner = track.owner()
        track.click(1, after_ms=100)
        lossy.fault.lose(command, executed=False)
        with pytest.raises(FencedError if command == "EXEC" else StoreUnavailableError):
            track.step(owner)
    assert lossy.fault.lost == 3
    owner = track.owner()
    track.settle(owner)
    assert owner.race.counts.counted == 3
    assert track.sets() == sets_of(refolded(track))


def test_damaged_checkpoint_is_made_up_for_from_the_log(track: Track) -> None:
    rng = random.Random(3)
    track.begin(EVERYTHING, runners=5)
    owner = track.owner()
    for _ in range(60):
        lively(rng, track, 5)
        track.step(owner, after_ms=100)
    track.settle(owner)
    before = state(owner.race)
    kept = track.raw.hgetall(track.keys.checkpoints)
    assert len(kept) >= 3
    for (name, record), how in zip(kept.items(), cycle(["flip", "cut", "empty"]), strict=False):
        track.raw.hset(track.keys.checkpoints, name, damaged(record, how))
        again = track.owner()
        assert state(again.race) == before
        track.settle(again)
        assert track.sets() == sets_of(again.race)
        assert state(track.owner().race) == before, "what the new owner has written since is sound"
        track.raw.hset(track.keys.checkpoints, name, record)


def damaged(record: bytes, how: str) -> bytes:
    if how == "flip":
        middle = len(record) // 2
        return record[:middle] + bytes([record[middle] ^ 1]) + record[middle + 1 :]
    return record[:-1] if how == "cut" else b""


def test_race_that_can_no_longer_be_made_out_is_not_begun_anew(track: Track) -> None:
    track.begin()
    track.click(0)
    track.settle(track.owner())
    track.raw.delete(track.keys.checkpoints)
    track.raw.xtrim(track.keys.log, maxlen=1, approximate=False)
    with pytest.raises(StoreError, match="no sound checkpoint"):
        track.owner()


def test_lost_checkpoints_are_made_up_for_by_a_log_that_is_whole(track: Track) -> None:
    track.begin()
    track.click(0)
    owner = track.owner()
    track.settle(owner)
    track.raw.delete(track.keys.checkpoints)
    assert state(track.owner().race) == state(owner.race)


# -- the whole of it -----------------------------------------------------------------------------------------


def test_steps_of_any_size_end_in_the_same_frame_and_sets(store: Store) -> None:
    """How entries were batched is not to be seen: only the log decides."""
    ends = []
    for batching in (1, 3, 1000):
        track = Track(store.client(), venue=f"hall-{batching}")
        rng = random.Random(11)
        track.begin(EVERYTHING, runners=5)
        owner = track.owner()
        for index in range(80):
            lively(rng, track, 5)
            if index % batching == 0:
                track.step(owner)
        track.settle(owner)
        ends.append((state(owner.race), track.frames()[-1].slots, track.sets()))
    assert ends[0] == ends[1] == ends[2]


def test_position_of_a_step_is_the_last_entry_read(track: Track) -> None:
    track.begin()
    owner = track.owner()
    assert isinstance(owner, VenueScorer)
    for _ in range(5):
        position = track.click(0, after_ms=10)
        track.step(owner)
        assert owner.race.position == Position.parse(track.commit().position) == position


def test_answers_are_put_aside_by_the_time_that_owners_see_pass(
    client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the server's clock, which is set an hour ahead here; and each owner counts on from the one before."""
    track, passed_s = Track(client, idempotency_ms=1_000), 50.0
    monkeypatch.setattr("racing.store.answers.time.monotonic", lambda: passed_s)
    young, old = track.keys.answers, track.keys.answers_before
    track.begin()
    track.raw.hset(young, "a", "d 1-0 {}")
    owner = track.owner()
    track.step(owner, after_ms=3_600_000)
    assert (track.raw.hget(young, "a"), track.commit().answers_ms) == (b"d 1-0 {}", 0)
    passed_s += 0.6
    track.step(owner, after_ms=HEARTBEAT_MS)
    assert (track.raw.exists(old), track.commit().answers_ms) == (0, 600)
    passed_s += 7.0  # while nobody owns it
    owner = track.owner()
    passed_s += 0.4
    track.step(owner, after_ms=HEARTBEAT_MS)
    assert (track.raw.exists(young), track.raw.hget(old, "a"), track.commit().answers_ms) == (0, b"d 1-0 {}", 0)
    track.raw.hset(young, "b", "d 2-0 {}")
    passed_s += 1.0
    track.step(owner, after_ms=HEARTBEAT_MS)
    assert (track.raw.exists(young), track.raw.hkeys(old)) == (0, [b"b", b"@"])
    passed_s += 1.0
    track.step(owner, after_ms=HEARTBEAT_MS)
    assert track.raw.hkeys(old) == [b"@"], "nothing was answered since then"
