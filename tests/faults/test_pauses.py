"""The short form of the pauses: python -m tests.faults pauses runs the long one."""

from __future__ import annotations

from tests.faults.pauses import run


def test_owner_that_was_paused_longer_than_its_lease_writes_nothing_when_it_goes_on() -> None:
    result = run(3)
    assert result.holds, result
    assert result.take_overs > 3
