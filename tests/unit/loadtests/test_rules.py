"""Candidates compared: the figures come as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from loadtests.rules import Plan, as_json, as_table, compare, overall
from racing.rule import parse_rule
from tests.unit.loadtests.test_watching import CALM, CLICKS


def test_results_come_as_table_and_as_json() -> None:
    plan = Plan({"clicks": CLICKS}, (CALM,), seeds=2, products=60, warm_up_min=1)
    results = compare(plan)
    shown = overall(results["clicks"])
    assert 0 < shown.money <= 1
    assert as_table(results, plan.rules).row_count == 1
    document = json.loads(json.dumps(as_json(results, plan)))
    assert document["rules"][0]["scenes"]["calm"]["money"] == pytest.approx(shown.money)
    assert parse_rule(document["rules"][0]["rule"]) == CLICKS
