"""Appending event batches: once for each idempotency key, whatever is lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from racing.errors import IdempotencyMismatchError, StoreUnavailableError
from racing.model import START
from racing.store.desk import Appended, Desk
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from tests.contract.servers import LossyStore, Store
from tests.contract.track import clicks, packed

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


async def append(desk: Desk, *, key: str = "k", digest: str = "d", answer: bytes = b"{}", runner: int = 0) -> Appended:
    return await desk.append_once(
        VENUE, packed(clicks([runner])), key=key, digest=digest, answer=answer, keep_ms=900_000
    )


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


async def test_answer_is_kept_as_long_as_was_asked(store: Store, desk: Desk) -> None:
    await desk.append_once(VENUE, packed(clicks([0])), key="k", digest="d", answer=b"{}", keep_ms=60_000)
    assert 55_000 < store.raw.pttl(KEYS.idempotency("k")) <= 60_000


async def test_forgotten_key_appends_again(store: Store, desk: Desk, client: SyncClient) -> None:
    await append(desk)
    store.raw.delete(KEYS.idempotency("k"))  # as its expiry does
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
    other = await desk.append_once("hall-2", packed(clicks([0])), key="k", digest="x", answer=b"{}", keep_ms=1000)
    assert not other.repeated
    assert len(read_after(client, VenueKeys("hall-2"), START)) == 1


@pytest.mark.parametrize("executed", [True, False])
async def test_repeat_after_a_lost_append_leaves_one_entry(
    lossy: LossyStore, client: SyncClient, *, executed: bool
) -> None:
    connected = lossy.async_client()
    desk = Desk(connected)
    await append(desk, key="before")  # loads the script, so that EVALSHA is what gets lost
    for index in range(10):
        lossy.fault.lose("EVALSHA", executed=executed)
        with pytest.raises(StoreUnavailableError):
            await append(desk, key=f"k-{index}", answer=b"first")
        again = await append(desk, key=f"k-{index}", answer=b"second")
        assert again.repeated is executed
        assert again.answer == (b"first" if executed else b"second")
    assert lossy.fault.lost == 10
    assert log_length(client) == 11
    await connected.aclose()


async def test_batch_comes_out_of_the_log_as_it_went_in(desk: Desk, client: SyncClient) -> None:
    body = packed(clicks(range(1000)))
    await desk.append(VENUE, body)
    await desk.append_once(VENUE, body, key="k", digest="d", answer=b"{}", keep_ms=1000)
    for entry in read_after(client, KEYS, START):
        assert entry.body.pack() == body  # type: ignore[union-attr]  # it is a batch of events
