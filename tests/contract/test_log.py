"""The log as its owner reads it: in order, bounded, and never stopped by an entry that cannot be read."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from racing.entries import DECISION_FIELD, EVENTS_FIELD, Enrolment, RuleChange, Tick, Unreadable
from racing.events import EventBatch
from racing.model import START, Position
from racing.store.log import READ_MAX, append_tick, entries_between, first_position, read_after
from racing.store.protocol import SyncClient
from tests.contract.servers import Store
from tests.contract.track import CLICKS, Track, clicks, packed


@pytest.fixture
def track(client: SyncClient) -> Track:
    return Track(client)


@pytest.mark.parametrize(
    "fields",
    [
        {b"other": b"1"},
        {b"": b""},
        {EVENTS_FIELD: b""},
        {EVENTS_FIELD: packed(clicks([1]))[:-1]},
        {EVENTS_FIELD: packed(clicks([1]))[:-1] + b"\xff"},
        {DECISION_FIELD: b"{"},
        {DECISION_FIELD: b'{"type":"abdicate"}'},
        {DECISION_FIELD: b'{"type":"rule","version":"two"}'},
        {DECISION_FIELD: b'{"type":"enrol","runners":[[-1,{}]]}'},
    ],
)
def test_entry_that_cannot_be_decoded_comes_as_unreadable(track: Track, fields: dict[bytes, bytes]) -> None:
    track.raw.xadd(track.keys.log, fields)
    track.raw.xadd(track.keys.log, {EVENTS_FIELD: packed(clicks([1]))})
    bad, good = read_after(track.client, track.keys, START)
    assert isinstance(bad.body, Unreadable)
    assert bad.body.reason
    assert isinstance(good.body, EventBatch)


def test_empty_log_has_no_entries_and_no_beginning(track: Track) -> None:
    assert read_after(track.client, track.keys, START) == []
    assert list(entries_between(track.client, track.keys, START, Position(5, 0))) == []
    assert first_position(track.client, track.keys) is None


def test_entries_come_in_the_order_written_each_with_its_position(track: Track) -> None:
    bodies: list[dict[str, Any]] = [
        {"rule": CLICKS},
        {"enrol": {0: {}}},
        clicks([0]),
        {"tick": True},
        {"unreadable": True},
        clicks([0]),
    ]
    written = [track.write(body, after_ms=7 * (index % 2)) for index, body in enumerate(bodies)]
    entries = read_after(track.client, track.keys, START)
    assert [entry.position for entry in entries] == written == sorted(written)
    assert [type(entry.body) for entry in entries] == [RuleChange, Enrolment, EventBatch, Tick, Unreadable, EventBatch]
    assert first_position(track.client, track.keys) == written[0]


def test_reading_goes_on_after_the_last_position_and_is_bounded(track: Track) -> None:
    written = [track.write({"tick": True}) for _ in range(READ_MAX + 10)]
    first = read_after(track.client, track.keys, START)
    assert [entry.position for entry in first] == written[:READ_MAX]
    assert [e.position for e in read_after(track.client, track.keys, first[-1].position)] == written[READ_MAX:]
    assert read_after(track.client, track.keys, written[-1]) == []


def test_entries_between_two_positions_leave_out_the_first_and_hold_the_last(track: Track) -> None:
    written = [track.write({"tick": True}) for _ in range(READ_MAX + 10)]
    batches = list(entries_between(track.client, track.keys, written[0], written[-2]))
    assert [entry.position for batch in batches for entry in batch] == written[1:-1]
    assert max(map(len, batches)) <= READ_MAX


def test_blocking_read_ends_when_an_entry_comes(store: Store, track: Track) -> None:
    reader = store.client()
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(len(read_after(reader, track.keys, START, block_ms=700))))
    waiting.start()
    append_tick(track.client, track.keys)
    waiting.join(timeout=5)
    assert found == [1]
    reader.close()


def test_blocking_read_of_a_still_log_ends_empty(track: Track) -> None:
    assert read_after(track.client, track.keys, START, block_ms=1) == []


def test_tick_appended_twice_is_two_entries_that_say_nothing(track: Track) -> None:
    append_tick(track.client, track.keys)
    append_tick(track.client, track.keys)
    assert [entry.body for entry in read_after(track.client, track.keys, START)] == [Tick(), Tick()]
