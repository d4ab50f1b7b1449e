"""What the venue sold: sums by phase and source, sketches of users, slots, and the split that changes nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.columns import pack, unpack
from racing.model import EVENT_KINDS, IntArray
from racing.sales import OTHER, ROWS_MAX, Sales, gini
from racing.sketch import Hashes


class Events(NamedTuple):
    """Columns as a batch has them."""

    kind: IntArray
    amount: IntArray | None = None
    source: IntArray | None = None
    sources: tuple[str, ...] = ()
    user_hash: Hashes | None = None
    slot: IntArray | None = None


def kinds(name: str, count: int = 1) -> IntArray:
    return np.full(count, EVENT_KINDS.index(name))


SOURCES = ("", "search", "live")
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Makes hashes of small numbers: 2^64 over the golden ratio; 0, which is nobody, stays 0."""
Row = tuple[str, int, int, int, int]
"""(kind, amount, source, user, slot)"""

rows_of = st.lists(
    st.tuples(
        st.sampled_from(EVENT_KINDS), st.integers(0, 99), st.integers(0, 2), st.integers(0, 5), st.integers(0, 4)
    ),
    max_size=20,
)


def counted(sales: Sales, rows: list[Row], phase: str = "") -> None:
    kind, amount, source, user, slot = (np.array([row[i] for row in rows], object) for i in range(5))
    events = Events(
        kind=np.array([EVENT_KINDS.index(each) for each in kind], np.int64),
        amount=amount.astype(np.int64),
        source=source.astype(np.int64),
        sources=SOURCES,
        user_hash=user.astype(np.uint64) * SPREAD,
        slot=slot.astype(np.int64),
    )
    sales.count(phase, events)


def state_of(sales: Sales) -> Any:
    each = [sales.takings(phase=phase, source=source) for phase, source in sorted(sales.rows)]
    return sales.takings(), each, sorted(sales.rows), {name: values.tolist() for name, values in sales.slots.items()}


def test_a_race_without_events_took_nothing() -> None:
    took = Sales().takings()
    assert (took.paid, took.traffic, took.conversion, took.basket, took.per_mille) == (0, 0.0, None, None, None)


def test_events_that_name_nobody_count_as_sales_of_no_source() -> None:
    sales = Sales()
    sales.count("", Events(kinds("pay", 3), amount=np.array([5, 6, 7])))
    took = sales.takings(source="")
    assert (took.paid, took.payments, took.traffic) == (18, 3, 0.0)


def test_each_factor_is_told_by_source_and_together() -> None:
    """Two of the three who came by search paid 300 together; one of them came live as well."""
    sales = Sales()
    counted(
        sales,
        [
            ("click", 0, 1, 1, 0),
            ("click", 0, 1, 2, 0),
            ("pay", 100, 1, 3, 2),
            ("pay", 200, 1, 2, 2),
            ("impression", 0, 2, 3, 2),
            ("refund", 50, 1, 3, 0),
        ],
    )
    search, together = sales.takings(source="search"), sales.takings()
    assert search.traffic == pytest.approx(3, rel=0.05)
    assert search.conversion == pytest.approx(2 / 3, rel=0.05)
    assert search.basket == pytest.approx(150, rel=0.05)
    assert together.traffic == pytest.approx(3, rel=0.05)
    assert (together.paid, together.refunded, together.refunds, together.impressions) == (300, 50, 1, 1)
    assert together.per_mille == 300_000
    assert (sales.slots["slot_paid"][2], sales.slots["slot_impressions"][2]) == (300, 1)


def test_sources_beyond_the_bound_count_together() -> None:
    sales = Sales()
    for number in range(ROWS_MAX + 5):
        events = Events(kinds("pay"), amount=np.array([1]), source=np.array([1]), sources=("", f"s{number}"))
        sales.count("", events)
    assert len(sales.rows) <= ROWS_MAX + 2
    assert sales.takings(source=OTHER).payments == 5 + 1  # the row of no source takes a place
    assert sales.takings().payments == ROWS_MAX + 5


def test_a_slot_that_no_board_has_is_none() -> None:
    sales = Sales()
    sales.count("", Events(kinds("impression", 2), slot=np.array([1000, 1001])))
    assert sales.slots["slot_impressions"][[0, 1000]].tolist() == [1, 1]


@given(rows_of, rows_of)
def test_any_split_gives_the_same_state(first: list[Row], second: list[Row]) -> None:
    whole, parts = Sales(), Sales()
    counted(whole, first + second)
    for row in first + second:
        counted(parts, [row])
    assert state_of(whole)[0] == state_of(parts)[0]
    assert state_of(whole)[3] == state_of(parts)[3]


@given(rows_of, rows_of, rows_of, st.booleans())
def test_what_is_saved_in_turns_is_the_state_that_was(
    first: list[Row], second: list[Row], third: list[Row], full: bool
) -> None:
    sales, again = Sales(), Sales()
    counted(sales, first)
    records = [pack(*sales.save(full=True))]
    counted(sales, second, "burst")
    records.append(pack(*sales.save(full=full)))
    for record in records[1:] if full else records:
        again.load(*unpack(record))
    assert state_of(again) == state_of(sales)
    counted(sales, third)
    counted(again, third)
    assert state_of(again) == state_of(sales)


@pytest.mark.parametrize(
    ("values", "wanted"), [([], None), ([0, 0], None), ([5, 5, 5], 0.0), ([0, 0, 0, 8], 0.75), ([1, 3], 0.25)]
)
def test_gini_tells_how_unevenly_something_is_shared(values: list[int], wanted: float | None) -> None:
    assert gini(values) == (None if wanted is None else pytest.approx(wanted))
