"""Bad input never stops a race: it is refused with the reason, counted, and the race goes on as without it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.columns import pack, unpack
from racing.entries import (
    DECISION_FIELD,
    EVENTS_FIELD,
    NUMBERS_AHEAD_MAX,
    Entry,
    RuleChange,
    Unreadable,
    decode_body,
)
from racing.errors import CorruptRecordError
from racing.model import KINDS_MAX, Position
from racing.race import Race
from racing.recount import Recount
from racing.rule import parse_rule
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, batch_of, entries_of, law, logs, raced, rule_of, state

RULE = rule_of(*EVERY_SIGNAL)
_ENROLLED: Log = [(START_MS, {"rule": RULE}), (START_MS, {"enrol": {0: {}, 1: {}}})]
_CLICK: dict[str, Any] = {"runner": 0, "type": "click"}


def _flipped(record: bytes) -> list[bytes]:
    """The record with one byte changed: each byte, by each single bit and by all of them."""
    changed = []
    for index in range(len(record)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            damaged = bytearray(record)
            damaged[index] ^= mask
            changed.append(bytes(damaged))
    return changed


def _undetected(record: bytes) -> list[bytes]:
    found = []
    for damaged in _flipped(record):
        try:
            unpack(damaged)
        except CorruptRecordError:
            continue
        found.append(damaged)
    return found


_COLUMN = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6).map(lambda xs: np.array(xs, np.int64))


@law(40)
@given(
    st.dictionaries(st.text(max_size=4), st.integers(-5, 5), max_size=2),
    st.dictionaries(st.text(max_size=4), _COLUMN, max_size=3),
)
def test_every_changed_byte_of_a_record_is_detected(header: dict[str, int], columns: dict[str, Any]) -> None:
    header.pop("columns", None)

    assert [] == _undetected(pack(header, columns))


def test_every_changed_byte_of_an_empty_record_is_detected() -> None:
    """Nothing follows its header, so that no column could tell that the header's length is wrong."""
    assert [] == _undetected(pack({}, {}))


