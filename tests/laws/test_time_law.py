"""What time does to scores: silence, steadiness under constant traffic, and the tide that lifts every boat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from racing.entries import Entry, Tick
from racing.model import FloatArray, Position
from racing.race import Race
from racing.rule import DEFAULT_RULE
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, body_of, entries_of, law, logs, rule_of
from tests.laws.oracle import recount
from tests.laws.test_recount_law import check_against

# -- silence -------------------------------------------------------------------------------------------------

_NO_TOTALS = [term for term in EVERY_SIGNAL if term.get("signal") != "total"]


def _moments(log: Log) -> range:
    """Every tenth of a second of the two windows and one bucket after a log."""
    return range(log[-1][0] + 1, log[-1][0] + 16_000, 100)


def _in_silence(log: Log) -> list[tuple[int, Race]]:
    """The race at every moment after the log, one race that is ticked on."""
    race = Race()
    race.apply(entries_of(log))
    found = []
    for moment_ms in _moments(log):
        race.apply([Entry(Position(moment_ms, 10**6), Tick())])
        found.append((moment_ms, race))
        yield_scores(race)
    return found


