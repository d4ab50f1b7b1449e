"""Window, base and total sums as buckets come and go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.cells import MEASURES_MAX
from racing.model import IntArray
from racing.windows import Windows
from tests.laws.logs import law

# 3 buckets of 2 s to a window; two runners with two measures each
_WINDOW_MS, _BUCKET_MS = 6000, 2000
_KEYS = (0, 1, MEASURES_MAX, MEASURES_MAX + 1)


def _ints(*values: int) -> IntArray:
    return np.array(values, np.int64)


def _windows(moment_ms: int = 100_000) -> Windows:
    windows = Windows(window_ms=_WINDOW_MS, bucket_ms=_BUCKET_MS, runners=2, measures=2)
    windows.move(*windows.place(moment_ms))
    return windows


def _add(windows: Windows, at_ms: int, key: int = 0, value: int = 1) -> None:
    windows.add(_ints(at_ms // _BUCKET_MS), _ints(key), _ints(value))


def _sums(windows: Windows) -> tuple[list[int], list[int], list[int]]:
    return tuple(part.reshape(-1).tolist() for part in (windows.window, windows.base_tenths, windows.total))  # type: ignore[return-value]  # three parts


# -- time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment_ms", "bucket", "tenths"),
    [
        (0, 0, 1),
        (1, 0, 1),
        (199, 0, 1),
        (200, 0, 2),
        (1799, 0, 9),
        (1800, 0, 10),
        (1999, 0, 10),
        (2000, 1, 1),
        (-1, -1, 10),
    ],
)
def test_a_moment_lies_in_a_bucket_of_which_tenths_have_begun(moment_ms: int, bucket: int, tenths: int) -> None:
    """Buckets and tenths are half-open: each begins at its own start."""
    assert (bucket, tenths) == _windows().place(moment_ms)


@law(100)
@given(st.integers(0, 10**13), st.sampled_from([1000, 2000, 3000, 7000, 3_600_000]))
def test_the_next_step_is_the_first_moment_at_another_place(moment_ms: int, bucket_ms: int) -> None:
    windows = Windows(window_ms=bucket_ms, bucket_ms=bucket_ms)
    windows.move(*windows.place(moment_ms))
    step_ms = windows.next_step_ms()

    assert windows.place(moment_ms) == windows.place(step_ms - 1)
    assert windows.place(moment_ms) != windows.place(step_ms)
    assert moment_ms < step_ms


@pytest.mark.parametrize(
    ("age", "weights"),
    [(0, (1, 0)), (2, (1, 0)), (3, (0, 10)), (4, (0, 10)), (5, (0, 7)), (6, (0, 0)), (99, (0, 0))],
)
def test_a_bucket_counts_by_its_age(age: int, weights: tuple[int, int]) -> None:
    """Of three buckets to a window: three in it, two whole ones in the base, and tenths of the oldest."""
    assert weights == _windows().weights(50 - age, 50, 7)


@law(100)
@given(st.integers(1, 12), st.integers(1, 10))
def test_window_and_base_are_equally_long_at_every_moment(length: int, tenths: int) -> None:
    """To the tenth: the running bucket's begun tenths are the oldest base bucket's counted ones."""
    windows = Windows(window_ms=1000 * length, bucket_ms=1000)
    in_window, in_base = zip(*(windows.weights(100 - age, 100, tenths) for age in range(40)), strict=True)

    assert 10 * (sum(in_window) - 1) + tenths == sum(in_base)


def test_just_before_a_boundary_window_and_base_are_whole() -> None:
    """They are [T - window, T) and the same length before it."""
    windows = _windows(99_999)
    for at_ms in range(88_000, 100_000, 1000):
        _add(windows, at_ms)

    assert ([6, 0, 0, 0], [60, 0, 0, 0]) == _sums(windows)[:2]


def test_an_event_goes_from_the_window_to_the_base_and_out() -> None:
    """Step by step: 6 s in the window, then 4 s whole in the base and 2 s by tenths; the total stays."""
    windows = _windows(100_000)
    _add(windows, 100_000)
    seen = []
    for moment_ms in (105_999, 106_000, 109_999, 110_000, 110_200, 111_999, 112_000):
        windows.move(*windows.place(moment_ms))
        seen.append((int(windows.window[0, 0]), int(windows.base_tenths[0, 0]), int(windows.total[0, 0])))

    assert [(1, 0, 1), (0, 10, 1), (0, 10, 1), (0, 1, 1), (0, 2, 1), (0, 10, 1), (0, 0, 1)] == seen


# -- laws of the sums ----------------------------------------------------------------------------------------

_CELLS = st.lists(
    st.tuples(st.integers(45, 50), st.sampled_from(_KEYS), st.integers(-3, 2**40)), min_size=1, max_size=12
)
_JUMPS = st.lists(st.sampled_from([1, 199, 200, 999, 1800, 2000, 4001, 13_000]), max_size=6)


def _added(cells: list[tuple[int, int, int]]) -> Windows:
    windows = _windows(100_500)
    windows.add(*(_ints(*column) for column in zip(*cells, strict=True)))
    return windows


@law(100)
@given(_CELLS, _JUMPS)
def test_stopping_on_the_way_changes_no_sum(cells: list[tuple[int, int, int]], jumps: list[int]) -> None:
    stepwise, at_once = _added(cells), _added(cells)
    moment_ms = 100_500
    for jump in jumps:
        moment_ms += jump
        stepwise.move(*stepwise.place(moment_ms))
    at_once.move(*at_once.place(moment_ms))

    assert _sums(stepwise) == _sums(at_once)


@law(100)
@given(_CELLS)
def test_cells_one_by_one_are_the_cells_at_once(cells: list[tuple[int, int, int]]) -> None:
    one_by_one = _windows(100_500)
    for bucket, key, value in cells:
        one_by_one.add(_ints(bucket), _ints(key), _ints(value))

    assert _sums(_added(cells)) == _sums(one_by_one)


@law(100)
@given(_CELLS, _JUMPS)
def test_adding_and_taking_back_is_as_if_nothing_had_been(cells: list[tuple[int, int, int]], jumps: list[int]) -> None:
    windows = _added([*cells, *((bucket, key, -value) for bucket, key, value in cells)])
    for jump in jumps:
        windows.move(*windows.place(windows.next_step_ms() + jump))

    assert ([0] * 4, [0] * 4, [0] * 4) == _sums(windows)


@law(100)
@given(_CELLS, _JUMPS)
def test_a_move_names_every_key_whose_sum_it_changed(cells: list[tuple[int, int, int]], jumps: list[int]) -> None:
    windows = _added(cells)
    for jump in jumps:
        before = _sums(windows)
        touched = set(windows.move(*windows.place(windows.next_step_ms() + jump - 1)).tolist())
        changed = {
            key
            for old, new in zip(before, _sums(windows), strict=True)
            for key, was, now in zip(_KEYS, old, new, strict=True)
            if was != now
        }

        assert changed <= touched


@law(100)
@given(_CELLS, _JUMPS)
def test_what_was_saved_is_loaded_as_it_was(cells: list[tuple[int, int, int]], jumps: list[int]) -> None:
    """Whole or by what came since, cells that left the base in between included."""
    first, rest = cells[: len(cells) // 2], cells[len(cells) // 2 :]
    windows, loaded = _windows(100_500), _windows(100_500)
    for part in (first, rest):
        for bucket, key, value in part:
            windows.add(_ints(bucket + windows.bucket - 50), _ints(key), _ints(value))
        for jump in jumps:
            windows.move(*windows.place(windows.next_step_ms() + jump))
        record = windows.save(full=part is first)
        loaded.move(windows.bucket, windows.tenths)
        loaded.load(record)

        assert _sums(windows) == _sums(loaded)
    whole = _windows(100_500)
    whole.move(windows.bucket, windows.tenths)
    whole.load(windows.save(full=True))

    assert _sums(windows) == _sums(whole)


@law(100)
@given(_CELLS, _JUMPS)
def test_what_is_kept_is_named_once_each_in_order(cells: list[tuple[int, int, int]], jumps: list[int]) -> None:
    """Cells of buckets that still count, also where they came to nothing, and totals of those that have gone."""
    windows = _added(cells)
    for jump in jumps:
        windows.move(*windows.place(windows.next_step_ms() + jump))
    counted = {key for key, total in zip(_KEYS, _sums(windows)[2], strict=True) if total}
    kept = {key for bucket, key, _ in cells if bucket >= windows.oldest}

    assert sorted(counted | kept) == windows.kept_keys().tolist()


def test_nothing_new_is_saved_as_nothing() -> None:
    windows = _added([(50, 0, 1)])
    windows.save(full=True)

    assert 0 == sum(map(len, windows.save(full=False).values()))


def test_the_venue_is_summed_up_to_the_bucket_and_no_further() -> None:
    """Held sums are those of the two windows that end where the running bucket begins."""
    windows = _windows(100_000)  # bucket 50 runs
    for bucket in range(45, 51):
        windows.add(_ints(bucket), _ints(0), _ints(10 ** (bucket - 45)))
    now, before = windows.venue_sums(50)
    later_now, later_before = windows.venue_sums(51)

    assert (11_100, 11) == (now[0], before[0])  # buckets 47..49, and 45..46 (44 was empty)
    assert (111_000, 111) == (later_now[0], later_before[0])


# -- room ----------------------------------------------------------------------------------------------------


def test_growing_keeps_every_sum() -> None:
    windows = _added([(50, MEASURES_MAX + 1, 7), (46, 0, 3)])
    windows.grow(3, 3)
    windows.grow(100, MEASURES_MAX)
    windows.grow(1, 1)

    assert (100, MEASURES_MAX) == windows.window.shape
    assert (7, 30, 7) == (windows.window[1, 1], windows.base_tenths[0, 0], windows.total[1, 1])


def test_room_for_measures_has_an_end() -> None:
    """Doubling stops at the most that a key can name."""
    windows = _windows()
    windows.grow(2, MEASURES_MAX - 1)

    assert MEASURES_MAX >= windows.window.shape[1]


# -- cut anew ------------------------------------------------------------------------------------------------


def test_finer_buckets_nest_exactly_in_coarser_ones() -> None:
    fine = Windows(window_ms=6000, bucket_ms=1000, runners=2, measures=2)
    fine.move(*fine.place(100_500))
    for bucket in range(90, 101):
        fine.add(_ints(bucket), _ints(0), _ints(1))
    coarse = fine.recut(window_ms=_WINDOW_MS, bucket_ms=_BUCKET_MS, moment_ms=100_500)
    expected = _windows(100_500)
    for bucket in range(90, 101):
        _add(expected, 1000 * bucket)

    assert _sums(expected) == _sums(coarse)


def test_totals_are_kept_when_buckets_are_cut_anew() -> None:
    windows = _added([(46, 0, 3), (50, 0, 4)])
    shorter = windows.recut(window_ms=1000, bucket_ms=1000, moment_ms=100_500)

    assert (4, 0, 7) == (shorter.window[0, 0], shorter.base_tenths[0, 0], shorter.total[0, 0])


def test_a_longer_window_does_not_bring_back_what_had_left_the_base() -> None:
    windows = _added([(46, 0, 3), (50, 0, 4)])
    shorter = windows.recut(window_ms=2000, bucket_ms=2000, moment_ms=100_500)
    longer = shorter.recut(window_ms=_WINDOW_MS, bucket_ms=_BUCKET_MS, moment_ms=100_500)

    assert (4, 0, 7) == (longer.window[0, 0], longer.base_tenths[0, 0], longer.total[0, 0])
