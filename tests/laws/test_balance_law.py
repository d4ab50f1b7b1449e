"""The books balance: every event of every folded entry has one fate; and a log's checksum names its bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.columns import pack, unpack
from racing.entries import (
    DECISION_FIELD,
    EVENTS_FIELD,
    SUM_FIELD,
    Enrolment,
    Entry,
    RuleChange,
    Unreadable,
    entry_from,
    sum_of,
)
from racing.entries import encode_decision as encoded
from racing.events import EventBatch
from racing.race import Race
from tests.laws.logs import Log, entries_of, law, logs, raced

Raw = tuple[bytes, dict[bytes, bytes]]


def raws_of(log: Log) -> list[Raw]:
    """A log as the stream holds it."""
    return [(str(entry.position).encode(), _fields(entry)) for entry in entries_of(log)]


def _fields(entry: Entry) -> dict[bytes, bytes]:
    body = entry.body
    if isinstance(body, EventBatch):
        return {EVENTS_FIELD: body.pack()}
    if isinstance(body, (RuleChange, Enrolment)):
        return {DECISION_FIELD: encoded(body), SUM_FIELD: sum_of(encoded(body))}
    return {b"other": b"1"} if isinstance(body, Unreadable) else {b"tick": b"1"}


def folded(raws: list[Raw]) -> Race:
    """The race of a stream."""
    return raced([entry_from(*raw) for raw in raws])


@law(60)
@given(logs(entries=12), st.data())
def test_accepted_events_are_those_with_a_fate_after_every_entry_and_restart(log: Log, data: st.DataObject) -> None:
    """accepted = counted + late + future + duplicate + unknown; what is not folded yet is in flight."""
    race, accepted = Race(), 0
    for entry in entries_of(log):
        race.apply([entry])
        accepted += len(entry.body) if isinstance(entry.body, EventBatch) else 0
        if data.draw(st.booleans()):
            race = Race.restore([race.checkpoint(full=True)[0]])

        assert accepted == race.counts.accepted == race.counts.settled()


@law(40)
@given(logs(entries=10), st.data())
def test_a_checksum_of_a_log_is_the_same_however_it_was_read(log: Log, data: st.DataObject) -> None:
    entries = [entry_from(*raw) for raw in raws_of(log)]
    race = Race()
    while entries:
        several = data.draw(st.integers(1, len(entries)))
        race.apply(entries[:several])
        entries = entries[several:]
        if data.draw(st.booleans()):
            race = Race.restore([race.checkpoint(full=True)[0]])

    assert race.log_sum == folded(raws_of(log)).log_sum


@law(60)
@given(logs(entries=8), st.data())
def test_any_other_byte_is_another_checksum(log: Log, data: st.DataObject) -> None:
    """Of a batch, a decision, a tick or a field's name; and a decision of other bytes is none."""
    raws = raws_of(log)
    at = data.draw(st.integers(0, len(raws) - 1))
    name, fields = raws[at]
    flat = [part for pair in fields.items() for part in pair]
    which = data.draw(st.integers(0, len(flat) - 1))
    flat[which] = _flipped(flat[which], data)
    raws[at] = (name, dict(zip(flat[::2], flat[1::2], strict=True)))

    assert folded(raws).log_sum != folded(raws_of(log)).log_sum
    assert isinstance(entry_from(*raws[at]).body, Unreadable) or fields.keys() <= {b"tick", b"other"}


@law(30)
@given(logs(entries=8), st.data())
def test_an_entry_that_is_lost_or_moved_is_another_checksum(log: Log, data: st.DataObject) -> None:
    raws = raws_of(log)
    at = data.draw(st.integers(0, len(raws) - 1))
    lost = raws[:at] + raws[at + 1 :]
    moved = [*lost, (f"{int(raws[-1][0].partition(b'-')[0]) + 1}-0".encode(), raws[at][1])]

    assert folded(raws).log_sum not in {folded(lost).log_sum, folded(moved).log_sum}


def _flipped(part: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(part) - 1))
    return part[:at] + bytes([part[at] ^ data.draw(st.integers(1, 255))]) + part[at + 1 :]


@pytest.mark.parametrize("missing", ["log_sum", "accepted"])
def test_a_checkpoint_of_before_there_were_checksums_is_restored_and_begins_with_one(missing: str) -> None:
    """What it did not count then is what had a fate; a checksum begins with the next full checkpoint."""
    race = _checkpointed_without(missing)

    assert 2 == race.counts.accepted == race.counts.settled()
    assert (race.log_sum is None) == (missing == "log_sum")
    race.checkpoint(full=True)
    assert race.log_sum is not None


def _checkpointed_without(missing: str) -> Race:
    log: Log = [
        (1_800_000_000_000, {"enrol": {0: {}}}),
        (1_800_000_000_001, {"events": [{"type": "click", "runner": runner} for runner in (0, 7)]}),
    ]
    header, columns = unpack(folded(raws_of(log)).checkpoint(full=True)[0])
    kept: dict[str, Any] = {name: value for name, value in header.items() if name != missing}
    kept["counts"] = {name: value for name, value in header["counts"].items() if name != missing}
    return Race.restore([pack(kept, columns)])
