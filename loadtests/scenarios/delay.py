"""delay_half, delay_ninety: from the scheduled send of an event to its being visible in GET slots. Open loop.

A sender posts batches on a schedule that waits for nobody; a poller in another process reads the slots all the
time. A batch is visible when a frame is answered whose position is at least the one that its 202 named. What was
not answered, or not seen before the end, counts as never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtests.measure import WARM_UP_S, Stretch, figures_of, measure, snapshot
from loadtests.processes import BenchError, Worker
from loadtests.scenarios.plan import Figures, Plan, outcome
from loadtests.scenarios.unit import times_slower, unit
from loadtests.stack import HOST, VENUE, Stack
from loadtests.worker import Job

BATCH = 500
"""Events of a batch. What a sender takes to fill it is not counted."""
CONNECTIONS = 32
POLLS_PER_S = 500.0
"""A frame is seen up to 2 ms after it could have been."""
CAPACITY_P99_MS = 1_000.0
_STEPS = (0.95, 0.85, 0.75, 0.6, 0.45, 0.3)
_SEEN_AFTER_S = 2.0

Seen = Sequence[tuple[float, Sequence[int]]]
Rows = Sequence[tuple[float, float, Sequence[int] | None]]


def delays_ms(rows: Rows, seen: Seen) -> list[float]:
    """Per batch sent, ms from its scheduled send until a frame with its position was seen; inf where none was.

    rows: (scheduled_s, answered_s, position). seen: (when, position), positions growing. Cost: O(n log n).
    """
    shown = sorted((tuple(position), at_s) for at_s, position in seen)
    positions = [position for position, _ in shown]
    found = []
    for scheduled_s, _, position in rows:
        index = len(shown) if position is None else _first_at_least(positions, tuple(position))
        found.append(math.inf if index == len(shown) else 1000 * (shown[index][1] - scheduled_s))
    return found


def _first_at_least(positions: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> int:
    low, high = 0, len(positions)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if positions[middle] < wanted else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Track:
    """A running service with its sender and its poller."""

    stack: Stack
    sender: Worker
    poller: Worker
    bucket_s: int

    def delays(self, events_per_s: float, seconds: float) -> Figures:
        """Delays at a rate that is kept whatever the service does."""
        rate = events_per_s / BATCH
        before = snapshot(self.stack)
        self.poller.go(seconds + _SEEN_AFTER_S, rate_per_s=POLLS_PER_S)
        sent = self.sender.run(seconds, rate_per_s=rate, rows=True)
        seen = self.poller.result()["seen"]
        self.stack.caught_up(within_s=20 + 2 * seconds)
        stretch = Stretch(before, snapshot(self.stack), self.bucket_s)
        late_ms = delays_ms(sent["rows"], seen) + [math.inf] * (sent["unsent"] + sent["unanswered"] + sent["broken"])
        return {**_percentiles(late_ms), **_told(stretch, sent, events_per_s, seconds)}


def _percentiles(late_ms: Sequence[float]) -> Figures:
    if not late_ms:
        raise BenchError("no batch was sent")
    values = np.array(late_ms)
    # "higher" is the delay of some batch: what lies between one and never would be no number
    found = {f"p{p}_ms": float(np.percentile(values, p, method="higher")) for p in (50, 90, 99)}
    shown = {name: round(value, 2) if math.isfinite(value) else None for name, value in found.items()}
    return {**shown, "batches": len(values), "never_seen": int(np.isinf(values).sum())}


def _told(stretch: Stretch, sent: dict[str, Any], events_per_s: float, seconds: float) -> Figures:
    used = figures_of(stretch)
    return {
        "events_per_s": round(events_per_s),
        "boundaries": int((stretch.before.wall_s + seconds) // stretch.bucket_s)
        - int(stretch.before.wall_s // stretch.bucket_s),
        "answer_p99_ms": sent.get("p99_ms"),
        "sender_slip_p99_ms": sent.get("slip_p99_ms"),
        "statuses": sent["statuses"],
        **{name: used[name] for name in ("cpu_us_per_event", "parts_us_per_event", "events_per_commit")},
    }


def capacity(plan: Plan, track: Track) -> Figures:
    """The highest rate tried whose delays stay below 1 s at p99: saturate, then step down. Quick: short steps."""
    most = measure(track.stack, track.sender, seconds=2.5 if plan.quick else 12.0, bucket_s=track.bucket_s)
    tried: list[Figures] = []
    for step in _STEPS:
        tried.append(track.delays(step * most["events_per_s"], 2.0 if plan.quick else 12.0))
        p99_ms = tried[-1]["p99_ms"]
        plan.lap(f"{tried[-1]['events_per_s']:,} events/s: p99 {p99_ms} ms")
        if p99_ms is not None and p99_ms <= CAPACITY_P99_MS:
            return {
                "events_per_s": tried[-1]["events_per_s"],
                "saturated_events_per_s": most["events_per_s"],
                "tried": tried,
            }
    raise BenchError(f"p99 is above {CAPACITY_P99_MS:g} ms even at {tried[-1]['events_per_s']} events/s")


def _track(plan: Plan, stack: Stack) -> Track:
    path = f"/v1/venues/{VENUE}"
    sender = Job(
        "send",
        HOST,
        stack.port,
        f"{path}/events",
        connections=CONNECTIONS,
        batch=BATCH,
        runners=plan.runners,
        mix=plan.mix,
    )
    poller = Job("poll", HOST, stack.port, f"{path}/slots?limit=1", connections=1)
    workers = Worker(plan.processes, sender), Worker(plan.processes, poller)
    plan.short_venue(stack)
    return Track(stack, workers[0].ready(), workers[1].ready(), plan.short_span.bucket_s)


def half(plan: Plan) -> Figures:
    """At half of capacity: with frame_ms 0 over three bucket boundaries, and with the default frame_ms."""
    with Stack(plan.processes, aof=plan.aof) as stack:
        track = _track(plan, stack)
        found = capacity(plan, track)
        rate = found["events_per_s"] / 2
        by_default = track.delays(rate, plan.short_span.stretch_s)
        plan.lap(f"default frame_ms: p99 {by_default['p99_ms']} ms")
        stack.stop_scorer()
        stack.start_scorer(frame_ms=0)
        stack.caught_up(within_s=20)
        track.sender.run(WARM_UP_S, rate_per_s=rate / BATCH)
        stack.caught_up(within_s=20)
        ours = track.delays(rate, plan.short_span.stretch_s)
    return _outcome(plan, "delay_half", {**ours, "frame_ms": 0, "default_frame_ms": by_default, "capacity": found})


def ninety(plan: Plan) -> Figures:
    """At nine tenths of capacity, with the default frame_ms, over three bucket boundaries."""
    with Stack(plan.processes, aof=plan.aof) as stack:
        track = _track(plan, stack)
        found = capacity(plan, track)
        ours = track.delays(0.9 * found["events_per_s"], plan.short_span.stretch_s)
    return _outcome(plan, "delay_ninety", {**ours, "capacity": found})


def _outcome(plan: Plan, scenario: str, ours: Figures) -> Figures:
    counter = unit(plan)
    ours["machine_times_slower"] = times_slower(counter)
    rivals, span = {"redis_count_only": counter}, plan.short_span
    return outcome(scenario, ours, rivals, "p99_ms", bucket_s=span.bucket_s, append_only_file=plan.aof)
