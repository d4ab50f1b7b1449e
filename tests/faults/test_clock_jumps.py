"""Every fourth sequence of three jumps, under each skew: python -m tests.faults clock_jumps runs them all."""

from __future__ import annotations

from tests.faults.clock_jumps import run


def test_clock_that_jumps_breaks_no_window_and_holds_up_no_frame() -> None:
    result = run(1000, every=4)
    assert result.holds, result
    assert result.rounds == 94
