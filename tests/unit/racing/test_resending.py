"""The clock by which requests are sent again. What is sent again, and when, the tests of the replay say."""

from __future__ import annotations

from racing.resending import steady_clock
from tests.unit.racing.test_replay import START_S


def test_the_steady_clock_tells_seconds_since_1970() -> None:
    clock = steady_clock()
    assert START_S - 10**9 < clock() <= clock()
