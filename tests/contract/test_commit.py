"""The fenced commit: all or nothing, by the owner only, and known again when its reply was lost."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from racing.errors import FencedError, StoreError, StoreUnavailableError
from racing.model import Frame, Position, Slot
from racing.store.client import server_ms
from racing.store.commit import (
    FRAMES_MAX,
    NO_COMMIT,
    Batch,
    CommitRecord,
    Committer,
    decode_frame,
    last_frame,
    read_commit,
)
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from tests.contract.servers import LossyStore, Store

KEYS = VenueKeys("hall-1")
MARK = "saima:{hall-1}:mark"


def batch(owner: Committer, **fields: Any) -> Batch:
    """A commit that writes one of everything."""
    number = owner.last.frame + 1
    position = Position(1_000 + number, 0)
    frame = Frame("hall-1", number, owner.last.epoch, str(position), 1_000, 1, 1, 1, (Slot(1, 0, "p", 0.5),))
    return Batch(
        position=position,
        sets_position=position,
        as_of_ms=5_000,
        counts={"counted": number},
        frame=frame,
        checkpoint=(f"record-{number}", b"bytes"),
        set_commands=[("ZADD", KEYS.standings, "-0.5", "0000000000"), ("INCR", MARK)],
        **fields,
    )


def taken_over(client: SyncClient) -> Committer:
    owner = Committer(client, KEYS)
    owner.take_over()
    return owner


def held(store: Store) -> dict[str, Any]:
    """All that the venue's keys hold."""
    raw = store.raw
    return {
        "commit": raw.get(KEYS.commit),
        "frames": raw.xrange(KEYS.frames),
        "checkpoints": raw.hgetall(KEYS.checkpoints),
        "standings": raw.zrange(KEYS.standings, 0, -1, withscores=True),
        "mark": raw.get(MARK),
    }


# -- fencing -------------------------------------------------------------------------------------------------


def test_paused_owner_writes_nothing_after_another_took_over(store: Store, client: SyncClient) -> None:
    paused = taken_over(client)
    paused.begin()
    paused.commit(batch(paused))
    paused.begin()
    other = Committer(store.client(), KEYS)
    other.take_over()
    before = held(store)
    with pytest.raises(FencedError):
        paused.commit(batch(paused))
    assert held(store) == before


def test_paused_owner_writes_nothing_after_another_committed(store: Store, client: SyncClient) -> None:
    paused = taken_over(client)
    paused.begin()
    other = taken_over(store.client())
    other.begin()
    other.commit(batch(other))
    before = held(store)
    with pytest.raises(FencedError):
        paused.commit(batch(paused))
    assert held(store) == before


def test_fenced_owner_cannot_begin_again(store: Store, client: SyncClient) -> None:
    paused = taken_over(client)
    taken_over(store.client())
    for _ in range(2):
        with pytest.raises(FencedError):
            paused.begin()


@pytest.mark.parametrize("fenced", [False, True])
def test_owner_that_ended_leaves_nothing_watched(client: SyncClient, fenced: bool) -> None:
    """A pipeline that still watches speaks to the server when it is collected: amid whatever any thread does."""
    owner = Committer(client, KEYS)
    owner.take_over()
    if fenced:
        Committer(client, KEYS).take_over()
    with pytest.raises(FencedError) if fenced else nullcontext():
        owner.begin()
    owner.close()
    pipe: Any = owner._pipe
    assert not pipe.watching


def test_lost_commit_key_fences_the_owner(store: Store, client: SyncClient) -> None:
    owner = taken_over(client)
    store.raw.delete(KEYS.commit)
    with pytest.raises(FencedError):
        owner.begin()


def test_key_put_back_to_an_older_state_fences_the_owner(store: Store, client: SyncClient) -> None:
    """As a failover does that lost the last commits."""
    owner = taken_over(client)
    before = store.raw.get(KEYS.commit)
    owner.begin()
    owner.commit(batch(owner))
    store.raw.set(KEYS.commit, before)
    with pytest.raises(FencedError):
        owner.begin()


