"""Batches of events at the door: decoded, refused one by one with reasons, and laid out as columns."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest import (
    AMOUNT_MAX,
    Decoded,
    Door,
    EventIn,
    MalformedBatchError,
    RecentIds,
    RefusedEvent,
    Rows,
    Taken,
    batch_of_lines,
    batch_schemas,
    decode,
)
from api.tokens import Exposures, TokenUses, VenueTokens
from racing.events import NO_TIME_MS, EventBatch, hash_id, hash_user
from racing.rule import Rule, parse_rule

SECRET = bytes(32)
NOW_MS = 1_763_740_805_250
RULE: dict[str, Any] = {
    "window_s": 60,
    "bucket_s": 10,
    "clock_skew_s": 5,
    "metrics": {"shares": {"event": "share"}},
    "terms": [{"metric": "shares", "signal": "level", "weight": 1}],
}
NUMBERS = {"p-1": 0, "p-2": 7}


def decoded(*events: object) -> Decoded:
    return decode(json.dumps({"events": events}).encode(), events_max=1000)


def event(**fields: Any) -> EventIn:
    return EventIn(**{"type": "click", "product": "p-1", **fields})


def door(**given_rule: Any) -> Door:
    rule = parse_rule({**RULE, **given_rule})
    kinds = {kind: code for code, kind in enumerate(sorted(rule.kinds()))}
    return Door("hall-1", rule, kinds, NUMBERS, NOW_MS)


def sorted_out(found: Decoded, at: Door | None = None) -> tuple[Taken, list[RefusedEvent]]:
    """What the door takes and refuses of a batch."""
    return (at or door()).sort_out(found)


def codes_of(*events: EventIn, at: Door | None = None) -> list[str]:
    """What the door says of each event: a code, or "" where it is taken."""
    taken, refused = sorted_out(Decoded(Rows.of(events), range(len(events))), at)
    codes = {each.index: each.code for each in refused}
    assert len(taken) + len(refused) == len(events)
    return [codes.get(index, "") for index in range(len(events))]


# ------------------------------------------------------------------------------------------------ bodies


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


_EDGES: list[Any] = [
    *(None, True, -1, 0, 1, 10_000, 10_001, 10**9, 10**9 + 1, AMOUNT_MAX, AMOUNT_MAX + 1, 2**53, 2**53 + 1, 0.5),
    *("", "a", "a" * 32, "a" * 33, "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a{b", "a\n", "赛", "-._"),
    *([], {}, ["a"]),
]
_VALIDATOR = jsonschema_rs.validator_for(
    {
        "$ref": "#/components/schemas/BatchIn",
        "components": {"schemas": batch_schemas("#/components/schemas/{name}", events_max=3)},
    }
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*EventIn.__struct_fields__, "x"]), st.sampled_from(_EDGES), max_size=4)
        | st.fixed_dictionaries(
            {"type": st.just("click"), "product": st.just("p") | st.sampled_from(_EDGES)},
            optional={name: st.sampled_from(_EDGES) for name in EventIn.__struct_fields__[2:]},
        ),
        max_size=4,
    )
)
def test_the_published_schema_takes_what_is_not_refused_as_invalid(events: list[dict[str, Any]]) -> None:
    """And nothing else: decoder and schema are made of one class, and the door knows the form of a product."""
    try:
        _, refused = sorted_out(decode(json.dumps({"events": events}).encode(), events_max=3))
        taken = all(each.code != "invalid" for each in refused)
    except MalformedBatchError:
        taken = False
    assert _VALIDATOR.is_valid({"events": events}) == taken


def test_every_field_of_an_event_says_what_it_must_be() -> None:
    """The words of the reasons come from the same bounds as the schema."""
    fields = batch_schemas("{name}", events_max=1)["EventIn"]["properties"]
    assert list(fields) == list(EventIn.__struct_fields__)
    for name in fields:
        _, (refused,) = sorted_out(decoded({"type": "click", "product": "p-1", name: []}))
        assert refused.reason.startswith(f"{name}: must be ")


# ------------------------------------------------------------------------------------------------ the door


def test_an_unknown_kind_is_told_the_kinds_that_there_are() -> None:
    _, (refused,) = sorted_out(Decoded(Rows.of([event(type="buy")]), [4]))
    assert refused == RefusedEvent(
        4,
        "unknown_kind",
        "type: 'buy' is none of cart, click, favorite, impression, order, pay, price, refund, share, stock",
    )


def test_an_unknown_product_is_told_to_be_enrolled_first() -> None:
    _, (refused,) = sorted_out(Decoded(Rows.of([event(product="p-3")]), [0]))
    assert refused.code == "unknown_product"
    assert refused.reason == "product: 'p-3' is not enrolled in venue 'hall-1': enrol it first"


@pytest.mark.parametrize("product", ["", "a\n", "a{b", "赛", "p" * 65])
def test_a_product_that_none_can_be_called_is_invalid(product: str) -> None:
    """Told here and not while decoding: it is enough to look up the products that are enrolled."""
    _, (refused,) = sorted_out(decoded(event_of(product)))
    assert refused == RefusedEvent(
        0, "invalid", f"product: must be 1 to 64 characters out of A-Z a-z 0-9 . _ -, not {product!r}"
    )


def test_an_event_is_late_when_its_bucket_has_left_the_base() -> None:
    """Twelve buckets of 10 s, the running one included: the base begins 115.25 s ago, on a boundary."""
    first_ms = 1_763_740_690_000
    assert codes_of(event(ts_ms=first_ms - 1), event(ts_ms=first_ms)) == ["late", ""]


def test_an_event_is_late_when_it_is_older_than_the_rule_allows() -> None:
    strict = door(lateness_s=20)
    assert codes_of(event(ts_ms=NOW_MS - 20_001), event(ts_ms=NOW_MS - 20_000), at=strict) == ["late", ""]
    _, (refused,) = sorted_out(Decoded(Rows.of([event(ts_ms=1)]), [0]), strict)
    assert refused.reason == f"ts_ms: 1 is before {NOW_MS - 20_000}, the earliest time that still counts"


def test_an_event_is_of_the_future_beyond_the_clock_skew() -> None:
    assert codes_of(event(ts_ms=NOW_MS + 5_000), event(ts_ms=NOW_MS + 5_001)) == ["", "future"]


def test_one_event_without_a_time_is_taken_beside_one_that_is_refused() -> None:
    """Alone in its batch, or left alone there."""
    assert codes_of(event(ts_ms=1), event()) == ["late", ""]
    assert codes_of(event(ts_ms=NO_TIME_MS)) == [""]


def test_an_event_without_a_time_is_of_now() -> None:
    assert codes_of(event(ts_ms=None), event(ts_ms=NOW_MS)) == ["", ""]


TOKENS = VenueTokens(SECRET, "hall-1")


def with_tokens(*page_kinds: str, most: int = 100) -> Door:
    """The door that reads tokens, which may be used so often; with kinds, the one for pages."""
    exposures = Exposures(TOKENS, TokenUses(most), NOW_MS / 1000, 3_600, frozenset(page_kinds) or None)
    return msgspec.structs.replace(door(), exposures=exposures)


def token_of(frame: int, slot: int, product: str) -> str:
    (made,) = TOKENS.made(7, frame, NOW_MS // 1000, [(slot, NUMBERS[product])])
    return made


def test_a_token_fills_frame_and_slot_and_events_without_one_keep_theirs() -> None:
    events = [event(token=token_of(5, 2, "p-1"), slot=9), event(frame=3, slot=4), event()]
    taken, refused = sorted_out(Decoded(Rows.of(events), range(3)), with_tokens())
    assert refused == []
    assert (taken.rows.frame, taken.rows.slot, taken.rows.token) == ([5, 3, None], [2, 4, None], None)


def test_a_token_is_refused_at_the_door_with_its_reason() -> None:
    """One that is forged, of another product, or used too often; for each kind by itself."""
    good = token_of(5, 2, "p-1")
    events = [
        event(token="x"),
        event(token=good, product="p-2"),
        *[event(token=good)] * 2,
        event(token=good, type="pay"),
    ]
    expected = ["token_forged", "token_mismatch", "", "token_overused", ""]
    assert codes_of(*events, at=with_tokens(most=1)) == expected


def test_an_event_that_is_refused_anyway_uses_no_token() -> None:
    good = token_of(5, 2, "p-1")
    wrong = [event(token=good, type="seen"), event(token=good, product="p-9"), event(token=good, ts_ms=1)]
    assert codes_of(*wrong, event(token=good), at=with_tokens(most=1))[-1] == ""


def test_a_page_sends_only_its_kinds_and_they_keep_their_codes() -> None:
    """Batches of one venue are joined under one table of kinds."""
    good = token_of(5, 2, "p-1")
    at = with_tokens("impression", "share")
    events = [event(token=good), event(token=good, type="impression")]
    taken, refused = sorted_out(Decoded(Rows.of(events), range(2)), at)
    assert [(each.index, each.code) for each in refused] == [(0, "unknown_kind")]
    assert "impression, share" in refused[0].reason
    assert (taken.kinds, [taken.kinds[code] for code in taken.kind]) == (tuple(at.kinds), ["impression"])


def test_from_a_page_each_event_needs_a_token_and_none_tells_of_money() -> None:
    good = token_of(5, 2, "p-1")
    events = [event(), event(token=good, amount=1), event(token=good, quantity=2), event(token=good)]
    assert codes_of(*events, at=with_tokens("click")) == ["token_missing", "invalid", "invalid", ""]


def test_what_was_refused_before_and_at_the_door_comes_in_the_order_sent() -> None:
    found = decoded(event_of("p-9"), {"x": 1}, event_of("p-1"), event_of("p-8"))
    taken, refused = sorted_out(found)
    assert taken.rows.product == ["p-1"]
    assert [(each.index, each.code) for each in refused] == [
        (0, "unknown_product"),
        (1, "invalid"),
        (3, "unknown_product"),
    ]


def event_of(product: str) -> dict[str, Any]:
    return {"type": "click", "product": product}


def test_a_kind_that_the_rule_declares_is_known() -> None:
    assert codes_of(event(type="share"), event(type="view")) == ["", "unknown_kind"]


def test_a_batch_in_which_all_is_known_is_taken_as_it_was_decoded() -> None:
    found = decoded(event_of("p-1"), {**event_of("p-2"), "ts_ms": NOW_MS})
    taken, refused = sorted_out(found)
    assert taken.rows is found.rows
    assert refused == []


# ------------------------------------------------------------------------------------------------ columns


def columns_of(*events: EventIn, secret: bytes = SECRET) -> EventBatch:
    return taken_of(*events).batch(secret)


def taken_of(*events: EventIn) -> Taken:
    """Events of any kind and time as taken."""
    rows = Rows.of(events)
    kinds = {kind: code for code, kind in enumerate(sorted({"click", *rows.type}))}
    kind = bytes(map(kinds.__getitem__, rows.type))
    return Taken(rows, tuple(kinds), kind, np.array([NUMBERS[product] for product in rows.product], np.int64))


def test_rows_have_the_fields_of_an_event_in_their_order() -> None:
    """Rows.of puts them in by place."""
    assert Rows._fields == EventIn.__struct_fields__


def test_a_plain_batch_has_only_the_columns_that_it_needs() -> None:
    batch = columns_of(event(), event(product="p-2", type="order"))
    assert batch.kinds == ("click", "order")
    assert batch.kind.tolist() == [0, 1]
    assert batch.runner.tolist() == [0, 7]
    for name in ("time_ms", "amount", "quantity", "slot", "frame", "id_hash", "user_hash", "source", "segment"):
        assert getattr(batch, name) is None


def test_every_field_reaches_its_column() -> None:
    """And comes back from the packed entry; where an event lacks it, 0 stands for absent."""
    full = event(ts_ms=5, user="u", amount=7, quantity=2, id="o-1", source="search", segment="new", frame=9, slot=3)
    batch = EventBatch.unpack(columns_of(event(), full).pack())
    for name, value in {
        "time_ms": 5,
        "amount": 7,
        "quantity": 2,
        "slot": 3,
        "frame": 9,
        "id_hash": hash_id("id", "o-1"),
        "user_hash": hash_user(SECRET, "u"),
        "source": 1,
        "segment": 1,
    }.items():
        absent = NO_TIME_MS if name == "time_ms" else 0
        assert getattr(batch, name).tolist() == [absent, value], name
    assert (batch.sources, batch.segments) == (("search",), ("new",))


def test_the_largest_values_fit_their_columns() -> None:
    full = event(ts_ms=2**53, amount=AMOUNT_MAX, quantity=10**9, frame=2**53, slot=10_000)
    batch = EventBatch.unpack(columns_of(full).pack())
    assert batch.time_ms is not None
    assert batch.amount is not None
    assert batch.frame is not None
    assert (batch.time_ms[0], batch.amount[0], batch.frame[0]) == (2**53, AMOUNT_MAX, 2**53)


def test_one_user_has_another_hash_under_another_secret() -> None:
    one, other = (columns_of(event(user="u"), secret=bytes([n] * 32)).user_hash for n in (1, 2))
    assert one is not None
    assert other is not None
    assert one[0] != other[0]


def test_batches_joined_give_the_columns_of_one() -> None:
    """Whichever fields each of them has."""
    events = [event(user="u"), event(product="p-2", id="a"), event(ts_ms=5, amount=7)]
    parts = [taken_of(each) for each in events]
    joined = Taken.joined(parts)
    assert len(joined) == 3
    assert joined.batch(SECRET).pack() == columns_of(*events).pack()
    assert Taken.joined(parts[:1]) is parts[0]


# ------------------------------------------------------------------------------------------------ repeats


def named(*events: EventIn) -> list[tuple[str, str]]:
    """As a batch of these names those that have an id."""
    return taken_of(*events).named()


def test_an_id_that_came_before_is_a_repeat_within_its_kind() -> None:
    recent = RecentIds()
    recent.add(named(event(id="a"), event()), now_ms=100, since_ms=0)
    again = named(event(id="a"), event(type="order", id="a"), event(id="b"), event())
    assert recent.repeats(again, since_ms=0) == 1


def test_an_id_twice_in_a_batch_is_one_repeat() -> None:
    assert RecentIds().repeats(named(event(id="a"), event(id="a"), event(), event()), since_ms=0) == 1


def test_an_id_is_forgotten_when_the_race_has_forgotten_it() -> None:
    """The fold remembers an id from its first time on; a repeat does not make it young again."""
    recent = RecentIds()
    recent.add(named(event(id="a")), now_ms=1_000, since_ms=100)
    recent.add(named(event(id="a")), now_ms=1_500, since_ms=600)
    assert recent.repeats(named(event(id="a")), since_ms=1_000) == 1
    assert recent.repeats(named(event(id="a")), since_ms=1_001) == 0
    recent.add(named(event(id="a")), now_ms=2_000, since_ms=1_100)
    assert recent.repeats(named(event(id="a")), since_ms=1_500) == 1


def test_ids_are_kept_in_two_bounded_generations() -> None:
    """A full generation becomes the one before; the one before that is let go."""
    recent = RecentIds(most=2)
    for start in (0, 3, 6):
        recent.add(named(*(event(id=f"i{n}") for n in range(start, start + 3))), now_ms=1, since_ms=0)
    assert recent.repeats(named(*(event(id=f"i{n}") for n in range(9))), since_ms=0) == 3


def test_a_rule_knows_how_long_an_id_is_remembered() -> None:
    """The longer of two windows and 15 minutes."""
    assert [Rule.model_validate({**RULE, "window_s": s}).id_memory_ms for s in (60, 3600)] == [900_000, 7_200_000]


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
