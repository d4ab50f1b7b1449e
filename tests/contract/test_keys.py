"""The keys: each of a venue's in one slot of a cluster, under its documented name, with its documented type."""

from __future__ import annotations

import re

import pytest
import redis.crc

from racing.entries import Runner
from racing.orders import Freeze
from racing.rule import DEFAULT_RULE
from racing.store.desk import Desk
from racing.store.documents import Plan
from racing.store.keys import SECRET, VENUES, VenueKeys
from racing.store.orders import Orders, Wanted
from racing.store.plans import Plans
from racing.store.protocol import SyncClient
from tests.contract.appends import append, append_once
from tests.contract.servers import Store
from tests.contract.track import Track, clicks, packed

TYPES = {"string": "string", "hash": "hash", "stream": "stream", "sorted set": "zset"}


async def use_everything(desk: Desk, store: Store, venue: str) -> None:
    """All that the API and a scorer do to a venue."""
    keys = VenueKeys(venue)
    await desk.secret()
    await desk.venues.create(venue, "title", DEFAULT_RULE, author="a")
    await desk.runners.enrol(venue, [Runner("a", "m", "t"), Runner("b", "m", "t")])
    await append(desk, venue, packed(clicks([0])))
    await append_once(desk, venue, packed(clicks([1])), key="k", digest="d", answer=b"{}")
    await desk.rules.put(venue, DEFAULT_RULE, after=1, author="a", note="")
    order = Freeze(kind="freeze", id="freeze")
    await Orders(desk, desk.client).decide(venue, lambda _: Wanted(put=[order], author="a"))
    await Plans(desk, desk.client).put(venue, Plan("night", note="n"), author="a")
    store.raw.eval(store.script("hold_lease"), 1, keys.lease, "me", 60_000)
    track = Track(store.client(), venue=venue)
    track.now_ms = int(store.raw.xrevrange(keys.log, count=1)[0][0].split(b"-")[0])
    track.settle(track.owner())


@pytest.mark.parametrize("venue", ["hall-1", "a", "A.b_c-9", "x" * 64])
async def test_every_key_of_a_venue_lies_in_one_slot(desk: Desk, store: Store, venue: str) -> None:
    await use_everything(desk, store, venue)
    found = [key.decode() for key in store.raw.scan_iter(count=1000)]
    own = [key for key in found if key.startswith(f"saima:{{{venue}}}:")]
    assert sorted(set(found) - set(own)) == sorted([VENUES, SECRET])
    assert len({redis.crc.key_slot(key.encode()) for key in own}) == 1
    assert len(own) >= 15


async def test_two_venues_share_no_key(desk: Desk, store: Store) -> None:
    await use_everything(desk, store, "hall-1")
    first = set(store.raw.scan_iter(count=1000))
    await use_everything(desk, store, "hall-2")
    second = set(store.raw.scan_iter(count=1000)) - first
    assert {key.replace(b"{hall-2}", b"{hall-1}") for key in second} == first - {VENUES.encode(), SECRET.encode()}


async def test_every_key_has_the_type_that_its_name_documents(desk: Desk, store: Store, client: SyncClient) -> None:
    await use_everything(desk, store, "hall-1")
    keys = VenueKeys("hall-1")
    documented = {
        getattr(keys, name): str(member.__doc__)
        for name, member in vars(VenueKeys).items()
        if isinstance(member, property)
    }
    documented |= {
        **{keys.sums(what, "click:count"): str(VenueKeys.sums.__doc__) for what in ("window", "delta", "total")},
    }
    found = {key.decode() for key in store.raw.scan_iter(count=1000)} - {VENUES, SECRET}
    assert len(found) >= 15
    for key in found:
        text = documented[key]
        told = re.match(r"[a-z ]+?(?= with expiry|:)", text)
        assert told is not None, text
        assert client.type(key).decode() == TYPES[told.group()], f"{key}: {text}"
        assert (store.raw.ttl(key) > 0) == ("with expiry" in text.partition(":")[0]), f"{key}: {text}"
