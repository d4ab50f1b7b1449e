"""The short form of the state machine: python -m tests.faults state_machine runs 5,000 examples."""

from __future__ import annotations

from tests.faults.state_machine import run


def test_race_is_what_the_model_says_whatever_is_sent_changed_crashed_or_lost() -> None:
    result = run(40, derandomize=True)
    assert result.holds, result
    assert min(result.deaths, result.fenced, result.failovers, result.rule_changes) > 10, result
