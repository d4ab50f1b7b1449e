"""recovery: how soon a scorer serves after a start on full windows, and how fast a backlog drains."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from loadtests.measure import measure
from loadtests.prefill import append
from loadtests.processes import BenchError, Worker, wait_until
from loadtests.scenarios.memory import even_events
from loadtests.scenarios.plan import Figures, Plan, outcome
from loadtests.stack import HOST, VENUE, Stack
from loadtests.traffic import BUCKET_S, WINDOW_S, Traffic, rule_document
from loadtests.worker import Job
from racing.events import NO_TIME_MS
from racing.model import IntArray, Position

RUNNERS, EVENTS_EACH = 100_000, 20
"""Runners, and events that each has in the window, and again in the base."""
BACKLOG, QUICK_BACKLOG = 5_000_000, 2_000_000
_PART = 250_000
_BACKLOG_ENTRY = 500
_SERVE_S, _DRAIN_S = 60.0, 300.0


def recovery(plan: Plan) -> Figures:
    """The figures: seconds from the start of a scorer process to its first commit; drain against the live JSON rate."""
    plan = replace(plan, runners=RUNNERS)
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        worker = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=RUNNERS, mix=plan.mix))
        stack.open_venue(rule_document(window_s=WINDOW_S, bucket_s=BUCKET_S), RUNNERS)
        plan.lap(f"{RUNNERS:,} runners enrolled")
        filled = _fill(stack)
        stack.caught_up(within_s=120)
        plan.lap(f"windows filled with {filled:,} events")
        live = measure(stack, worker.ready(), seconds=3.0 if plan.quick else 15.0, bucket_s=BUCKET_S)
        worker.close()
        plan.lap(f"live rate {live['events_per_s']:,} events/s")
        served_s = _restart(stack)
        plan.lap(f"served after {served_s:.2f} s")
        drained = _drain(stack, QUICK_BACKLOG if plan.quick else BACKLOG)
    ours = {"seconds": round(served_s, 3), "runners": RUNNERS, "filled_events": filled, **drained}
    rivals = {"json_live_rate": {"events_per_s": live["events_per_s"]}}
    return outcome("recovery", ours, rivals, "events_per_s", more_is_better=True, append_only_file=plan.aof)


def _fill(stack: Stack) -> int:
    """20 events per runner in the window and 20 in the base, spread evenly."""
    events = even_events(RUNNERS, 2 * EVENTS_EACH)
    rng = np.random.default_rng(510)
    span_ms = 1_000 * (2 * WINDOW_S - 3 * BUCKET_S)
    for start in range(0, len(events), _PART):
        part = events.part(start, start + _PART)
        now_ms = time.time_ns() // 1_000_000
        append(stack.server.client, VENUE, part, rng.integers(now_ms - span_ms, now_ms, len(part)))
    return len(events)


def _restart(stack: Stack) -> float:
    """Seconds from starting a scorer process to the first commit that is its own and holds the whole log."""
    stack.stop_scorer()
    before, target = stack.record(), stack.log_end()
    begun_s = time.monotonic()
    stack.start_scorer()

    def serves() -> bool:
        record = stack.record()
        return record.epoch != before.epoch and record.number > 0 and Position.parse(record.position) >= target

    wait_until(serves, within_s=_SERVE_S, what="the new scorer had committed")
    return time.monotonic() - begun_s


def _drain(stack: Stack, backlog: int) -> Figures:
    """Events per second at which a scorer works off what piled up while there was none, from its first commit on."""
    stack.caught_up(within_s=60)
    stack.stop_scorer()
    before = _counted(stack)
    _pile_up(stack, backlog)
    begun_s = time.monotonic()
    stack.start_scorer()
    commits: list[tuple[float, int]] = []

    def done() -> bool:
        counted = _counted(stack) - before
        if counted and (not commits or counted > commits[-1][1]):
            commits.append((time.monotonic(), counted))
        return counted >= backlog

    wait_until(done, within_s=_DRAIN_S, what=f"{backlog:,} events had been folded")
    (first_s, first), (last_s, last) = commits[0], commits[-1]
    if len(commits) == 1:
        raise BenchError(f"all of {backlog:,} events came in one commit: make the backlog larger")
    stack.caught_up(within_s=_DRAIN_S)
    return {
        "events_per_s": round((last - first) / (last_s - first_s)),
        "backlog": last,
        "seconds_with_start": round(last_s - begun_s, 3),
        "sets_complete_s": round(time.monotonic() - begun_s, 3),
    }


def _counted(stack: Stack) -> int:
    return stack.record().counts.get("counted", 0)


def _pile_up(stack: Stack, backlog: int) -> None:
    """Append so many events, of this moment, as the API would."""
    traffic = Traffic(RUNNERS)
    for index in range(backlog // _PART):
        events = traffic.draw(_PART, purpose=520 + index)
        at_arrival: IntArray = np.full(len(events), NO_TIME_MS, np.int64)
        append(stack.server.client, VENUE, events, at_arrival, entry_events=_BACKLOG_ENTRY)