@law(20)
@given(logs(entries=6), st.data())
def test_a_changed_byte_of_a_checkpoint_keeps_it_from_being_restored(log: Log, data: st.DataObject) -> None:
    record, _ = raced(entries_of(log)).checkpoint()
    damaged = bytearray(record)
    damaged[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(CorruptRecordError):
        Race.restore([bytes(damaged)])


@law(40)
@given(logs(entries=10), st.data())
def test_a_damaged_batch_is_counted_and_the_others_are_folded(log: Log, data: st.DataObject) -> None:
    events = [index for index, (_, body) in enumerate(log) if "events" in body]
    entries = entries_of(log)
    for index in events:
        packed = bytearray(entries[index].body.pack())  # type: ignore[union-attr]  # the oracle's body says so
        if data.draw(st.booleans()):
            packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
            log[index] = (log[index][0], {"unreadable": True})
        entries[index] = Entry(entries[index].position, decode_body({EVENTS_FIELD: bytes(packed)}))

    assert state(raced(entries_of(log))) == state(raced(entries))


_SHORT_BYTES = st.binary(max_size=30)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


_JSON = st.recursive(_SCALARS, _nested, max_leaves=8)


@law(80)
@given(st.lists(st.tuples(st.sampled_from([EVENTS_FIELD, DECISION_FIELD, b"other"]), _SHORT_BYTES), max_size=5))
def test_entries_of_any_bytes_are_counted_and_passed_over(bodies: list[tuple[bytes, bytes]]) -> None:
    race = raced(entries_of(_ENROLLED))
    race.apply(
        Entry(Position(START_MS + 1, index), decode_body({name: value})) for index, (name, value) in enumerate(bodies)
    )

    assert len(bodies) == race.counts.unreadable
    assert 2 == len(race.slots())


@law(80)
@given(_JSON, st.sampled_from(["terms", "metrics", "window_s", "bucket_s", "board", "lateness_s", "whole"]))
def test_a_rule_of_any_json_never_stops_the_race(value: Any, field: str) -> None:
    """It is taken if it is a rule, else counted as unreadable; the rule before it holds on."""
    race = raced(entries_of(_ENROLLED))
    document = {**RULE, field: value} if field != "whole" else value
    body = decode_body({DECISION_FIELD: json.dumps({"type": "rule", "version": 7, "rule": document}).encode()})
    race.apply([Entry(Position(START_MS + 5, 0), body)])

    assert (race.rule_version, race.counts.unreadable) in {(7, 0), (0, 1)}
    assert 2 == len(race.slots())


@pytest.mark.parametrize("terms", [["x"], [1], [None], [[]], [{}], "x", {}], ids=repr)
def test_a_rule_whose_terms_are_no_terms_is_counted_and_passed_over(terms: Any) -> None:
    race = raced(entries_of([*_ENROLLED, (START_MS + 1, {"rule": {**RULE, "terms": terms}})]))

    assert 1 == race.counts.unreadable
    assert 0 == race.rule_version


def test_events_of_unknown_runners_are_counted_and_change_nothing() -> None:
    events = [{**_CLICK, "runner": 2}, {**_CLICK, "runner": 10**9}, {**_CLICK, "runner": 1}]
    race = raced(entries_of([*_ENROLLED, (START_MS, {"events": events})]))

    assert (1, 2) == (race.counts.counted, race.counts.unknown_runner)


def test_kinds_beyond_the_bound_are_counted_and_change_nothing() -> None:
    """A race keeps measures for KINDS_MAX kinds; the built-in ones and the rule's are among them."""
    race = raced(entries_of(_ENROLLED))
    known = len(race.kinds)
    many = [{**_CLICK, "type": f"kind_{index}"} for index in range(KINDS_MAX)]
    entries = entries_of([*_ENROLLED, (START_MS + 1, {"events": many}), (START_MS + 2, {"events": many})])
    race.apply(entries)

    assert KINDS_MAX == len(race.kinds)
    assert 2 * (KINDS_MAX - known) == race.counts.counted
    assert 2 * known == race.counts.unknown_kind
    assert state(race) == state(Race.restore([race.checkpoint(full=True)[0]]))


def test_a_rule_that_needs_a_kind_beyond_the_bound_is_refused_and_the_old_one_holds() -> None:
    many = [{**_CLICK, "type": f"kind_{index}"} for index in range(KINDS_MAX)]
    other = {**RULE, "metrics": {**RULE["metrics"], "click": {"event": "one_too_many"}}}
    log: Log = [
        *_ENROLLED,
        (START_MS + 1, {"events": many}),
        (START_MS + 2, {"rule": other}),
        (START_MS + 2, {"events": [_CLICK]}),
    ]
    race = raced(entries_of(log))

    assert 1 == race.counts.unreadable
    assert 0 == race.rule_version
    assert 0 == race.slots()[0].runner


@pytest.mark.parametrize("column", ["kind", "runner"])
def test_a_batch_with_negative_numbers_is_unreadable(column: str) -> None:
    """No sender can make one; counted backwards from the end of an array it would hit another runner."""
    columns: dict[str, Any] = {column: np.array([0, -1], np.int64)}
    body = decode_body({EVENTS_FIELD: replace(batch_of([_CLICK, _CLICK]), **columns).pack()})

    assert isinstance(body, Unreadable)


@pytest.mark.parametrize("number", [-1, 1.5, "0", None])
def test_an_enrolment_under_no_number_is_unreadable(number: Any) -> None:
    runner = {"product": "p", "merchant": "m", "title": "t"}
    decision = json.dumps({"type": "enrol", "runners": [[number, runner]]}).encode()

    assert isinstance(decode_body({DECISION_FIELD: decision}), Unreadable)


@pytest.mark.parametrize("number", [1 + NUMBERS_AHEAD_MAX, 2**31, 2**62, 2**63 - 1])
def test_an_enrolment_far_beyond_all_numbers_given_is_counted_and_passed_over(number: int) -> None:
    """Room for all numbers below it would take more memory than there is, in every owner that folds the log."""
    race = raced([*entries_of(_ENROLLED[:1]), _enrolled(0), _enrolled(number)])

    assert 1 == race.counts.unreadable
    assert ["p"] == race.products


def test_an_enrolment_after_lost_ones_is_folded() -> None:
    """A failover that loses enrolments may leave a gap: numbers are not given again."""
    race = raced([*entries_of(_ENROLLED[:1]), _enrolled(0), _enrolled(NUMBERS_AHEAD_MAX)])

    assert 0 == race.counts.unreadable
    assert NUMBERS_AHEAD_MAX + 1 == len(race.products)


def test_one_entry_may_enrol_more_than_that_if_it_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a backtest does: all products of a file."""
    monkeypatch.setattr("racing.entries.NUMBERS_AHEAD_MAX", 2)
    race = raced([*entries_of(_ENROLLED[:1]), _enrolled(*range(9))])

    assert 0 == race.counts.unreadable
    assert 9 == len(race.products)


def _enrolled(*numbers: int) -> Entry:
    runner = {"product": "p", "merchant": "m", "title": "t"}
    decision = json.dumps({"type": "enrol", "runners": [[number, runner] for number in numbers]}).encode()
    return Entry(Position(START_MS + 1, numbers[0]), decode_body({DECISION_FIELD: decision}))


@pytest.mark.parametrize("version", [-1, 2**53 + 1, 2**64])
def test_a_rule_under_no_version_is_unreadable(version: int) -> None:
    """One beyond 64 bits could not be written into a checkpoint."""
    decision = json.dumps({"type": "rule", "version": version, "rule": RULE}).encode()

    assert isinstance(decode_body({DECISION_FIELD: decision}), Unreadable)


def test_a_recount_passes_over_what_the_race_passes_over() -> None:
    """verify must come to its end on a log with damage that the race has survived."""
    log: Log = [*_ENROLLED, (START_MS + 1, {"rule": {"window_s": 0}}), (START_MS + 2, {"events": [_CLICK]})]
    recount = Recount()
    for entry in [*entries_of(log), _enrolled(2**40)]:
        recount.read(entry)

    assert parse_rule(RULE) == recount.rule
    assert 2 == recount.runners
    assert {("click:count", 0): 1} == recount.sums(START_MS + 2)[0]


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1" + "0" * 400], ids=["huge", "huge below 0", "400 digits"])
def test_an_attribute_too_large_to_score_leaves_the_scores_finite(value: str) -> None:
    """Two such terms of opposite signs would make a score that is not a number."""
    terms = [{"attribute": "x", "weight": 1e6}, {"attribute": "x", "weight": -1e6}]
    runner = f'{{"product":"p","merchant":"m","title":"t","attributes":{{"x":{value}}}}}'
    decision = f'{{"type":"enrol","runners":[[0,{runner}]]}}'
    race = raced(
        [
            Entry(Position(START_MS, 0), RuleChange(version=1, rule=rule_of(*terms))),
            Entry(Position(START_MS, 1), decode_body({DECISION_FIELD: decision.encode()})),
        ]
    )

    assert np.isfinite(race.scores).all()
