"""What events come to, by example: which count, in which bucket, and what a refund takes back."""

from __future__ import annotations

from typing import Any

import pytest

from racing.model import EVENT_KINDS
from tests.unit.racing.venues import CLICK, PlainVenue

_PAID = {"metric": "pay_amount", "signal": "level", "weight": 1}
_PAY: dict[str, Any] = {"runner": 0, "type": "pay", "amount": 100, "id": "order-5"}
_REFUND: dict[str, Any] = {**_PAY, "type": "refund"}


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**CLICK, "runner": 3}, "unknown_runner"),
        ({**CLICK, "ts_ms": 9000 + 300_001}, "future"),
        ({**CLICK, "ts_ms": 1999}, "late"),
        ({**CLICK, "ts_ms": -10_000_000}, "late"),
        ({**_REFUND, "id": "another"}, "unmatched_refund"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_that_cannot_be_counted_is_told_by_its_reason(event: dict[str, Any], reason: str) -> None:
    """At 9 s bucket 4 runs, and the base begins at 2 s."""
    venue = PlainVenue()
    venue.tick(9000)
    venue.events(9000, event)

    assert 1 == venue.counted()[reason]
    assert [0.0, 0.0, 0.0] == venue.scores()


def test_an_event_refused_once_is_refused_for_one_reason() -> None:
    venue = PlainVenue()
    venue.events(9000, {**CLICK, "runner": 3, "ts_ms": -5, "id": "a"}, {**CLICK, "runner": 3, "ts_ms": 10**9})

    assert {"unknown_runner": 2} == venue.counted()


def test_an_id_that_was_refused_may_come_again() -> None:
    """Only what was counted is a repeat: a late event corrected by its sender counts."""
    venue = PlainVenue()
    venue.tick(9000)
    venue.events(9000, {**CLICK, "ts_ms": 0, "id": "a"})
    venue.events(9000, {**CLICK, "ts_ms": 8500, "id": "a"})

    assert {"late": 1, "counted": 1} == venue.counted()


# -- events in time ------------------------------------------------------------------------------------------


def test_an_event_rises_and_is_compared_and_leaves() -> None:
    """A click at 0 s: up for 4 s, down for as long, the last bucket by tenths."""
    venue = PlainVenue()
    venue.events(0, CLICK)
    seen = []
    for at_ms in (3999, 4000, 5999, 6000, 6200, 7800, 7999, 8000):
        venue.tick(at_ms)
        seen.append(venue.scores()[0])

    assert [1.0, -1.0, -1.0, -0.1, -0.2, -1.0, -1.0, 0.0] == seen


def test_an_event_without_a_time_happens_when_it_arrives() -> None:
    venue = PlainVenue()
    venue.events(2000, CLICK)
    venue.tick(5999)

    assert [1.0, 0.0, 0.0] == venue.scores()


def test_an_event_a_little_ahead_happens_now() -> None:
    """Its clock is ahead: it does not wait for its time, and does not count twice when that comes."""
    venue = PlainVenue(clock_skew_s=2)
    venue.events(3000, {**CLICK, "ts_ms": 5000}, {**CLICK, "ts_ms": 5001})

    assert {"counted": 1, "future": 1} == venue.counted()
    assert [1.0, 0.0, 0.0] == venue.scores()
    venue.tick(6000)
    assert [-1.0, 0.0, 0.0] == venue.scores()


def test_a_late_event_counts_in_the_bucket_of_its_own_time() -> None:
    """At 9 s the clicks of 2 s are compared with; a tenth's share of the oldest bucket applies to them too."""
    venue = PlainVenue()
    venue.tick(9000)
    venue.events(9000, {**CLICK, "ts_ms": 4000}, {**CLICK, "runner": 1, "ts_ms": 2000})

    assert [-1.0, -0.6, 0.0] == venue.scores()


@pytest.mark.parametrize(("ts_ms", "counted"), [(8000, 1), (7999, 0)])
def test_a_rule_may_take_late_events_for_a_shorter_time(ts_ms: int, counted: int) -> None:
    venue = PlainVenue(lateness_s=1)
    venue.events(9000, {**CLICK, "ts_ms": ts_ms})

    assert (counted, 1 - counted) == (venue.race.counts.counted, venue.race.counts.late)


# -- ids and refunds -----------------------------------------------------------------------------------------


def test_an_id_counts_once_and_other_kinds_with_it_once_each() -> None:
    venue = PlainVenue()
    named = {**CLICK, "id": "a"}
    venue.events(0, named, named, {**named, "type": "cart"})
    venue.events(500, named)

    assert {"counted": 2, "duplicate": 2} == venue.counted()


def test_events_without_an_id_are_not_compared() -> None:
    venue = PlainVenue()
    venue.events(0, CLICK, CLICK)
    venue.events(0, CLICK)

    assert {"counted": 3} == venue.counted()


@pytest.mark.parametrize(
    ("refund", "left", "payments"),
    [
        ({"amount": 30}, 70.0, 1),
        ({"amount": 100}, 0.0, 0),
        ({"amount": 500}, 0.0, 0),
        ({"amount": 0}, 0.0, 0),
        ({"amount": None}, 0.0, 0),
        ({"runner": 1}, 100.0, 1),
        ({"id": "order-6"}, 100.0, 1),
        ({"id": None}, 100.0, 1),
    ],
    ids=str,
)
def test_a_refund_takes_back_from_the_payment_that_it_names(refund: dict[str, Any], left: float, payments: int) -> None:
    """The amount that it says, or all; and the payment's count once nothing is left."""
    venue = PlainVenue(_PAID)
    venue.events(0, _PAY)
    venue.events(0, {**_REFUND, **refund})

    assert left == venue.scores()[0]
    assert payments == venue.race.windows.window[0, 2 * EVENT_KINDS.index("pay")]


def test_a_refund_subtracts_at_the_moment_of_its_payment() -> None:
    """Paid at 0 s and refunded at 5 s: the base falls, and what happened since is untouched."""
    venue = PlainVenue({**_PAID, "signal": "uplift"})
    venue.events(0, _PAY, {**_PAY, "id": "order-6", "amount": 7})
    venue.events(5000, _REFUND)

    assert -7.0 == venue.scores()[0]


def test_a_refund_is_an_event_of_its_own_too() -> None:
    venue = PlainVenue({"metric": "refund_amount", "signal": "level", "weight": 1})
    venue.events(0, _PAY)
    venue.events(5000, _REFUND)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2} == venue.counted()


def test_a_payment_that_left_the_base_is_not_subtracted() -> None:
    """Its sums are gone; only the total since the race began still holds it."""
    venue = PlainVenue({**_PAID, "signal": "total"}, _PAID)
    venue.events(0, _PAY)
    venue.events(8000, _REFUND)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2} == venue.counted()


def test_a_refund_before_its_payment_names_nothing() -> None:
    venue = PlainVenue(_PAID)
    venue.events(0, _REFUND, _PAY)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2, "unmatched_refund": 1} == venue.counted()
