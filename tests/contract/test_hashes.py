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
from racing.rule import parse_rule
from racing.store import reads
from racing.store.commit import Committer
from racing.store.desk import Desk
from racing.store.documents import RuleVersion, decode_runner, decode_version, encode_runner, encode_version
from racing.store.protocol import SyncClient
from tests.contract.track import CLICKS, Track
from tests.laws.logs import rule_of

DOUBLE = rule_of({"metric": "click", "signal": "level", "weight": 2}, board={"slots": 3})
RUNNER = Runner("p-1", "m-1", "Title", price=5, attributes={"new": True})
VERSION = RuleVersion(1, CLICKS, "author", "note", 5)


# -- documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [encode_runner(RUNNER), encode_version(VERSION)], ids=["runner", "version"])
def test_no_bit_of_a_document_is_flipped_unseen(store: object, raw: bytes) -> None:
    """What is read is what was written, or nothing."""
    decode: Callable[[bytes], object] = decode_runner if b"merchant" in raw else decode_version
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
