"""Each of many numbers once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from racing.marks import Distinct, each_once
from tests.laws.logs import law


@law(100)
@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=5))
def test_each_number_comes_once_whatever_was_asked_before(asked: list[list[int]]) -> None:
    """What one call leaves behind does not show in the next, also where the room grows in between."""
    distinct = Distinct()
    for numbers in asked:
        found = distinct.of(np.array(numbers, np.int64), max(numbers, default=0) + 1).tolist()

        assert sorted(set(numbers)) == sorted(found)


@law(100)
@given(st.lists(st.integers(-3, 9), max_size=12))
def test_each_once_is_what_a_set_has_in_order(numbers: list[int]) -> None:
    assert each_once(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))
