"""The benchmark's traffic is what its page says, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.traffic import KINDS, PAID_FROM, Traffic, rule_document
from racing.rule import parse_rule


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Traffic(1_000)


def test_the_rule_is_one_that_the_service_takes() -> None:
    rule = parse_rule(rule_document())
    assert len(rule.metrics) == 6
    assert {metric.event for metric in rule.metrics.values()} == set(KINDS)


def test_the_same_purpose_draws_the_same_events(traffic: Traffic) -> None:
    one, other = traffic.draw(500, purpose=1), Traffic(1_000).draw(500, purpose=1)
    assert np.array_equal(one.runner, other.runner)
    assert np.array_equal(one.kind, other.kind)
    assert not np.array_equal(one.runner, traffic.draw(500, purpose=2).runner)


def test_a_few_runners_take_most_events(traffic: Traffic) -> None:
    """Zipf with exponent 1.2: the busiest of 1,000 has about a quarter, the tenth a sixteenth of that."""
    counts = np.sort(np.bincount(traffic.draw(200_000, purpose=3).runner, minlength=1_000))[::-1]
    assert counts[0] == pytest.approx(200_000 * 0.23, rel=0.1)
    assert counts[0] / counts[9] == pytest.approx(10**1.2, rel=0.1)


def test_only_orders_and_payments_have_amounts(traffic: Traffic) -> None:
    events = traffic.draw(5_000, purpose=4)
    assert np.array_equal(events.amount > 0, events.kind >= PAID_FROM)


def test_cells_come_once_each(traffic: Traffic) -> None:
    cells = traffic.cells(20_000, purpose=5)
    drawn = traffic.draw(20_000, purpose=5)
    assert len(cells) == len(np.unique(drawn.runner * len(KINDS) + drawn.kind))
    each = traffic.cells(20_000, purpose=5, segments=True)
    assert each.segment is not None
    assert len(each) == len({*zip(each.runner.tolist(), each.kind.tolist(), each.segment.tolist(), strict=True)})
    assert {*zip(each.runner.tolist(), each.kind.tolist(), strict=True)} == {
        *zip(cells.runner.tolist(), cells.kind.tolist(), strict=True)
    }
