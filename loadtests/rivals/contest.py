"""What a rival is told, and how its cost per event is made up.

A rival's clock is told, not read: a bucket ends when it is told to. Its cost is measured in two parts, the
events (busy, in batches) and the bucket boundaries (with windows as full as the service's), and put together for
the same events per bucket as the service had in this run: cost = per event + per boundary / events per bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from loadtests.measure import RivalClock
from loadtests.processes import Processes
from loadtests.traffic import KINDS, Events, Traffic
from racing.model import FloatArray, IntArray

BATCH = 500
"""Events of one pipeline or micro-batch."""
VARIANTS = 3
CELL_EVENTS_MAX = 500_000
BOUNDARIES = 3
"""Bucket boundaries that every rival passes while it is measured."""
PAY = KINDS.index("pay")
WEIGHTS = (0.1, 1.0, 0.5, 1.0, 1.5, 2.0)
"""A rival's score: weighted surges of six metrics. Without tide, conversions and the share of the running bucket,
which is in the rivals' favour."""
PRIOR = 10.0


@dataclass(frozen=True, slots=True)
class Contest:
    """The conditions of one rival's run. seconds: about how long to measure its events."""

    processes: Processes
    traffic: Traffic
    aof: bool
    window_s: int
    bucket_s: int
    events_per_bucket: int
    seconds: float

    @property
    def buckets(self) -> int:
        """Buckets to a window."""
        return self.window_s // self.bucket_s

    def variants(self) -> list[Events]:
        """Buckets to fill windows with, in turn: the cells of the events of one, at most half a million of them."""
        size = min(self.events_per_bucket, CELL_EVENTS_MAX)
        return [cells_of(self.traffic, size, index) for index in range(VARIANTS)]


@cache
def cells_of(traffic: Traffic, events: int, index: int) -> Events:
    """The cells of one bucket, drawn once for all rivals of a run."""
    return traffic.cells(events, purpose=340 + index)


@dataclass(slots=True)
class Costs:
    """CPU of a rival's events and of its bucket boundaries."""

    work: RivalClock
    boundary: RivalClock
    events: int = 0
    boundaries: int = 0

    def figures(self, events_per_bucket: int) -> dict[str, Any]:
        """The rival's CPU per event, and what it is made of."""
        work_us = 1e6 * self.work.total_s / self.events
        per_boundary_ms = 1e3 * self.boundary.total_s / self.boundaries if self.boundaries else 0.0
        return {
            "cpu_us_per_event": round(work_us + 1e3 * per_boundary_ms / events_per_bucket, 3),
            "client_us_per_event": round(1e6 * self.work.client_s / self.events, 3),
            "server_us_per_event": round(1e6 * self.work.server_s / self.events, 3),
            "boundary_ms": round(per_boundary_ms, 2),
            "boundaries": self.boundaries,
            "events_per_bucket": events_per_bucket,
            "events": self.events,
        }


def values_of(events: Events) -> IntArray:
    """What each event adds to its metric: 1, or the amount of a payment."""
    return np.where(events.kind == PAY, events.amount, 1)


def surges(window: FloatArray, base: FloatArray) -> FloatArray:
    """The rival's score of runners: window and base are float64 (runners, kinds)."""
    scores: FloatArray = ((window - base) / np.sqrt(window + base + PRIOR)) @ np.array(WEIGHTS)
    return scores
