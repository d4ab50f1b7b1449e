"""The short form of the failovers: python -m tests.faults failover runs the long one."""

from __future__ import annotations

from tests.faults.failover import run


def test_failovers_with_replication_held_up_lose_nothing_in_safe_mode_and_no_more_than_that_in_fast() -> None:
    result = run(2)
    assert result.holds, result
    assert result.rounds_by_mode == {"safe": 1, "fast": 1}
    assert result.events_lost_after_failover > 0, "replication was not held up"
