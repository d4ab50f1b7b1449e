"""segments: what one declared dimension of shoppers adds to the cost of an event."""

from __future__ import annotations

from dataclasses import replace

from loadtests.measure import measure
from loadtests.processes import Worker
from loadtests.scenarios.plan import Figures, Plan, outcome
from loadtests.stack import HOST, VENUE, Stack
from loadtests.worker import Job

TIMES_MAX = 1.5
"""The promise: an event of a venue with one dimension costs at most so many times that of one without."""


def segments(plan: Plan) -> Figures:
    """JSON batches of 500 at a venue with two segments, one on every event; the same without, in the same run."""
    plain = _measured(plan)
    ours = _measured(replace(plan, mix=replace(plan.mix, segments=True)))
    times = round(ours["cpu_us_per_event"] / plain["cpu_us_per_event"], 3)
    return outcome(
        "segments",
        {**ours, "times_without": times, "times_max": TIMES_MAX},
        {"without_segments": plain},
        "cpu_us_per_event",
        bucket_s=plan.short_span.bucket_s,
        append_only_file=plan.aof,
        runners=plan.runners,
    )


def _measured(plan: Plan) -> Figures:
    span = plan.short_span
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        worker = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=plan.runners, mix=plan.mix))
        plan.short_venue(stack)
        figures = measure(stack, worker.ready(), seconds=span.stretch_s, bucket_s=span.bucket_s)
        worker.close()
    with_or_without = "with" if plan.mix.segments else "without"
    plan.lap(f"{with_or_without} segments: {figures['cpu_us_per_event']} us an event")
    return figures
