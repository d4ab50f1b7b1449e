"""Entries of the log: bodies from their bytes, decisions as JSON, runners' numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from racing.entries import (
    DECISION_FIELD,
    EVENTS_FIELD,
    NUMBER_MAX,
    TICK_FIELD,
    Decision,
    Enrolment,
    OrdersChange,
    RuleChange,
    Runner,
    Tick,
    Unreadable,
    decode_body,
    encode_decision,
)
from racing.errors import NewerFormatError
from racing.events import EventBatch
from racing.formats import FORMAT, format_of
from tests.laws.logs import batch_of


def _runner(**fields: Any) -> Runner:
    return Runner("p-1", "m-1", "Kettle", **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"other": b"x"},
        {EVENTS_FIELD: b""},
        {EVENTS_FIELD: b"{}"},
        {DECISION_FIELD: b""},
        {DECISION_FIELD: b"{"},
        {DECISION_FIELD: b"[]"},
        {DECISION_FIELD: b'{"type":"pin"}'},
        {DECISION_FIELD: b'{"type":"rule","version":"1","rule":{}}'},
        {DECISION_FIELD: b'{"type":"enrol","runners":[[0]]}'},
        {DECISION_FIELD: b'{"type":"enrol","runners":[[0,{"product":"p"}]]}'},
        {DECISION_FIELD: b'{"type":"rule","version":1,"rule":{},"note":"\xff"}'},
        {DECISION_FIELD: b'{"type":"rule","version":1,"rule":{"a":' + b"[" * 200_000},
    ],
    ids=lambda fields: str(fields)[:80],
)
def test_what_cannot_be_read_says_why(fields: dict[bytes, bytes]) -> None:
    body = decode_body(fields)

    assert isinstance(body, Unreadable)
    assert body.reason


def test_a_tick_carries_nothing() -> None:
    assert Tick() == decode_body({TICK_FIELD: b""})


def test_events_are_packed_columns() -> None:
    batch = batch_of([{"runner": 4, "type": "pay", "ts_ms": 9, "amount": 5, "id": "a"}])
    body = decode_body({EVENTS_FIELD: batch.pack()})

    assert isinstance(body, EventBatch)
    assert batch.pack() == body.pack()


@pytest.mark.parametrize(
    "decision",
    [
        RuleChange(version=3, rule={"window_s": 60, "terms": [{"weight": 0.25}]}, author="ann", note="夜场"),
        Enrolment([(0, _runner()), (7, _runner(stock=0, entry_score=2.5, attributes={"a": 1, "b": "x", "c": True}))]),
        Enrolment([]),
        OrdersChange([{"kind": "pin", "id": "a", "product": "p", "slot": 1}], ["b"], author="ann", undoes="5-0"),
    ],
    ids=["rule", "enrolment", "nobody", "orders"],
)
def test_a_decision_is_read_back_as_it_was(decision: Decision) -> None:
    body = decode_body({DECISION_FIELD: encode_decision(decision)})

    assert msgspec.structs.replace(decision, format=FORMAT) == body


@pytest.mark.parametrize("kind", ["rule", "enrol", "a type of tomorrow"])
def test_decision_of_a_newer_saima_is_neither_guessed_at_nor_passed_over(kind: str) -> None:
    raw = msgspec.json.encode({"type": kind, "format": FORMAT + 1, "version": 2, "rule": {}, "runners": []})
    with pytest.raises(NewerFormatError, match=f"has format {FORMAT + 1}, this Saima reads up to {FORMAT}"):
        decode_body({DECISION_FIELD: raw})


def test_decision_says_in_which_format_it_is_written() -> None:
    assert format_of(encode_decision(RuleChange(1, {}))) == FORMAT


def test_decision_logged_before_there_were_formats_is_of_the_first_and_scored_by_the_first_formula() -> None:
    body = decode_body({DECISION_FIELD: b'{"type":"rule","version":1,"rule":{}}'})
    assert body == RuleChange(1, {}, format=1, formula=1)


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({}, {}),
        ({"entry_score": 2.5}, {"entry_score": 2.5}),
        ({"attributes": {"margin": 3, "share": 0.5}}, {"margin": 3.0, "share": 0.5}),
        ({"attributes": {"colour": "red", "new": True}}, {}),
        ({"entry_score": 1.0, "attributes": {"entry_score": 9}}, {"entry_score": 1.0}),
        (
            {"attributes": {"below": -NUMBER_MAX, "at": NUMBER_MAX, "beyond": 2 * NUMBER_MAX}},
            {"below": -1e15, "at": 1e15},
        ),
        ({"attributes": {"a": float("nan"), "b": float("inf"), "c": 10**400}, "entry_score": float("inf")}, {}),
    ],
    ids=str,
)
def test_the_numbers_of_a_runner_are_what_terms_can_weigh(fields: dict[str, Any], numbers: dict[str, float]) -> None:
    """Texts and truth values are none, nor is what would make a score infinite."""
    assert numbers == _runner(**fields).numbers()


@pytest.mark.parametrize("field", ["price", "list_price", "stock"])
@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**63, 10**40])
def test_a_number_that_no_column_could_hold_makes_an_enrolment_unreadable(field: str, value: int) -> None:
    """A damaged log may hold one; the race passes over it, and goes on."""
    raw = f'{{"type":"enrol","runners":[[0,{{"product":"p","merchant":"m","title":"t","{field}":{value}}}]]}}'.encode()
    assert isinstance(decode_body({b"decision": raw}), Unreadable)
