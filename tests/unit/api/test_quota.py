"""A quota lets so many requests a second through, and says where the caller stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ProblemError
from api.quota import Bucket, Pace, Quotas


@pytest.mark.parametrize("per_s", [1, 3, 100])
@pytest.mark.parametrize("asked", [0, 1, 100])
def test_n_pass_at_once_and_not_one_more(per_s: int, asked: int) -> None:
    """At the quota, one beyond it, and a hundred times it."""
    bucket = Bucket(per_s)
    passed = sum(bucket.take(50.0) for _ in range(per_s * asked + (asked == 1)))
    assert passed == min(per_s, per_s * asked)


def test_what_passes_comes_back_with_time() -> None:
    bucket = Bucket(10)
    assert [bucket.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert bucket.retry_after_s() == 1
    assert [bucket.take(0.25) for _ in range(3)] == [True, True, False]
    assert [bucket.take(9.0) for _ in range(11)] == [True] * 10 + [False]


def test_none_is_no_quota_and_tells_nothing() -> None:
    bucket = Bucket(0)
    assert all(bucket.take(1.0) for _ in range(10_000))
    assert (bucket.policy, bucket.lines()) == ("", b"")


def test_headers_tell_quota_and_rest() -> None:
    """As draft-ietf-httpapi-ratelimit-headers-11 has them; both ways of telling agree."""
    bucket = Bucket(100)
    assert [bucket.take(5.0) for _ in range(3)] == [True] * 3
    assert (bucket.policy, bucket.told()) == ('"key";q=100;w=1', '"key";r=97;t=1')
    assert bucket.lines() == b'ratelimit-policy: "key";q=100;w=1\r\nratelimit: "key";r=97;t=1\r\n'


@given(st.lists(st.floats(0, 0.5), max_size=200), st.integers(1, 50))
def test_no_stretch_of_time_lets_more_through_than_its_length_and_one_second(gaps: list[float], per_s: int) -> None:
    """Whatever the moments: at most per_s * (length + 1) pass, and the rest is never negative."""
    bucket, now_s, passed = Bucket(per_s), 0.0, 0
    for gap_s in gaps:
        now_s += gap_s
        passed += bucket.take(now_s)
        assert bucket.told().split("r=")[1][0].isdigit()
    assert passed <= per_s * (now_s + 1) + 1e-6


def test_each_name_has_a_bucket_of_its_own_and_nobody_has_none() -> None:
    quotas = Quotas(1)
    for _ in range(10):
        quotas.take(None)
    quotas.take("m-1")
    quotas.take("m-2")
    with pytest.raises(ProblemError) as refused:
        quotas.take("m-1")
    assert refused.value.code == "too_many_requests"
    assert refused.value.headers == {"Retry-After": "1"}


def test_names_without_end_take_no_memory_without_end() -> None:
    quotas = Quotas(1)
    for number in range(10_001):
        quotas.take(f"m-{number}")
    quotas.take("m-0")  # all began anew


def test_a_pace_lets_so_many_through_in_any_stretch_and_says_when_again() -> None:
    """Each name by itself; a refusal is not counted."""
    pace = Pace(2, 60)
    assert [pace.take("a", at_s) for at_s in (0.0, 10.0)] == [0, 0]
    assert pace.take("a", 10.5) == 50
    assert pace.take("b", 10.5) == 0
    assert pace.take("a", 59.9) == 1
    assert pace.take("a", 60.0) == 0
    assert pace.take("a", 60.0) == 10
    assert pace.words == "2 times in 60 s"


def test_names_of_a_pace_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.quota._NAMES_MAX", 2)
    pace = Pace(1, 60)
    assert [pace.take(name, 0.0) for name in ("a", "b", "c")] == [0, 0, 0]
    assert pace.take("a", 0.0) == 0
