"""Packed batches: what is wrong with a column is said by its name, and the door is the one of JSON."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.door import Door
from api.ingest import decode
from api.packed import PackedTaken, decode_packed, packed_schemas, sort_out_packed, take_packed
from api.sent_events import AMOUNT_MAX, TIME_MAX_MS
from api.taken import MalformedBatchError, RefusedEvent
from racing.events import NO_TIME_MS, EventBatch, hash_id, hash_user
from racing.rule import parse_rule

SECRET = bytes(32)
NOW_MS = 1_763_740_805_250
RULE = parse_rule(
    {
        "window_s": 60,
        "bucket_s": 10,
        "clock_skew_s": 5,
        "metrics": {"shares": {"event": "share"}},
        "terms": [{"metric": "shares", "signal": "level", "weight": 1}],
    }
)
NUMBERS = {"p-1": 0, "p-2": 7}
DOOR = Door("hall-1", RULE, {kind: code for code, kind in enumerate(sorted(RULE.kinds()))}, NUMBERS, NOW_MS)
FIRST_MS, LAST_MS = DOOR.times_ms()


def u1(*values: int) -> bytes:
    return np.array(values, "u1").tobytes()


def u4(*values: int) -> bytes:
    return np.array(values, "<u4").tobytes()


def i8(*values: int) -> bytes:
    return np.array(values, "<i8").tobytes()


def body_of(**columns: Any) -> bytes:
    """Two plain events, with these columns in place of theirs; ... leaves one out."""
    plain = {"kinds": ["click", "pay"], "products": ["p-1", "p-2"], "kind": u1(0, 1), "product": u4(1, 0)}
    return msgspec.msgpack.encode({name: value for name, value in {**plain, **columns}.items() if value is not ...})


def sorted_out(**columns: Any) -> tuple[PackedTaken, list[RefusedEvent]]:
    return sort_out_packed(decode_packed(body_of(**columns), events_max=1000), DOOR)


# ------------------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    ("columns", "code", "words"),
    [
        ({"kinds": []}, "invalid", "Expected `array` of length >= 1 - at `$.kinds`"),
        ({"kinds": ["click"] * 65}, "invalid", "Expected `array` of length <= 64 - at `$.kinds`"),
        ({"kinds": [5]}, "invalid", "Expected `str`, got `int` - at `$.kinds[0]`"),
        ({"kinds": ...}, "invalid", "missing required field `kinds`"),
        ({"products": []}, "invalid", "Expected `array` of length >= 1 - at `$.products`"),
        ({"products": None}, "invalid", "at `$.products`"),
        ({"products": ["p"] * 4}, "too_large", "products: a table of 4; send at most 3"),
        ({"kind": ...}, "invalid", "missing required field `kind`"),
        ({"kind": b"", "product": b""}, "invalid", "kind: a batch of 0 events; send 1 to 3"),
        ({"kind": u1(0, 0, 0, 0), "product": u4(0, 0, 0, 0)}, "too_large", "kind: a batch of 4 events; send 1 to 3"),
        ({"kind": u1(0, 2)}, "invalid", "kind: 2 is outside a table of 2"),
        ({"kind": [0, 1]}, "invalid", "Expected `bytes`, got `array` - at `$.kind`"),
        ({"product": u4(0)}, "invalid", "product: must be 8 (2 events of 4) bytes, not 4"),
        ({"product": u4(0, 1, 0)}, "invalid", "product: must be 8 (2 events of 4) bytes, not 12"),
        ({"product": u4(0, 1)[:-1]}, "invalid", "product: must be 8 (2 events of 4) bytes, not 7"),
        ({"product": u4(0, 2)}, "invalid", "product: 2 is outside a table of 2"),
        ({"product": u4(2**32 - 1, 0)}, "invalid", "product: 4294967295 is outside a table of 2"),
        ({"ts_ms": i8(0)}, "invalid", "ts_ms: must be 16 (2 events of 8) bytes, not 8"),
        ({"ts_ms": b""}, "invalid", "ts_ms: must be 16 (2 events of 8) bytes, not 0"),
        ({"amount": i8(0, 0, 0)}, "invalid", "amount: must be 16 (2 events of 8) bytes, not 24"),
        ({"amount": 5}, "invalid", "Expected `bytes | null`, got `int` - at `$.amount`"),
        ({"ids": ["a"]}, "invalid", "ids: must have 2 elements, one an event, not 1"),
        ({"ids": []}, "invalid", "ids: must have 2 elements, one an event, not 0"),
        ({"ids": ["a", 5]}, "invalid", "Expected `str | null`, got `int` - at `$.ids[1]`"),
        ({"users": ["u"] * 3}, "invalid", "users: must have 2 elements, one an event, not 3"),
        ({"users": b"uv"}, "invalid", "at `$.users`"),
        ({"colour": b"x"}, "invalid", "unknown field `colour`"),
    ],
)
def test_a_wrong_column_is_refused_by_its_name(columns: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(MalformedBatchError, match=re.escape(words)) as caught:
        decode_packed(body_of(**columns), events_max=3)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "malformed", "the body is not msgpack: Input data was truncated"),
        (body_of()[:-1], "malformed", "the body is not msgpack: Input data was truncated"),
        (body_of() + b"\0", "malformed", "the body is not msgpack: "),
        (b"\xc1", "malformed", "the body is not msgpack: "),
        (b"\x81\xa1\xff\x00", "malformed", "the body is not msgpack: "),
        (body_of(kinds=[msgspec.Raw(b"\xa3\xed\xa0\x80"), "pay"]), "malformed", "the body is not msgpack: "),
        (b"\x91" * 100_000 + b"\x00", "invalid", "the body must be a map of columns: "),
        (b"\x81\xa5other" + b"\x91" * 100_000 + b"\x00", "invalid", "the body must be a map of columns: "),
        (b"\xdf\xff\xff\xff\xff", "malformed", "the body is not msgpack: Input data was truncated"),
        (b"\x90", "invalid", "the body must be a map of columns: Expected `object`, got `array`"),
        (b"\xc0", "invalid", "the body must be a map of columns: Expected `object`, got `None`"),
        (b'{"events": []}', "invalid", "the body must be a map of columns: Expected `object`, got `int`"),
    ],
)
def test_a_body_that_is_no_map_of_columns_is_refused_whole(body: bytes, code: str, words: str) -> None:
    with pytest.raises(MalformedBatchError, match=re.escape(words)) as caught:
        decode_packed(body, events_max=3)
    assert caught.value.code == code


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda at, put: body_of()[:at] + put + body_of()[at + 1 :],
        st.integers(0, len(body_of())),
        st.binary(max_size=2),
    )
)
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    """And nothing but a refusal is ever raised; what is taken can be logged."""
    with suppress(MalformedBatchError):
        came = decode_packed(body, events_max=3)
        taken, refused = sort_out_packed(came, DOOR)
        assert len(taken) + len(refused) == len(came)
        assert len(EventBatch.unpack(taken.batch(SECRET).pack())) == len(taken)


def test_as_many_events_as_allowed_are_taken() -> None:
    assert len(decode_packed(body_of(), events_max=2)) == 2


def test_the_published_schema_names_every_column() -> None:
    schema = packed_schemas("{name}")["PackedIn"]
    names = ["kinds", "products", "kind", "product", "ts_ms", "amount", "ids", "users"]
    assert list(schema["properties"]) == names
    assert schema["required"] == names[:4]
    assert not schema["additionalProperties"]
    for name in ("kind", "product"):
        assert (schema["properties"][name]["type"], schema["properties"][name]["format"]) == ("string", "binary")


# ------------------------------------------------------------------------------------------------ the door


@pytest.mark.parametrize(
    ("columns", "code", "words"),
    [
        ({"ts_ms": i8(-1, -2)}, "invalid", "ts_ms: must be -1 (at arrival) or a time in ms up to"),
        ({"ts_ms": i8(-1, -(2**63))}, "invalid", "ts_ms: must be -1 (at arrival) or a time in ms up to"),
        ({"ts_ms": i8(-1, TIME_MAX_MS + 1)}, "invalid", "ts_ms: must be -1 (at arrival) or a time in ms up to"),
        ({"ts_ms": i8(-1, NO_TIME_MS)}, "invalid", "ts_ms: must be -1 (at arrival) or a time in ms up to"),
        ({"ts_ms": i8(-1, 0)}, "late", "ts_ms: 0 is before"),
        ({"ts_ms": i8(FIRST_MS, FIRST_MS - 1)}, "late", f"ts_ms: {FIRST_MS - 1} is before {FIRST_MS}"),
        ({"ts_ms": i8(LAST_MS, LAST_MS + 1)}, "future", f"ts_ms: {LAST_MS + 1} is more than 5 s ahead"),
        ({"amount": i8(0, -1)}, "invalid", f"amount: must be a whole number from 0 to {AMOUNT_MAX}, not -1"),
        ({"amount": i8(AMOUNT_MAX, AMOUNT_MAX + 1)}, "invalid", "amount: must be a whole number from 0 to"),
        ({"ids": [None, ""]}, "invalid", "ids: must be 1 to 64 characters out of A-Z a-z 0-9 . _ -, not ''"),
        ({"ids": ["a" * 64, "a" * 65]}, "invalid", "ids: must be 1 to 64 characters"),
        ({"ids": ["a", "a\n"]}, "invalid", "ids: must be 1 to 64 characters"),
        ({"users": [None, ""]}, "invalid", "users: must be a text of 1 to 128 characters; what came is personal"),
        (
            {"users": ["赛" * 128, "赛" * 129]},
            "invalid",
            "users: must be a text of 1 to 128 characters; what came is personal",
        ),
        ({"kinds": ["click", "buy"]}, "unknown_kind", "type: 'buy' is none of cart, click, "),
        ({"kinds": ["click", ""]}, "invalid", "kinds: must be a text of 1 to 32 characters, not ''"),
        ({"kinds": ["click", "k" * 9999]}, "invalid", "kinds: must be a text of 1 to 32 characters, not 'k"),
        ({"products": ["p-3", "p-2"]}, "unknown_product", "product: 'p-3' is not enrolled in venue 'hall-1'"),
        ({"products": ["p{", "p-2"]}, "invalid", "product: must be 1 to 64 characters"),
        ({"products": ["p" * 9999, "p-2"]}, "invalid", "product: must be 1 to 64 characters"),
    ],
)
def test_a_wrong_event_is_refused_alone_with_its_field(columns: dict[str, Any], code: str, words: str) -> None:
    taken, (refused,) = sorted_out(**columns)
    assert (refused.index, refused.code) == (1, code)
    assert refused.reason.startswith(words), refused.reason
    assert len(refused.reason) < 300
    assert (len(taken), taken.runner.tolist()) == (1, [7])


def test_an_event_is_as_its_columns_say() -> None:
    taken, refused = sorted_out(ts_ms=i8(-1, NOW_MS), amount=i8(0, 5), ids=[None, "order-5"], users=["u-1", None])
    batch = EventBatch.unpack(taken.batch(SECRET).pack())
    assert refused == []
    assert taken.named() == [("pay", "order-5")]
    assert [batch.kinds[kind] for kind in batch.kind] == ["click", "pay"]
    assert batch.time_ms is not None
    assert (batch.runner.tolist(), batch.time_ms.tolist()) == ([7, 0], [NO_TIME_MS, NOW_MS])
    assert batch.amount is not None
    assert batch.id_hash is not None
    assert batch.user_hash is not None
    assert batch.amount.tolist() == [0, 5]
    assert batch.id_hash.tolist() == [0, hash_id("id", "order-5")]
    assert batch.user_hash.tolist() == [hash_user(SECRET, "u-1"), 0]


def test_unknown_kinds_of_the_table_do_not_reach_the_log() -> None:
    """The race keeps measures for each kind that it meets, and has room for 64."""
    noise = [f"noise-{number}" for number in range(62)]
    for kind in (u1(0, 63), u1(1, 63)):
        taken, _ = sorted_out(kinds=["pay", *noise, "click"], kind=kind)
        batch = taken.batch(SECRET)
        assert set(batch.kinds) <= DOOR.kinds.keys()
        assert batch.kinds[batch.kind[-1]] == "click"


# ------------------------------------------------------------------------------------------------ as JSON


_TIMES = st.sampled_from([0, FIRST_MS - 1, FIRST_MS, NOW_MS, LAST_MS, LAST_MS + 1, TIME_MAX_MS, TIME_MAX_MS + 1])
_IDS = st.sampled_from(["a", "b", "-._", "a" * 64, "a" * 65, "", "a\n", "赛"])
_EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["click", "pay", "share", "buy", "", "k" * 32, "k" * 33]),
            "product": st.sampled_from(["p-1", "p-2", "p-3", "p{", "", "p" * 64, "p" * 65]),
        },
        optional={
            "ts_ms": _TIMES,
            "amount": st.sampled_from([-1, 0, 1, AMOUNT_MAX, AMOUNT_MAX + 1]),
            "id": _IDS,
            "user": st.sampled_from(["u", "赛" * 128, "u" * 129, ""]),
        },
    )
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["click", "pay"]), "product": st.sampled_from(["p-1", "p-2"])},
        optional={"ts_ms": st.just(NOW_MS), "amount": st.just(5), "id": st.just("a"), "user": st.just("u")},
    ),
    min_size=1,
    max_size=8,
)


def packed(events: list[dict[str, Any]]) -> bytes:
    """The events as columns; a column that none of them has is left out."""
    kinds, products = ([*dict.fromkeys(event[name] for event in events)] for name in ("type", "product"))
    columns: dict[str, Any] = {
        "kinds": kinds,
        "products": products,
        "kind": u1(*(kinds.index(event["type"]) for event in events)),
        "product": u4(*(products.index(event["product"]) for event in events)),
    }
    for name, column, absent in (("ts_ms", "ts_ms", -1), ("amount", "amount", 0)):
        if any(name in event for event in events):
            columns[column] = i8(*(event.get(name, absent) for event in events))
    for name, column in (("id", "ids"), ("user", "users")):
        if any(name in event for event in events):
            columns[column] = [event.get(name) for event in events]
    return msgspec.msgpack.encode(columns)


def contents(batch: EventBatch) -> dict[str, Any]:
    """What a log entry holds once it is read again, kinds by name."""
    again = EventBatch.unpack(batch.pack())
    found = {each.name: getattr(again, each.name) for each in fields(again) if each.name not in {"kinds", "kind"}}
    lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
    return {"kinds": [again.kinds[kind] for kind in again.kind.tolist()], **lists}


@given(_EVENTS)
def test_the_same_events_are_taken_and_refused_alike_as_json_and_packed(events: list[dict[str, Any]]) -> None:
    decoded = decode(json.dumps({"events": events}).encode(), events_max=8)
    taken, refused = DOOR.sort_out(decoded)
    came = decode_packed(packed(events), events_max=8)
    packed_taken, packed_refused = sort_out_packed(came, DOOR)
    assert [(each.index, each.code) for each in packed_refused] == [(each.index, each.code) for each in refused]
    assert packed_taken.named() == taken.named()
    assert (
        (take_packed(came, DOOR) is None) == (DOOR.take(decoded.rows) is None or bool(decoded.refused)) == bool(refused)
    )
    if len(taken):
        assert contents(packed_taken.batch(SECRET)) == contents(taken.batch(SECRET))
