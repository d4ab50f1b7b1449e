"""The short form of the backlog: python -m tests.faults backlog runs the long one."""

from __future__ import annotations

from tests.faults.backlog import QUICK_EVENTS, run


def test_backlog_is_drained_with_no_wrong_board() -> None:
    result = run(QUICK_EVENTS)
    assert result.holds, result
    assert result.acknowledged > QUICK_EVENTS
