"""The short form of the rolling restart: python -m tests.faults rolling runs the long one."""

from __future__ import annotations

from tests.faults.rolling import APIS, SCORERS, run


def test_everything_is_replaced_under_load_without_a_failed_read_and_nothing_is_lost() -> None:
    result = run(1)
    assert result.holds, result
    assert result.replaced == {"scorer": SCORERS, "api": APIS}
