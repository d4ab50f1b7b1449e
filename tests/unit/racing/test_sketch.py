"""Sketches of distinct users: nobody, few, many, and that order and repeats change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.sketch import ERROR, Hashes, estimate, new_sketches, see


def hashes(count: int, seed: int = 1) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def seen(users: Hashes) -> float:
    sketches = new_sketches(1)
    see(sketches, np.zeros(len(users), np.int64), users)
    return estimate(sketches[0])


def test_a_sketch_that_saw_nobody_counts_nobody() -> None:
    assert estimate(new_sketches(1)[0]) == 0.0


def test_a_hash_of_nothing_but_zeros_is_a_user_too() -> None:
    assert seen(np.zeros(1, np.uint64)) > 0.5


@pytest.mark.parametrize("users", [1, 10, 100, 1_000, 4_000, 10_000, 20_000, 100_000, 2_000_000])
def test_counts_are_right_within_four_standard_errors(users: int) -> None:
    """Also around 2.5 times the registers, where the formula of 2007 is biased."""
    found = [seen(hashes(users, seed)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(users, rel=4 * ERROR / np.sqrt(5))
    assert found == [pytest.approx(users, rel=4 * ERROR)] * 5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**64 - 1)), max_size=30), st.permutations(range(30)))
def test_order_repeats_and_portions_change_nothing(seen_by: list[tuple[int, int]], shuffled: list[int]) -> None:
    once, again = new_sketches(3), new_sketches(3)
    rows = np.array([row for row, _ in seen_by], np.int64)
    users = np.array([user for _, user in seen_by], np.uint64)
    see(once, rows, users)
    for place in (place for place in [*shuffled, *shuffled] if place < len(seen_by)):
        see(again, rows[place : place + 1], users[place : place + 1])
    assert np.array_equal(once, again)
