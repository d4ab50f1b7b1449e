"""Comparing a race with the recount of its log."""

from __future__ import annotations

import math

from racing.race import Race
from tests.laws.oracle import Recount

_PARTS = ("window", "base", "total")


def _sums(race: Race, runner: int, measure: tuple[str, str]) -> tuple[float, ...]:
    kind, what = measure
    if kind not in race.kinds:
        return (0, 0, 0)
    column = 2 * race.kinds[kind] + (what == "amount")
    windows = race.windows
    return (
        int(windows.window[runner, column]),
        int(windows.base_tenths[runner, column]) / 10,
        int(windows.total[runner, column]),
    )


def _same(expected: float, found: float) -> bool:
    return math.isclose(expected, found, rel_tol=1e-12, abs_tol=1e-12)


def check_against(recounted: Recount, race: Race) -> None:
    """Raise AssertionError unless a race says what the recount does: counts, sums, signals, scores, order."""
    rule = recounted.rule
    measures = sorted({recounted.measure(metric) for metric in rule["metrics"]})
    for name in (
        "counted",
        "late",
        "future",
        "duplicate",
        "unknown_runner",
        "unmatched_refund",
        "unreadable",
    ):
        assert recounted.counts[name] == getattr(race.counts, name), name
    for runner in recounted.attributes:
        for measure in measures:
            expected = tuple(recounted.sum(runner, measure, part) for part in _PARTS)
            assert expected == _sums(race, runner, measure), (runner, measure)
        assert _same(recounted.score(runner), race.scores[runner]), runner
    slots = race.slots()
    best = recounted.standings()[: rule.get("board", {}).get("slots", 50)]
    assert len(best) == len(slots)
    for rank, slot in zip(best, slots, strict=True):
        # the same order; where the recount's last bits differ, at least the same score in that slot
        assert rank == slot.runner or _same(recounted.score(rank), slot.score)
        for value, term in zip(recounted.signals(slot.runner), slot.terms, strict=True):
            assert _same(value, term.value), term
