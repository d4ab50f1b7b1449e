"""The worked example of README.md and README.zh.md, folded: each figure printed there is computed here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from racing.entries import Body, Enrolment, Entry, RuleChange, Runner, Tick
from racing.events import EventBatch
from racing.model import Position
from racing.race import Race

ROOT = Path(__file__).parents[2]
DAY_MS = int(datetime(2026, 11, 11, tzinfo=UTC).timestamp() * 1000)
RULE = {
    "window_s": 300,
    "bucket_s": 10,
    "metrics": {"click": {"event": "click"}},
    "terms": [{"metric": "click", "signal": "surge", "weight": 1}],
}
PRODUCTS = ("kettle", "earbuds", "lamp")
CLICKS = {"kettle": (1000, 1000), "earbuds": (100, 140), "lamp": (1, 3)}
"""Clicks of 20:00-20:05 and of 20:05-20:10, evenly spread; then silence."""


def moment_ms(clock: str) -> int:
    """A clock time of that day, ms."""
    hour, minute, second = clock.split(":")
    return DAY_MS + int((int(hour) * 3600 + int(minute) * 60 + float(second)) * 1000)


def clicks() -> list[tuple[int, int]]:
    """(time, runner) of every click, in order of time."""
    happened = []
    for runner, product in enumerate(PRODUCTS):
        for count, start in zip(CLICKS[product], ("20:00:00", "20:05:00"), strict=True):
            happened += [(moment_ms(start) + int((i + 0.5) * 300_000 / count), runner) for i in range(count)]
    return sorted(happened)


def raced() -> Race:
    """The race up to the last click."""
    race = Race()
    runners = [(number, Runner(product, "m", product)) for number, product in enumerate(PRODUCTS)]
    apply(race, moment_ms("19:59:00"), RuleChange(1, RULE))
    apply(race, moment_ms("19:59:00"), Enrolment(runners))
    for time_ms, runner in clicks():
        apply(race, time_ms, EventBatch(("click",), np.zeros(1, np.int64), np.array([runner]), np.array([time_ms])))
    return race


def apply(race: Race, at_ms: int, body: Body) -> None:
    """One entry at a moment."""
    same = race.position.ms == at_ms
    race.apply([Entry(Position(at_ms, race.position.seq + 1 if same else 0), body)])


SHOWN = {
    "20:09:59.999": [("earbuds", 140, 100.0, 2.53), ("lamp", 3, 1.0, 0.53), ("kettle", 1000, 1000.0, 0.0)],
    "20:12:30": [("lamp", 1, 2.0, -0.28), ("earbuds", 65, 118.4, -3.84), ("kettle", 467, 969.4, -13.21)],
    "20:20:00": [("kettle", 0, 0.0, 0.0), ("earbuds", 0, 0.0, 0.0), ("lamp", 0, 0.0, 0.0)],
}


@pytest.mark.parametrize("clock", list(SHOWN))
def test_the_readme_shows_what_the_fold_gives(clock: str) -> None:
    """Window, base and score of each product at each clock time of the example are the fold's."""
    race = raced()

    apply(race, moment_ms(clock), Tick())

    slots = race.slots()
    rows = [
        (
            s.product,
            int(race.windows.window[s.runner, 2]),
            race.windows.base_tenths[s.runner, 2] / 10,
            round(s.score, 2),
        )
        for s in slots
    ]
    assert SHOWN[clock] == rows


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_prints_these_figures(name: str) -> None:
    """Each row of the example stands in the README as a row of its table."""
    text = (ROOT / name).read_text(encoding="utf-8")

    missing = [
        (clock, product)
        for clock, rows in SHOWN.items()
        for product, window, base, score in rows
        if f"| {product} | {window} | {base:g} | {score:g} |" not in text
    ]
    assert [] == missing
