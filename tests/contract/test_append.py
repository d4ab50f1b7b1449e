"""Appending event batches: once for each idempotency key, whatever is lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from racing.errors import CorruptRecordError, IdempotencyMismatchError, StoreUnavailableError
from racing.model import START
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from tests.contract import appends
from tests.contract.servers import LossyStore, Store
from tests.contract.track import clicks, packed

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


async def append(desk: Desk, *, key: str = "k", digest: str = "d", answer: bytes = b"{}", runner: int = 0) -> Appended:
    return await appends.append_once(desk, VENUE, packed(clicks([runner])), key=key, digest=digest, answer=answer)


def keyed(key: str, *, runner: int = 0) -> KeyedBatch:
    return KeyedBatch(packed(clicks([runner])), key, "d", b"{}")


def log_length(client: SyncClient) -> int:
    return len(read_after(client, KEYS, START))


async def test_known_key_with_another_body_is_refused_and_appends_nothing(desk: Desk, client: SyncClient) -> None:
    await append(desk, digest="one")
    with pytest.raises(IdempotencyMismatchError):
        await append(desk, digest="two")
    assert log_length(client) == 1


async def test_repeat_is_answered_as_the_first_time_and_appends_nothing(desk: Desk, client: SyncClient) -> None:
    first = await append(desk, answer=b'{"accepted":1}')
    again = await append(desk, answer=b'{"accepted":0}')
    assert not first.repeated
    assert again == Appended(first.entry, b'{"accepted":1}', repeated=True)
    assert log_length(client) == 1


async def test_damaged_answer_is_not_given_and_appends_nothing(store: Store, desk: Desk, client: SyncClient) -> None:
    """Nobody can tell whether it was this body: the sender tries again until the answer is no longer kept."""
    await append(desk)
    for damaged in ("", "d", "d 1-0", "d 1-x {}"):
        store.raw.hset(KEYS.answers, "k", damaged)
        with pytest.raises(CorruptRecordError, match="Idempotency-Key"):
            await append(desk)
        with pytest.raises(CorruptRecordError, match="Idempotency-Key"):
            await desk.answered(VENUE, key="k", digest="d")
    assert log_length(client) == 1


async def test_answer_put_aside_is_still_given(store: Store, desk: Desk, client: SyncClient) -> None:
    first = await append(desk, answer=b"first")
    store.raw.rename(KEYS.answers, KEYS.answers_before)
    await append(desk, key="other")
    assert await append(desk) == Appended(first.entry, b"first", repeated=True)
    assert await desk.answered(VENUE, key="k", digest="d") == Appended(first.entry, b"first", repeated=True)
    assert log_length(client) == 2


async def test_no_clock_ends_an_answer(store: Store, desk: Desk) -> None:
    await append(desk)
    assert store.raw.ttl(KEYS.answers) == -1


async def test_forgotten_key_appends_again(store: Store, desk: Desk, client: SyncClient) -> None:
    await append(desk)
    store.raw.delete(KEYS.answers)  # as two owners' terms do
    again = await append(desk)
    assert not again.repeated
    assert log_length(client) == 2


async def test_repeats_at_the_same_time_append_once(desk: Desk, client: SyncClient) -> None:
    answers = await asyncio.gather(*(append(desk, answer=b"%d" % index) for index in range(20)))
    assert len({(each.entry, each.answer) for each in answers}) == 1
    assert sum(not each.repeated for each in answers) == 1
    assert log_length(client) == 1


async def test_one_key_in_two_venues_names_two_batches(desk: Desk, client: SyncClient) -> None:
    await append(desk)
    other = await appends.append_once(desk, "hall-2", packed(clicks([0])), key="k", digest="x", answer=b"{}")
    assert not other.repeated
    assert len(read_after(client, VenueKeys("hall-2"), START)) == 1


@pytest.mark.parametrize("executed", [True, False])
async def test_repeat_after_a_lost_append_leaves_one_entry(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient, *, executed: bool
) -> None:
    for index in range(10):
        lossy.fault.lose("EVAL", executed=executed)
        with pytest.raises(StoreUnavailableError):
            await append(lossy_desk, key=f"k-{index}", answer=b"first")
        again = await append(lossy_desk, key=f"k-{index}", answer=b"second")
        assert again.repeated is executed
        assert again.answer == (b"first" if executed else b"second")
    assert lossy.fault.lost == 10
    assert log_length(client) == 10


async def test_repeat_of_a_lost_group_appends_each_of_it_once(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient
) -> None:
    """The server carried out the first of ten; the connection was lost before the others arrived."""
    group = [keyed(f"k-{index}", runner=index) for index in range(10)]
    lossy.fault.lose("EVAL", executed=True)
    with pytest.raises(StoreUnavailableError):
        await lossy_desk.append_all(VENUE, group)
    again = await lossy_desk.append_all(VENUE, group)
    assert [isinstance(each, Appended) and each.repeated for each in again] == [True, *[False] * 9]
    assert log_length(client) == 10


async def test_group_is_appended_in_its_order_each_batch_by_its_own_key(desk: Desk, client: SyncClient) -> None:
    first = await append(desk, key="known", answer=b"first")
    await append(desk, key="taken", digest="other")
    group: list[bytes | KeyedBatch] = [
        keyed("a", runner=1),
        packed(clicks([2])),
        keyed("known"),
        keyed("taken"),
        keyed("a"),
        keyed("b", runner=3),
    ]
    done = await desk.append_all(VENUE, group)
    assert isinstance(done[3], IdempotencyMismatchError)
    appended = [each for each in done if isinstance(each, Appended)]
    assert [each.repeated for each in appended] == [False, False, True, True, False]
    assert appended[2] == Appended(first.entry, b"first", repeated=True)
    assert appended[3].entry == appended[0].entry
    entries = read_after(client, KEYS, START)
    assert [str(entry.position) for entry in entries[2:]] == [appended[index].entry for index in (0, 1, 4)]
    assert [int(entry.body.runner[0]) for entry in entries[2:]] == [1, 2, 3]  # type: ignore[union-attr]  # batches


async def test_answer_of_a_key_can_be_asked_for_without_appending(desk: Desk, client: SyncClient) -> None:
    assert await desk.answered(VENUE, key="k", digest="d") is None
    first = await append(desk, answer=b"first")
    assert await desk.answered(VENUE, key="k", digest="d") == Appended(first.entry, b"first", repeated=True)
    with pytest.raises(IdempotencyMismatchError):
        await desk.answered(VENUE, key="k", digest="other")
    assert log_length(client) == 1


async def test_batch_comes_out_of_the_log_as_it_went_in(desk: Desk, client: SyncClient) -> None:
    body = packed(clicks(range(1000)))
    await appends.append(desk, VENUE, body)
    await appends.append_once(desk, VENUE, body, key="k", digest="d", answer=b"{}")
    for entry in read_after(client, KEYS, START):
        assert entry.body.pack() == body  # type: ignore[union-attr]  # it is a batch of events
