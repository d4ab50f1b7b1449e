"""From when windows are full again, beside what a race says that kept what it could."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from racing.refill import FullFrom, full_from
from racing.rule import Rule, parse_rule
from racing.windows import Windows


def rule(window_s: int, bucket_s: int, weight: float = 1) -> Rule:
    return parse_rule(
        {
            "window_s": window_s,
            "bucket_s": bucket_s,
            "metrics": {"a": {"event": "order"}},
            "terms": [{"metric": "a", "signal": "level", "weight": weight}],
        }
    )


def test_a_change_of_weights_leaves_the_windows_full() -> None:
    assert full_from(rule(300, 10), rule(300, 10, weight=2), changed_ms=10**9, began_ms=0) is None


def test_a_shorter_window_is_full_at_once() -> None:
    assert full_from(rule(300, 10), rule(60, 10), changed_ms=10**9, began_ms=0) is None


def test_a_window_longer_than_all_that_happened_lacks_nothing() -> None:
    assert full_from(rule(60, 10), rule(3600, 10), changed_ms=100_000, began_ms=50_000) is None


def test_a_longer_window_and_its_base_are_full_one_after_the_other() -> None:
    """Two minutes are kept of a window of one: a base of three ends where the six minutes of both are over."""
    found = full_from(rule(60, 10), rule(180, 10), changed_ms=1_000_000, began_ms=0)
    assert found == FullFrom(1_060_000, 1_240_000)


@given(
    st.sampled_from([(60, 10), (60, 5), (120, 30), (300, 10)]),
    st.sampled_from([(60, 10), (60, 5), (120, 30), (300, 10), (900, 60)]),
    st.integers(10**6, 10**7),
)
def test_the_moments_are_those_at_which_nothing_older_than_what_was_kept_is_asked_for(
    one: tuple[int, int], other: tuple[int, int], changed_ms: int
) -> None:
    """By the windows' own notion of what they hold."""
    before, after = rule(*one), rule(*other)
    windows = Windows(window_ms=before.window_ms, bucket_ms=before.bucket_ms)
    windows.move(*windows.place(changed_ms))
    kept_from_ms = windows.oldest * before.bucket_ms
    found = full_from(before, after, changed_ms=changed_ms, began_ms=0)
    if one == other:
        assert found is None
        return
    moment_ms = changed_ms if found is None else found.base_ms
    again = Windows(window_ms=after.window_ms, bucket_ms=after.bucket_ms)
    again.move(*again.place(moment_ms))
    assert again.oldest * after.bucket_ms >= kept_from_ms
    if found is not None:
        again.move(*again.place(found.base_ms - 1))
        assert again.oldest * after.bucket_ms < kept_from_ms
