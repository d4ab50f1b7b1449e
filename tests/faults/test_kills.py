"""The short form of the kills: python -m tests.faults kills runs the long one."""

from __future__ import annotations

from tests.faults.kills import run


def test_nothing_acknowledged_is_lost_or_counted_twice_when_processes_are_killed() -> None:
    result = run(3)
    assert result.holds, result
    assert result.kills == {"scorer": 3, "api": 3, "server": 3}
