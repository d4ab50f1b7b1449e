"""The short form of the dropped replies: python -m tests.faults reply_drops runs the long one."""

from __future__ import annotations

from tests.faults.drops import WRITES
from tests.faults.reply_drops import run


def test_nothing_is_lost_or_done_twice_when_replies_are_dropped() -> None:
    result = run(3_000, within_s=15)
    assert result.right, result
    assert result.drops.keys() >= WRITES
    assert result.decisions
    assert result.lost_decisions == result.doubled_decisions == 0
