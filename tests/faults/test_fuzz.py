"""The short form of fuzzing: python -m tests.faults fuzz runs the long one. The OpenAPI has its own test."""

from __future__ import annotations

import json

import pytest

from tests.faults.fuzz import Amounts, main, run
from tests.fuzzing.bodies import mutated_bodies, try_bodies
from tests.fuzzing.entries import mutated_entries, try_entries


def test_no_body_and_no_entry_crashes_anything_or_stops_the_race() -> None:
    result = run(Amounts(bodies=30_000, entries=4_000, http=300, cases=0))

    assert result.holds, result
    assert (result.bodies.tried, result.entries.tried, result.http.tried) == (30_000, 4_000, 300)
    assert result.acknowledged > 10


def test_the_result_is_one_object_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--quick", "--bodies", "200", "--entries", "100", "--http", "0", "--cases", "0"]
    assert main(arguments) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["rounds"], told["lost"], told["doubled"], told["holds"]) == (300, 0, 0, True)


def test_mutants_are_of_every_kind() -> None:
    """Enough of them come through the door, and enough are refused for each reason, to try what lies behind."""
    outcomes = try_bodies(mutated_bodies(seed=2, count=5_000)).outcomes
    assert min(outcomes[what] for what in ("malformed", "invalid", "some refused", "all refused", "all taken")) > 50

    outcomes = try_entries(mutated_entries(seed=2, count=3_000)).outcomes
    assert min(outcomes[what] for what in ("Unreadable refused", "EventBatch", "RuleChange", "Enrolment")) > 20


def test_the_same_seed_gives_the_same_mutants() -> None:
    assert [*mutated_bodies(seed=3, count=500)] == [*mutated_bodies(seed=3, count=500)]
    assert [*mutated_entries(seed=3, count=500)] == [*mutated_entries(seed=3, count=500)]
    assert [*mutated_bodies(seed=3, count=500)] != [*mutated_bodies(seed=4, count=500)]


def test_a_decoder_that_crashes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(body: bytes, *, events_max: int) -> None:
        raise RecursionError

    monkeypatch.setattr("tests.fuzzing.bodies.decode", decode)

    assert try_bodies(mutated_bodies(seed=1, count=100)).crashes > 10
