"""The short form of the take-overs: python -m tests.faults takeover runs the long one."""

from __future__ import annotations

from tests.faults.takeover import run

_CROWDED = 3
"""Load per core above which the machine gives no process its turn in time, and a bound on times says nothing."""


def test_scorer_paused_longer_than_its_lease_loses_its_venues_in_time_and_writes_nothing_when_it_goes_on() -> None:
    result = run(2, lease_ms=1_000)
    assert result.safe, result
    assert result.in_time or result.load_per_core > _CROWDED, result
    assert result.take_overs == 4
    assert result.hand_overs >= 2, "what was paused takes its share again"
