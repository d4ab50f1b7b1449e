"""Batches of events from JSON: refused whole where they are none, and one by one with reasons."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest import batch_of_lines, decode
from api.taken import MalformedBatchError, Rows
from racing.events import NO_TIME_MS
from tests.unit.api.batches import NOW_MS, decoded, event, sorted_out


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "malformed", "the body is empty"),
        (b"{", "malformed", "the body is not JSON"),
        (b'{"events": []', "malformed", "the body is not JSON"),
        (b'{"events": [{"type": "\xff"}]}', "malformed", "the body is not UTF-8"),
        (b'{"events": [{"product": "\\ud800"}]}', "malformed", "the body is not JSON"),
        (b'{"events": [{"amount": NaN}]}', "malformed", "NaN and Infinity are no numbers in JSON"),
        (b'{"events": [5, {"amount": 01}]}', "malformed", "the body is not JSON"),
        (b'{"events": [5, {"type": "\xff"}]}', "malformed", "the body is not UTF-8"),
        (b'{"events": ' + b"[" * 100_000, "malformed", "nested too deeply"),
        (b'{"events": [{"amount": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "malformed", "nested too deeply"),
        (b"[]", "invalid", 'the body must be {"events": [...]}'),
        (b"null", "invalid", 'the body must be {"events": [...]}'),
        (b"{}", "invalid", "missing required field `events`"),
        (b'{"events": {}}', "invalid", "Expected `array`, got `object`"),
        (b'{"events": [], "venue": "x"}', "invalid", "unknown field `venue`"),
        (b'{"events": []}', "invalid", "a batch of 0 events; send at least one"),
        (b'{"events": [0, 0, 0, 0]}', "too_large", "a batch of 4 events; send at most 3"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(body: bytes, code: str, words: str) -> None:
    with pytest.raises(MalformedBatchError, match=re.escape(words)) as caught:
        decode(body, events_max=3)
    assert caught.value.code == code


def test_as_many_events_as_allowed_are_taken() -> None:
    assert len(decode(b'{"events": [0, 0, 0]}', events_max=3).refused) == 3


def test_a_wrong_event_is_refused_at_its_place_and_the_others_keep_theirs() -> None:
    good = {"type": "click", "product": "p-1"}
    found = decoded(good, {**good, "slot": 0}, good, 5)
    assert found.places == [0, 2]
    assert [each.index for each in found.refused] == [1, 3]
    assert {each.code for each in found.refused} == {"invalid"}


@pytest.mark.parametrize(
    ("given_event", "reason"),
    [
        ({}, "type: is required"),
        ({"type": "click"}, "product: is required"),
        (
            {"colour": 1},
            "colour: no such field; an event has type, product, ts_ms, amount, user, quantity, id, source, ",
        ),
        ({"type": 5, "product": "p"}, "type: must be a text of 1 to 32 characters, not 5"),
        (
            {"type": "click", "product": "a", "id": "a\n"},
            'id: must be 1 to 64 characters out of A-Z a-z 0-9 . _ -, not "a\\n"',
        ),
        (
            {"type": "click", "product": "p", "amount": 1.0},
            "amount: must be a whole number from 0 to 1000000000000, not 1.0",
        ),
        (
            {"type": "click", "product": "p", "user": ""},
            "user: must be a text of 1 to 128 characters; what came is personal and not repeated",
        ),
        (
            {"type": "click", "product": "p", "slot": {"a": 1}},
            'slot: must be a whole number from 1 to 10000, not {"a": 1}',
        ),
        ([1, 2], "event: must be an object, not a list"),
        ("赛马", "event: must be an object, not a text"),
    ],
)
def test_a_reason_names_the_field_and_the_value_and_what_would_be_right(given_event: object, reason: str) -> None:
    (refused,) = decoded(given_event).refused
    assert refused.reason.startswith(reason), refused.reason


@pytest.mark.parametrize(
    "given_event",
    [
        b'{"type":"click","product":"p-1","id":7,"id":"a"}',
        b'{"type":"click","product":"p-1","amount":-1,"amount":1}',
        b'{"type":"","type":"click","product":"p-1"}',
    ],
)
def test_a_field_that_comes_again_after_a_wrong_value_is_refused(given_event: bytes) -> None:
    """Looked at by name, the last value is the only one, and nothing is wrong with it."""
    decoded = decode(b'{"events":[' + given_event + b"]}", events_max=10)

    assert [(each.code, each.reason) for each in decoded.refused] == [
        ("invalid", "event: a field comes more than once")
    ]


def test_a_reason_shows_only_the_beginning_of_what_is_long() -> None:
    for long in (
        {"type": "click", "product": "p" * 9999},
        {"type": "click", "product": "p", "id": "p" * 9999},
        {"type": "t" * 9999, "product": "p"},
        {"x" * 9999: 1},
        {"type": "t", "product": "p", "slot": 10**999},
    ):
        _, (refused,) = sorted_out(decoded(long))
        assert refused.code == "invalid"
        assert len(refused.reason) < 260


def test_lines_are_the_batch_of_their_events() -> None:
    """NDJSON says the same as the JSON batch; empty lines and either line end are fine."""
    lines = b'{"type":"click","product":"p-1"}\r\n\n{"type":"pay","product":"p-2","amount":5}\n'

    events = [{"type": "click", "product": "p-1"}, {"type": "pay", "product": "p-2", "amount": 5}]
    assert decode(json.dumps({"events": events}).encode(), events_max=10) == decode(
        batch_of_lines(lines), events_max=10
    )


@pytest.mark.parametrize("absent", [{}, {"ts_ms": None, "amount": None}])
@pytest.mark.parametrize("more", [{}, {"user": "u-1"}])
def test_what_is_absent_is_so_in_the_log_however_it_is_left_out(absent: dict[str, None], more: dict[str, str]) -> None:
    """Left out or null, in an event of few fields or of many."""
    events = [
        {"type": "click", "product": "p-1", **absent, **more},
        {"type": "click", "product": "p-2", "ts_ms": NOW_MS, "amount": 7, **more},
    ]
    taken, refused = sorted_out(decode(json.dumps({"events": events}).encode(), events_max=10))
    batch = taken.batch(b"secret")
    assert refused == []
    assert batch.time_ms is not None
    assert batch.amount is not None
    assert (batch.time_ms.tolist(), batch.amount.tolist()) == ([NO_TIME_MS, NOW_MS], [0, 7])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b'{"type":"click"}\n{"type":\n', "line 2 "),
        (b'{"type":"click"}],"more":[{}\n', "line 1 "),
        (b'{"type":"click"} {"type":"click"}', "line 1 "),
        (b"\xff", "line 1 "),
    ],
)
def test_a_line_that_is_no_json_is_told_by_its_number(lines: bytes, words: str) -> None:
    """A broken line stops the whole body, so that no other line can be misread."""
    with pytest.raises(MalformedBatchError, match=f"^{words}") as refused:
        batch_of_lines(lines)

    assert "malformed" == refused.value.code


def test_a_wrong_event_on_a_line_is_refused_alone() -> None:
    lines = b'{"type":"click","product":"p-1"}\n{"type":"click","product":"p-1","amount":-1}\n'

    found = decode(batch_of_lines(lines), events_max=10)

    assert Rows.of([event()]) == found.rows
    assert [1] == [each.index for each in found.refused]


@pytest.mark.parametrize("label", ["source", "segment"])
def test_a_label_of_a_wrong_form_is_refused_alone(label: str) -> None:
    """Though labels are looked at once a value, after the batch is decoded."""
    events = [{"type": "click", "product": "p-1", label: value} for value in ("new", "a b", "new")]

    found = decoded(*events)

    assert found.places == [0, 2]
    assert [(each.index, each.reason) for each in found.refused] == [
        (1, f'{label}: must be 1 to 64 characters out of A-Z a-z 0-9 . _ -, not "a b"')
    ]


@pytest.mark.parametrize("name", Rows._fields[4:])
def test_a_batch_is_decoded_whole_also_where_only_the_last_event_has_a_field(name: str) -> None:
    """The decoder tells which field it did not know, in words: were they others, events would be read one by one."""
    value: object = 3 if name in {"quantity", "frame", "slot"} else "new"
    events = [{"type": "click", "product": "p-1"}, {"type": "click", "product": "p-1", name: value}]

    found = decoded(*events)

    assert isinstance(found.places, range)
    assert getattr(found.rows, name) == [None, value]
    others = [column for field, column in found.rows._asdict().items() if field != name]
    assert others == [["click"] * 2, ["p-1"] * 2, *[None] * 9]


_SEGMENTS: list[object] = ["new", "old", "a b", "", None, 5]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["click", "pay", "buy", "", "x" * 33, 5]), "product": st.just("p-1")},
            optional={"user": st.just("u"), "segment": st.sampled_from(_SEGMENTS), "slot": st.sampled_from([1, 0])},
        ),
        min_size=1,
        max_size=4,
    ),
    st.sets(st.sampled_from(["click", "pay", "order"])),
    st.sets(st.sampled_from(["new", "gone"])),
)
def test_kinds_and_segments_that_are_likely_change_nothing_but_the_cost(
    events: list[dict[str, object]], kinds: set[str], segments: set[str]
) -> None:
    """Whether the events are of them or not."""
    body = json.dumps({"events": events}).encode()

    right = decode(body, events_max=10)
    found = decode(body, events_max=10, kinds=tuple(sorted(kinds)), segments=tuple(sorted(segments)))

    assert (found.rows, list(found.places), found.refused) == (right.rows, list(right.places), right.refused)
