"""What admission goes by, and how room is made: held against every kind of server."""

from __future__ import annotations

from typing import Any

import pytest

from racing.model import START, Position
from racing.store.checkpoints import Chain
from racing.store.desk import Desk
from racing.store.documents import RuleVersion, encode_version
from racing.store.keys import VenueKeys
from racing.store.load import memory_of, read_loads, read_memory
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from racing.store.relief import PRESSED_SHARE, MemoryWatch, relieve
from tests.contract import appends
from tests.contract.servers import RealStore
from tests.contract.track import CLICKS, clicks, packed

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)


@pytest.fixture
def real_client(real_store: RealStore) -> SyncClient:
    return real_store.client()


def test_a_bound_of_the_server_goes_before_the_one_given_and_that_before_the_machine() -> None:
    machine = {"used_memory": 10, "maxmemory": 0, "total_system_memory": 1_000}
    assert memory_of({**machine, "maxmemory": 100}, 5).bound_bytes == 100
    assert memory_of(machine, 5).bound_bytes == 5_000_000
    assert memory_of(machine).bound_bytes == 1_000
    assert memory_of({"used_memory": 10}).share == 0.0


async def test_age_of_the_oldest_entry_that_is_not_folded_is_told(real_store: RealStore) -> None:
    client = real_store.async_client()
    desk = Desk(client)
    first = await appends.append(desk, VENUE, packed(clicks([0])))
    last = await appends.append(desk, VENUE, packed(clicks([0])))
    old = Position(Position.parse(first).ms - 60_000, 0)
    real_store.raw.xadd("saima:{hall-2}:log", {b"tick": b""})
    loads = await read_loads(client, [(VENUE, START), ("hall-2", Position.parse(last)), ("hall-3", old)], 0)
    assert 0 <= loads[VENUE].ahead_ms < 60_000
    assert loads["hall-3"].ahead_ms == 0
    assert loads[None].memory.used_bytes > 100_000
    assert (await read_loads(client, [(VENUE, Position.parse(last))], 0))[VENUE].ahead_ms == 0
    await client.aclose()


def test_room_is_wanted_from_a_part_of_the_bound_on(real_store: RealStore, real_client: SyncClient) -> None:
    used = read_memory(real_client).used_bytes
    for bound, pressed in ((int(1.2 * used / PRESSED_SHARE), False), (int(0.9 * used / PRESSED_SHARE), True)):
        real_store.raw.config_set("maxmemory", bound)
        assert MemoryWatch(0).pressed(real_client) is pressed
    real_store.raw.config_set("maxmemory", 0)
    real_client.close()


async def test_a_server_that_does_not_tell_its_memory_shuts_no_way(real_store: RealStore) -> None:
    """A user of its own without the right to; what is not folded is told all the same."""
    real_store.raw.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">word", "+@all", "-@dangerous", "~*")
    first = real_store.async_client()
    await appends.append(Desk(first), VENUE, packed(clicks([0])))
    await first.aclose()
    client: Any = real_store.async_client()
    sync: Any = real_store.client()
    client.connection_pool.connection_kwargs.update(username="plain", password="word")  # not a secret
    loads = await read_loads(client, [(VENUE, START)], 1)
    assert loads[None].memory.share == 0.0
    assert loads[VENUE].ahead_ms >= 0
    await client.aclose()
    sync.execute_command("AUTH", "plain", "word")
    assert MemoryWatch(1).pressed(sync) is False
    sync.close()


async def test_a_server_that_takes_no_writes_lets_the_log_go_up_to_the_full_checkpoint_before_the_last(
    real_store: RealStore, real_client: SyncClient
) -> None:
    """And the lease can still be renewed."""
    for ms in range(1_000, 2_000):
        real_store.raw.xadd(KEYS.log, {b"events": bytes(200)}, id=f"{ms}-0")
    for ms, kind in ((1_000, "full"), (1_400, "full"), (1_700, "part"), (1_800, "full")):
        real_store.raw.hset(KEYS.checkpoints, f"{ms:015d}-{0:010d}:{kind}", b"record")
    real_store.raw.hdel(KEYS.checkpoints, f"{1_000:015d}-{0:010d}:full")
    real_store.raw.hset(KEYS.rules, mapping={"current": "1", "1": encode_version(RuleVersion(1, CLICKS, "", "", 0))})
    real_store.raw.config_set("maxmemory", 1)
    try:
        assert relieve(real_client, KEYS, START) == 0
        assert relieve(real_client, KEYS, Position(1_300, 0)) > 0
        assert 1_200 < read_after(real_client, KEYS, START)[0].position.ms <= 1_300
        assert relieve(real_client, KEYS, None) > 0
        assert 1_300 < read_after(real_client, KEYS, START)[0].position.ms <= 1_400
        assert real_client.eval(real_store.script("hold_lease"), 1, KEYS.lease, "one", 1_000) == 1
    finally:
        real_store.raw.config_set("maxmemory", 0)
        real_client.close()


# -- records -------------------------------------------------------------------------------------------------


def chain_of(*names: str) -> Chain:
    return Chain([(f"{int(name.split(':')[0]):015d}-{0:010d}:{name.split(':')[1]}", 1) for name in names])


def test_records_go_that_neither_a_restart_nor_the_next_segment_begins_with() -> None:
    """Those that were held for a segment when the last full one came, and are in one since."""
    chain = chain_of("1:full", "2:part", "3:full", "5:full", "6:part", "7:full", "8:part")
    assert chain.prune(START) == []
    gone = chain.prune(Position(3, 0))
    assert [name.split("-")[0].lstrip("0") for name in gone] == ["1", "2"]
    assert chain.prune(Position(7, 0)) != []
    assert [name.split("-")[0].lstrip("0") for name, _ in chain.records] == ["5", "6", "7", "8"]
    assert chain.trim_ms() == 5
    assert chain.prune(None) == []


def test_a_full_record_is_wanted_for_room_as_soon_as_two_windows_have_passed() -> None:
    chain = chain_of("1000:full", "1500:part")
    assert not chain.full_wanted(1_999, 1_000, pressed=True)
    assert not chain.full_wanted(2_000, 1_000)
    assert chain.full_wanted(2_000, 1_000, pressed=True)


def test_full_records_are_made_before_their_time_where_events_are_refused_while_few_are_held() -> None:
    few = chain_of("1000:full", "1500:full", "1600:full", "1700:part")
    many = chain_of("1000:full", "1500:full", "1600:full", "1700:full", "1800:part")
    assert few.full_wanted(1_800, 1_000, pressed=True, tight=True)
    assert not many.full_wanted(1_900, 1_000, pressed=True, tight=True)
