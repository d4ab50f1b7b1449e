"""Hashes of products, runners and rules that a server has loaded wrongly: found at recovery, mended from the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from racing.decisions import Decision
from racing.entries import Runner
from racing.errors import CorruptRecordError
from racing.orders import parse_order
from racing.rule import parse_rule
from racing.store import reads
from racing.store.commit import Committer
from racing.store.desk import Desk
from racing.store.documents import (
    OrderDocument,
    Plan,
    RuleVersion,
    decode_order,
    decode_plan,
    decode_runner,
    decode_version,
    encode_order,
    encode_plan,
    encode_runner,
    encode_version,
)
from racing.store.keys import ORDERS_LAST
from racing.store.orders import Orders, Wanted
from racing.store.plans import Plans
from racing.store.protocol import SyncClient
from tests.contract.track import CLICKS, Track
from tests.laws.logs import rule_of

DOUBLE = rule_of({"metric": "click", "signal": "level", "weight": 2}, board={"slots": 3})
RUNNER = Runner("p-1", "m-1", "Title", price=5, attributes={"new": True})
VERSION = RuleVersion(1, CLICKS, "author", "note", 5)


# -- documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "decode"),
    [
        (encode_runner(RUNNER), decode_runner),
        (encode_version(VERSION), decode_version),
        (encode_order(OrderDocument("5-0", "me", {"kind": "freeze", "id": "hold"})), decode_order),
        (encode_plan(Plan("night", put=[{"kind": "freeze", "id": "hold"}])), decode_plan),
    ],
    ids=["runner", "version", "order", "plan"],
)
def test_no_bit_of_a_document_is_flipped_unseen(store: object, raw: bytes, decode: Callable[[bytes], object]) -> None:
    """What is read is what was written, or nothing."""
    right = decode(raw)
    for place in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        try:
            assert decode(bytes(flipped)) == right, place
        except CorruptRecordError:
            continue


def test_documents_of_an_older_saima_are_believed(store: object) -> None:
    assert decode_runner(msgspec.json.encode(RUNNER)) == RUNNER
    assert decode_version(msgspec.json.encode(VERSION)) == VERSION


# -- recovery ------------------------------------------------------------------------------------------------


@pytest.fixture
async def track(desk: Desk, client: SyncClient) -> Track:
    """Three runners and two rule versions, all of it folded; then the server begins another run."""
    await desk.venues.create("hall-1", "Hall 1", parse_rule(CLICKS), author="test")
    made = Track(client)
    await desk.runners.enrol("hall-1", [Runner(f"p-{index}", "m", f"Title {index}") for index in range(3)])
    await desk.rules.put("hall-1", parse_rule(DOUBLE), after=1, author="test", note="")
    owner = made.owner()
    made.now_ms = owner.race.moment_ms
    made.settle(owner)
    made.raw.delete(made.keys.sets_run)
    return made


def held(track: Track) -> list[dict[bytes, bytes]]:
    return [track.raw.hgetall(key) for key in (track.keys.products, track.keys.runners)]


def in_runner(raw: Any, track: Track) -> None:
    right = raw.hget(track.keys.runners, "1")
    raw.hset(track.keys.runners, "1", right.replace(b"Title 1", b"Title 9"))


def renamed(key: str, name: str, wrong: str) -> Callable[[Any, Track], None]:
    def change(raw: Any, track: Track) -> None:
        where = getattr(track.keys, key)
        raw.hset(where, wrong, raw.hget(where, name))
        raw.hdel(where, name)

    return change


def lost(key: str, name: str) -> Callable[[Any, Track], None]:
    return lambda raw, track: raw.hdel(getattr(track.keys, key), name)


def given(key: str, name: str, value: str) -> Callable[[Any, Track], None]:
    return lambda raw, track: raw.hset(getattr(track.keys, key), name, value)


@pytest.mark.parametrize(
    "damage",
    [
        in_runner,
        renamed("runners", "1", "q"),
        renamed("runners", "1", "0"),
        lost("runners", "2"),
        given("products", "p-1", "2"),
        given("products", "p-1", "s"),
        renamed("products", "p-1", "q-1"),
        lost("products", "p-1"),
    ],
)
def test_runners_and_their_numbers_are_as_they_were_enrolled(
    track: Track, damage: Callable[[Any, Track], None]
) -> None:
    right = held(track)
    damage(track.raw, track)
    assert held(track) != right
    with capture_logs() as lines:
        track.owner()

    assert held(track) == right
    assert [line["left"] for line in lines if line["event"].startswith("hashes damaged")] == [()]


@pytest.mark.parametrize(
    "damage",
    [
        given("rules", "current", "1"),
        given("rules", "current", "\x12"),
        given("rules", "current", "9"),
        lost("rules", "current"),
        lost("rules", "2"),
        given("rules", "highest", "1"),
        given("rules", "highest", "r"),
        renamed("rules", "2", "6"),
        renamed("rules", "1", "2"),
        lambda raw, track: raw.hset(
            track.keys.rules, "2", raw.hget(track.keys.rules, "2").replace(b'"weight":2', b'"weight":3')
        ),
    ],
)
def test_rule_versions_are_as_they_were_made(track: Track, damage: Callable[[Any, Track], None]) -> None:
    before = track.raw.hgetall(track.keys.rules)
    damage(track.raw, track)
    assert track.raw.hgetall(track.keys.rules) != before
    track.owner()

    after = track.raw.hgetall(track.keys.rules)
    assert after.keys() == before.keys()
    assert after[b"current"] == b"2"
    assert [decode_version(after[name]).rule for name in (b"1", b"2")] == [
        decode_version(before[name]).rule for name in (b"1", b"2")
    ]
    assert reads.current_rule(track.client, track.keys).version == 2


# -- the desk ------------------------------------------------------------------------------------------------

HOLD = parse_order({"kind": "freeze", "id": "hold"})
PIN = parse_order({"kind": "pin", "id": "hero", "product": "p-1", "slot": 1})
ENDED = parse_order({"kind": "pin", "id": "past", "product": "p-2", "slot": 2, "end_ms": 1})


@pytest.fixture
async def desked(desk: Desk, track: Track) -> Track:
    """Three orders, one of which the race has forgotten, and a plan; one order more and one plan are gone again."""
    orders, plans = Orders(desk, desk.client), Plans(desk, desk.client)

    async def decide(wanted: Wanted) -> None:
        await orders.decide("hall-1", lambda _: wanted)

    await decide(Wanted(put=[HOLD, PIN, ENDED], author="me"))
    await decide(Wanted(put=[parse_order({"kind": "freeze", "id": "gone"})], author="me"))
    await decide(Wanted(withdraw=["gone"], author="you"))
    await plans.put("hall-1", Plan("night", put=[{"kind": "freeze", "id": "hold"}], note="n"), author="me")
    await plans.put("hall-1", Plan("gone"), author="me")
    await plans.drop("hall-1", "gone", author="me")
    owner = track.owner()
    track.now_ms = owner.race.moment_ms
    track.settle(owner)
    track.raw.delete(track.keys.sets_run)
    return track


def read_back(track: Track) -> list[Any]:
    """What the hashes of the desk hold."""
    raws = track.raw.hgetall(track.keys.orders)
    last = raws.pop(ORDERS_LAST.encode(), None)
    plans = {name: decode_plan(raw) for name, raw in track.raw.hgetall(track.keys.plans).items()}
    return [last, {name: decode_order(raw) for name, raw in raws.items()}, plans]


def flipped(key: str, name: str, right: bytes, wrong: bytes) -> Callable[[Any, Track], None]:
    def change(raw: Any, track: Track) -> None:
        held = raw.hget(getattr(track.keys, key), name)
        assert right in held
        raw.hset(getattr(track.keys, key), name, held.replace(right, wrong))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        flipped("orders", "hero", b'"slot":1', b'"slot":3'),
        flipped("orders", "hero", b'"who":"me"', b'"who":"mf"'),
        flipped("orders", "hero", b'{"entry', b'["entry'),
        flipped("orders", "past", b'"slot":2', b'"slot":3'),
        renamed("orders", "hero", "her\x7f"),
        renamed("orders", "hero", "hold"),
        renamed("orders", "past", "p\xe1st"),
        lost("orders", "hero"),
        given("orders", "@last", "1-1"),
        given("orders", "@last", "\x12"),
        flipped("plans", "night", b'"note":"n"', b'"note":"o"'),
        flipped("plans", "night", b'"id":"night"', b'"id":"nigh4"'),
        renamed("plans", "night", "nigh4"),
    ],
)
def test_orders_and_plans_are_as_they_were_decided(desked: Track, damage: Callable[[Any, Track], None]) -> None:
    right = read_back(desked)
    damage(desked.raw, desked)
    with capture_logs() as lines:
        desked.owner()

    assert read_back(desked) == right
    (told,) = [line for line in lines if line["event"].startswith("hashes damaged")]
    assert all(name.endswith(("\x7f", "nigh4", "\xe1st")) for name in told["left"]), told


async def test_a_damaged_order_is_refused_and_a_damaged_plan_can_be_saved_anew_or_deleted(
    desk: Desk, desked: Track
) -> None:
    orders, plans = Orders(desk, desk.client), Plans(desk, desk.client)
    flipped("orders", "hero", b'"slot":1', b'"slot":3')(desked.raw, desked)
    flipped("plans", "night", b'"note":"n"', b'"note":"o"')(desked.raw, desked)
    with pytest.raises(CorruptRecordError, match="saima mend"):
        await orders.read("hall-1")
    assert await plans.all("hall-1") == []
    with pytest.raises(CorruptRecordError, match="saima mend"):
        await plans.read("hall-1", "night")
    assert await plans.put("hall-1", Plan("night"), author="me")
    assert await plans.read("hall-1", "night") == Plan("night", who="me")
    flipped("plans", "night", b'"id":"night"', b'"id":"nigh4"')(desked.raw, desked)
    await plans.drop("hall-1", "night", author="me")
    assert desked.raw.exists(desked.keys.plans) == 0


def test_an_order_that_nothing_tells_of_is_not_in_force_and_goes(desked: Track) -> None:
    desked.raw.delete(desked.keys.decisions)
    flipped("orders", "past", b'"slot":2', b'"slot":3')(desked.raw, desked)
    flipped("orders", "hero", b'"slot":1', b'"slot":3')(desked.raw, desked)
    flipped("plans", "night", b'"note":"n"', b'"note":"o"')(desked.raw, desked)
    with capture_logs() as lines:
        desked.owner()

    assert [line["left"] for line in lines if line["event"].startswith("hashes damaged")] == [
        ("order past", "plan night")
    ]
    _, orders, plans = read_back(desked)
    assert (sorted(orders), plans) == ([b"hero", b"hold"], {})
    assert orders[b"hero"].parsed() == PIN


async def test_what_the_desk_decides_before_it_is_folded_is_left_alone(desk: Desk, desked: Track) -> None:
    """The race still has the order that was withdrawn, and the pin as it was."""
    moved = parse_order({"kind": "pin", "id": "hero", "product": "p-1", "slot": 2})
    await Orders(desk, desk.client).decide("hall-1", lambda _: Wanted(put=[moved], withdraw=["hold"], author="me"))
    right = read_back(desked)
    with capture_logs() as lines:
        desked.owner()
    assert read_back(desked) == right
    assert not [line for line in lines if line["log_level"] == "error"]

    desked.raw.delete(desked.keys.sets_run)
    flipped("orders", "hero", b'"slot":2', b'"slot":3')(desked.raw, desked)
    desked.owner()
    assert read_back(desked) == right


def test_hashes_are_held_against_the_race_whenever_somebody_asks_for_it(track: Track) -> None:
    """As `saima mend` does, in the same run of the server."""
    right = held(track)
    owner = track.owner()
    track.now_ms = owner.race.moment_ms
    track.settle(owner)
    in_runner(track.raw, track)
    Committer(track.client, track.keys).take_over(compare=True)
    track.owner()

    assert held(track) == right


def test_sound_hashes_are_left_alone(track: Track) -> None:
    with capture_logs() as lines:
        track.owner()

    assert not [line for line in lines if line["log_level"] == "error"]


async def test_data_that_nothing_tells_of_is_left_and_told_and_not_shown(
    desk: Desk, track: Track, client: SyncClient
) -> None:
    """The log begins after the enrolment, and there are no files."""
    owner = track.owner()
    track.now_ms = owner.race.moment_ms
    track.click(0, after_ms=2000)
    track.settle(owner)
    track.raw.delete(track.keys.sets_run)
    track.raw.xtrim(track.keys.log, maxlen=1, approximate=False)
    in_runner(track.raw, track)
    with capture_logs() as lines:
        track.owner()

    assert [line["left"] for line in lines if line["event"].startswith("hashes damaged")] == [("runner 1",)]
    assert sorted(await desk.runners.by_number("hall-1", [0, 1, 2])) == [0, 2]
    with pytest.raises(CorruptRecordError):
        await desk.runners.find("hall-1", "p-1")


async def test_enrolments_and_rules_that_are_not_folded_yet_are_left_alone(desk: Desk, track: Track) -> None:
    await desk.runners.enrol("hall-1", [Runner("p-9", "m", "Title")])
    found = await desk.runners.find("hall-1", "p-1")
    assert found is not None
    changed = msgspec.structs.replace(found[0], title="Other")
    assert await desk.runners.change("hall-1", changed, read=found[1], author="test")
    found = await desk.runners.find("hall-1", "p-2")
    assert found is not None
    put_in = Runner("p-8", "m", "Title")
    assert await desk.runners.swap("hall-1", "p-2", put_in, read=found[1], decision=Decision("test", "swap"))
    await desk.rules.put("hall-1", parse_rule(CLICKS), after=2, author="test", note="")
    right = held(track), track.raw.hgetall(track.keys.rules)
    track.owner()

    assert (held(track), track.raw.hgetall(track.keys.rules)) == right
