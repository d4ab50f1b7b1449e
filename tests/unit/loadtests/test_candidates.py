"""The candidates for the default rule are rules that the service takes, each once."""

from __future__ import annotations

from pathlib import Path

from loadtests.candidates import candidates
from racing.rule import DEFAULT_RULE, parse_rule


class TestCandidates:
    def test_the_default_rule_races(self) -> None:
        assert DEFAULT_RULE in candidates().values()

    def test_no_two_candidates_are_one_rule(self) -> None:
        rules = list(candidates().values())
        assert all(rule not in rules[:index] for index, rule in enumerate(rules))
        assert len(rules) >= 8

    def test_every_candidate_is_a_document_that_the_service_takes(self) -> None:
        for rule in candidates().values():
            assert parse_rule(rule.model_dump(mode="json", exclude_none=True)) == rule


def test_the_guide_opens_with_a_candidate() -> None:
    """The first document of docs/rule-guide.md is a rule, the one that its tables call the winner."""
    guide = (Path(__file__).parents[3] / "docs" / "rule-guide.md").read_text(encoding="utf-8")
    document = guide.split("```json\n")[1].split("```")[0]
    assert parse_rule(document) == candidates()["roots + 0.2 click surge"]
