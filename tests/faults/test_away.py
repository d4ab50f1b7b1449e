"""The short form of the outages: python -m tests.faults away runs the long one."""

from __future__ import annotations

from tests.faults.away import run


def test_readers_keep_their_frame_and_writers_hear_of_it_while_redis_is_away() -> None:
    result = run(2)
    assert result.holds, result
    assert result.outages == {"killed": 1, "paused": 1}
    assert result.ends == {"api": 2, "scorer": 1}
