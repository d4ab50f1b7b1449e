"""Load shapes begin, peak and end as their docstrings say."""

from __future__ import annotations

import pytest

from loadtests.shapes import SHAPES, USERS_MIN, Shape

MOST = 1_000


def test_the_three_shapes_are_named() -> None:
    assert set(SHAPES) == {"smoke", "evening", "midnight"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_a_shape_ends_and_never_passes_the_most(shape: Shape) -> None:
    users = [shape.users(float(second), MOST) for second in range(int(shape.seconds))]
    assert all(each is not None and USERS_MIN <= each <= MOST for each in users)
    assert shape.users(shape.seconds, MOST) is None


def test_midnight_comes_all_at_once() -> None:
    midnight = SHAPES["midnight"]
    assert (midnight.users(119.9, MOST), midnight.users(120.0, MOST)) == (100, 1_000)


def test_a_few_users_are_still_one_of_each_kind() -> None:
    assert SHAPES["smoke"].users(0.0, 20) == USERS_MIN
