"""The short form of the full memory: python -m tests.faults memory_full runs the long one."""

from __future__ import annotations

from tests.faults.memory_full import run


def test_events_leave_room_for_commits_and_all_resumes_when_a_full_server_has_room_again() -> None:
    result = run(1)
    assert result.holds, result