def test_commit_key_written_with_the_same_bytes_also_fences(store: Store, client: SyncClient) -> None:
    owner = taken_over(client)
    owner.begin()
    store.raw.set(KEYS.commit, store.raw.get(KEYS.commit))
    with pytest.raises(FencedError):
        owner.commit(batch(owner))
    assert store.raw.get(MARK) is None


def test_two_who_take_over_at_once_end_with_one_owner(
    store: Store, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Committer(client, KEYS)
    winners: list[Committer] = []

    def clock(of: SyncClient) -> int:
        if not winners:
            winners.append(Committer(store.client(), KEYS))
            winners[0].take_over()
        return server_ms(of)

    monkeypatch.setattr("racing.store.commit.server_ms", clock)
    with pytest.raises(FencedError):
        late.take_over()
    winners[0].begin()
    assert winners[0].commit(batch(winners[0])) == read_commit(client, KEYS)


# -- lost replies --------------------------------------------------------------------------------------------


def test_commit_whose_reply_was_lost_is_known_again(lossy: LossyStore, store: Store) -> None:
    owner = taken_over(lossy.client())
    for number in range(1, 11):
        owner.begin()
        lossy.fault.lose("EXEC", executed=True)
        record = owner.commit(batch(owner))
        assert record == owner.last == read_commit(store.client(), KEYS)
        assert record.number == number
    assert lossy.fault.lost == 10
    assert int(store.raw.get(MARK)) == 10, "each was carried out once"
    owner.begin()
    owner.commit(batch(owner))


def test_commit_whose_reply_did_not_come_in_time_is_known_again(lossy: LossyStore, store: Store) -> None:
    owner = taken_over(lossy.client())
    owner.begin()
    lossy.fault.lose("EXEC", executed=True, silent=True)
    assert owner.commit(batch(owner)) == read_commit(store.client(), KEYS)
    assert lossy.fault.lost == 1


def test_commit_that_never_arrived_fences_its_owner(lossy: LossyStore, store: Store) -> None:
    owner = taken_over(lossy.client())
    owner.begin()
    before = held(store)
    lossy.fault.lose("EXEC", executed=False)
    with pytest.raises(FencedError):
        owner.commit(batch(owner))
    assert lossy.fault.lost == 1
    assert held(store) == before


def test_lost_reply_is_not_known_again_when_another_took_over_since(
    lossy: LossyStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = taken_over(lossy.client())
    owner.begin()
    lossy.fault.lose("EXEC", executed=True)

    def read_after_take_over(client: SyncClient, keys: VenueKeys) -> CommitRecord:
        taken_over(store.client())
        return read_commit(client, keys)

    monkeypatch.setattr("racing.store.commit.read_commit", read_after_take_over)
    with pytest.raises(FencedError):
        owner.commit(batch(owner))


def test_lost_reply_of_a_server_that_is_away_fences_the_owner(
    lossy: LossyStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = taken_over(lossy.client())
    owner.begin()
    lossy.fault.lose("EXEC", executed=True)

    def away(_: SyncClient, __: VenueKeys) -> CommitRecord:
        raise StoreUnavailableError("away")

    monkeypatch.setattr("racing.store.commit.read_commit", away)
    with pytest.raises(FencedError):
        owner.commit(batch(owner))
    assert read_commit(store.client(), KEYS).number == 1, "the next owner goes on from it"


def test_server_that_is_away_is_reported_as_unavailable_before_anything_is_folded(lossy: LossyStore) -> None:
    owner = taken_over(lossy.client())
    lossy.go_away()
    with pytest.raises(StoreUnavailableError):
        owner.begin()
    lossy.come_back()
    owner.begin()


def test_epoch_whose_reply_was_lost_is_never_used(lossy: LossyStore, store: Store) -> None:
    lossy.fault.lose("EXEC", executed=True)
    with pytest.raises(StoreError):
        taken_over(lossy.client())
    lost = read_commit(store.client(), KEYS).epoch
    assert lost > 0
    assert taken_over(lossy.client()).last.epoch > lost


# -- epochs --------------------------------------------------------------------------------------------------


def test_every_take_over_has_a_greater_epoch(client: SyncClient) -> None:
    epochs = [taken_over(client).last.epoch for _ in range(50)]
    assert epochs == sorted(set(epochs))


def test_first_epoch_is_the_servers_clock(client: SyncClient) -> None:
    before = server_ms(client)
    assert before <= taken_over(client).last.epoch <= server_ms(client)


def test_epoch_ahead_of_the_servers_clock_is_followed_by_a_greater_one(store: Store, client: SyncClient) -> None:
    """As after the clock was set back, or a failover to a server whose clock is behind."""
    ahead = server_ms(client) + 10**9
    store.raw.set(KEYS.commit, msgspec.json.encode(CommitRecord(ahead, 7, "5-0", "5-0", 3, 5)))
    taken = [taken_over(client).last for _ in range(3)]
    assert [record.epoch for record in taken] == [ahead + 1, ahead + 2, ahead + 3]
    assert {(record.number, record.frame, record.position) for record in taken} == {(0, 3, "5-0")}


# -- the plain case ------------------------------------------------------------------------------------------


def test_venue_that_was_never_raced_has_no_commit_and_no_frame(client: SyncClient) -> None:
    assert read_commit(client, KEYS) == NO_COMMIT
    assert last_frame(client, KEYS) is None


def test_take_over_keeps_all_of_the_record_but_epoch_number_and_digest(client: SyncClient) -> None:
    owner = taken_over(client)
    owner.begin()
    last = owner.commit(batch(owner))
    taken = taken_over(client).last
    assert (taken.number, taken.digest) == (0, "")
    kept = ("position", "sets_position", "frame", "as_of_ms", "counts")
    assert [getattr(taken, name) for name in kept] == [getattr(last, name) for name in kept]


def test_commit_writes_record_frame_checkpoint_and_sets_together(store: Store, client: SyncClient) -> None:
    owner = taken_over(client)
    owner.begin()
    written = batch(owner)
    record = owner.commit(written)
    assert record == read_commit(client, KEYS)
    assert (record.number, record.frame, record.position, record.counts) == (1, 1, "1001-0", {"counted": 1})
    assert last_frame(client, KEYS) == written.frame
    assert held(store)["checkpoints"] == {b"record-1": b"bytes"}
    assert held(store)["standings"] == [(b"0000000000", -0.5)]


def test_commit_takes_away_records_that_go_and_log_that_is_not_needed(store: Store, client: SyncClient) -> None:
    for ms in range(1, 1001):
        store.raw.xadd(KEYS.log, {b"tick": b"1"}, id=f"{ms}-0")
    store.raw.hset(KEYS.checkpoints, mapping={"old": b"1", "older": b"2"})
    owner = taken_over(client)
    owner.begin()
    owner.commit(batch(owner, gone=["old", "older"], trim_ms=601))
    assert list(held(store)["checkpoints"]) == [b"record-1"]
    first_ms = int(store.raw.xrange(KEYS.log, count=1)[0][0].split(b"-")[0])
    assert 501 <= first_ms <= 601, "whole nodes of 100 entries go, and nothing that is needed"


def test_frames_are_named_by_epoch_and_number(store: Store, client: SyncClient) -> None:
    names = []
    for _ in range(2):
        owner = taken_over(client)
        for _ in range(2):
            owner.begin()
            owner.commit(batch(owner))
            names.append(f"{owner.last.epoch}-{owner.last.frame}".encode())
    kept = store.raw.xrange(KEYS.frames)
    assert [name for name, _ in kept] == names == sorted(names)
    assert [decode_frame(fields[b"frame"]).frame for _, fields in kept] == [1, 2, 3, 4]


def test_number_of_kept_frames_is_bounded(store: Store, client: SyncClient) -> None:
    owner = taken_over(client)
    for number in range(1, FRAMES_MAX + 1):
        store.raw.xadd(KEYS.frames, {b"frame": b"{}"}, id=f"1-{number}")
    for _ in range(205):
        owner.begin()
        owner.commit(batch(owner))
    assert FRAMES_MAX <= store.raw.xlen(KEYS.frames) <= FRAMES_MAX + 100
