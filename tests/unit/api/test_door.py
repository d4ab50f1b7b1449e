"""The door of a venue: what it takes, and the reason for each event that it does not."""

from __future__ import annotations

import msgspec
import pytest

from api.door import Door
from api.taken import Decoded, RefusedEvent, Rows
from api.tokens import Exposures, TokenUses, VenueTokens
from racing.events import NO_TIME_MS
from tests.unit.api.batches import NOW_MS, NUMBERS, SECRET, codes_of, decoded, door, event, event_of, sorted_out


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


def test_a_kind_that_the_rule_declares_is_known() -> None:
    assert codes_of(event(type="share"), event(type="view")) == ["", "unknown_kind"]


def test_a_batch_in_which_all_is_known_is_taken_as_it_was_decoded() -> None:
    found = decoded(event_of("p-1"), {**event_of("p-2"), "ts_ms": NOW_MS})
    taken, refused = sorted_out(found)
    assert taken.rows is found.rows
    assert refused == []
