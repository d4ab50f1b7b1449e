"""Cells say which runner and which measure a value belongs to; however they are kept, they add up to the same sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racing.cells import MEASURES_MAX, NO_CELLS, Bucket, add_at, flat, measures_of, merged, runners_of
from racing.model import IntArray

Cells = tuple[IntArray, IntArray]
cells = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-(2**53), 2**53)),  # runner, measure, value
    max_size=12,
).map(lambda rows: of(*rows))


def of(*rows: tuple[int, int, int]) -> Cells:
    """Cells of (runner, measure, value)."""
    keys = [runner * MEASURES_MAX + measure for runner, measure, _ in rows]
    return np.array(keys, np.int64), np.array([value for _, _, value in rows], np.int64)


def by_key(*chunks: Cells) -> dict[int, int]:
    """The sum of each key, one cell after the other."""
    sums: dict[int, int] = {}
    for keys, values in chunks:
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            sums[key] = sums.get(key, 0) + value
    return sums


def test_nothing_merges_to_nothing() -> None:
    keys, values = merged(NO_CELLS, NO_CELLS)
    assert (len(keys), len(values)) == (0, 0)


def test_a_bucket_that_nothing_was_added_to_has_no_cells_and_nothing_to_save() -> None:
    bucket = Bucket()
    assert bucket.cells() == bucket.save() == (NO_CELLS, NO_CELLS)
    assert bucket.saved == []
    assert not bucket.totals().any()


@pytest.mark.parametrize("runner", [0, 1, 10_000_000])
@pytest.mark.parametrize("measure", [0, 1, MEASURES_MAX - 1])
def test_a_key_names_its_runner_and_its_measure(runner: int, measure: int) -> None:
    keys, _ = of((runner, measure, 1))
    assert (runners_of(keys).tolist(), measures_of(keys).tolist()) == ([runner], [measure])


def test_a_cell_lies_in_the_row_of_its_runner() -> None:
    keys, _ = of((0, 0, 1), (2, 3, 1))
    assert flat(keys, 4).tolist() == [0, 2 * 4 + 3]


def test_a_key_that_comes_twice_is_added_twice() -> None:
    sums = np.zeros((2, 4), np.int64)
    add_at(sums, *of((1, 2, 5), (1, 2, 7), (0, 0, -1)))
    assert sums.tolist() == [[-1, 0, 0, 0], [0, 0, 12, 0]]


@settings(max_examples=50)
@given(cells)
def test_merging_sorts_the_keys_keeps_each_once_and_every_sum(given_cells: Cells) -> None:
    before = [each.copy() for each in given_cells]
    keys, values = merged(*given_cells)
    assert keys.tolist() == sorted(set(keys.tolist()))
    assert by_key((keys, values)) == by_key(given_cells)
    assert all(np.array_equal(*pair) for pair in zip(given_cells, before, strict=True)), "inputs are not written"


@settings(max_examples=50)
@given(st.lists(st.tuples(cells, st.booleans()), max_size=20))
def test_saving_on_the_way_changes_no_sum_and_saves_each_cell_once(parts: list[tuple[Cells, bool]]) -> None:
    bucket, saved = Bucket(), []
    for part, then_saved in parts:
        bucket.add(*part)
        if then_saved:
            saved.append(bucket.save())
    added = by_key(*(part for part, _ in parts))
    assert by_key(bucket.cells()) == added
    assert by_key(*saved, bucket.save()) == added
    measures = [sum(value for key, value in added.items() if key % MEASURES_MAX == measure) for measure in range(4)]
    assert bucket.totals()[:4].tolist() == measures


def test_totals_follow_what_is_added_later() -> None:
    bucket = Bucket()
    for value in (1, 2):
        bucket.add(*of((0, 1, value)))
        assert bucket.totals()[1] == bucket.totals().sum()
    assert bucket.totals()[1] == 3


def test_a_bucket_that_late_events_are_saved_in_again_and_again_keeps_few_chunks() -> None:
    """Each checkpoint may add one: beyond a bound they are merged."""
    bucket = Bucket()
    for value in range(100):
        bucket.add(*of((value % 3, 0, value)))
        bucket.save()
        assert len(bucket.saved) <= 9
    assert by_key(bucket.cells()) == {runner * MEASURES_MAX: sum(range(runner, 100, 3)) for runner in range(3)}
