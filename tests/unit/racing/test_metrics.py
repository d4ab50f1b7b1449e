"""Metrics are named once, documented, and typed."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from racing.metrics import CounterName, GaugeName, HistogramName, Metrics

OPERATIONS = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
NAMES = [*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName)]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_in_the_operations_guide(name: str) -> None:
    """An undocumented metric fails here."""
    assert f"| `{name}` |" in OPERATIONS


def test_metrics_carry_venue_and_reason() -> None:
    """A refusal is counted by venue and reason; race counts come from the commit."""
    metrics = Metrics(CollectorRegistry())

    metrics.count("saima_events_refused_total", "v", reason="late")
    metrics.count("saima_events_refused_total", "v", reason="late")
    metrics.race_counts("v", {"counted": 7})
    metrics.observe("saima_append_seconds", "v", 0.01)

    text = generate_latest(metrics.registry).decode()
    assert 'saima_events_refused_total{reason="late",venue="v"} 2.0' in text
    assert 'saima_race_counted_events{venue="v"} 7.0' in text
    assert 'saima_append_seconds_count{venue="v"} 1.0' in text


def test_gauges_of_a_venue_that_is_forgotten_are_shown_no_more() -> None:
    """A scorer that gave a venue up would else show its old lag for ever."""
    metrics = Metrics(CollectorRegistry())
    for venue in ("kept", "given-up"):
        metrics.set("saima_fold_lag_ms", venue, 5)
        metrics.count("saima_commits_total", venue)
    metrics.set("saima_commit_entries", "kept", 1)

    metrics.forget("given-up")

    text = generate_latest(metrics.registry).decode()
    assert 'saima_fold_lag_ms{venue="kept"} 5.0' in text
    assert 'saima_commits_total{venue="given-up"} 1.0' in text
    assert 'saima_fold_lag_ms{venue="given-up"}' not in text
    metrics.set("saima_fold_lag_ms", "given-up", 7)
    assert 'saima_fold_lag_ms{venue="given-up"} 7.0' in generate_latest(metrics.registry).decode()


def test_lease_has_one_owner_in_the_metrics_or_none() -> None:
    """The one before would else seem to run the venue still."""
    metrics = Metrics(CollectorRegistry())

    def shown() -> list[str]:
        lines = generate_latest(metrics.registry).decode().splitlines()
        return [line for line in lines if line.startswith("saima_lease_owner{")]

    metrics.owner("v", None)
    metrics.owner("v", "one")
    metrics.owner("w", "one")
    metrics.owner("v", "two")
    assert shown() == ['saima_lease_owner{owner="one",venue="w"} 1.0', 'saima_lease_owner{owner="two",venue="v"} 1.0']
    metrics.owner("v", None)
    metrics.forget("w")
    assert shown() == []


def test_all_metrics_can_stand_in_one_process() -> None:
    """A counter also takes its name without the ending: no gauge may have that."""
    metrics = Metrics(CollectorRegistry())
    for counter in get_args(CounterName):
        metrics.count(counter, "v")
    for gauge in get_args(GaugeName):
        if gauge == "saima_lease_owner":
            metrics.owner("v", "one")
        else:
            metrics.set(gauge, "v", 1)
    for histogram in get_args(HistogramName):
        metrics.observe(histogram, "v", 0.1)

    text = generate_latest(metrics.registry).decode()
    assert all(f"{name}" in text for name in NAMES)
