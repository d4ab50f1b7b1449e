"""growth: what an event costs as the venue grows, from 1,000 runners to 1,000,000."""

from __future__ import annotations

import gc
from dataclasses import replace

from loadtests.fold import fold_us_per_event
from loadtests.measure import measure
from loadtests.processes import Worker
from loadtests.rivals import redis_count_only
from loadtests.rivals.contest import Contest
from loadtests.scenarios.plan import Figures, Plan, outcome, tried
from loadtests.stack import HOST, VENUE, Stack
from loadtests.traffic import Traffic
from loadtests.worker import Job

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 100_000)
_FOLD_EVENTS_MAX, _QUICK_FOLD_EVENTS_MAX = 1_000_000, 250_000
"""Events of a bucket folded at most: more make it longer, hardly cheaper (of 100,000 runners 11 s instead of 4)."""
_RIVAL_S = 1.0


def growth(plan: Plan) -> Figures:
    """CPU per event by number of runners; the figure is that of 100,000, the ratio of it to 1,000 beside it."""
    sizes = QUICK_SIZES if plan.quick else SIZES
    by_size = {size: measured(replace(plan, runners=size), f"{size:,} runners") for size in sizes}
    span = plan.short_span
    per_bucket = by_size[100_000]["events_per_bucket"]
    contest = Contest(plan.processes, Traffic(100_000), plan.aof, span.window_s, span.bucket_s, per_bucket, _RIVAL_S)
    rivals = {"redis_count_only": tried(plan, lambda: redis_count_only.run(contest))}
    if plan.left_s() > 0:
        for size in sizes:
            by_size[size] |= _fold(plan, by_size[size], size)
            plan.lap(f"fold of {size:,} runners alone: {by_size[size]['fold_us_per_event']} us an event")
    smallest = by_size[sizes[0]]
    ours = {
        **by_size[100_000],
        "by_runners": {str(size): figures for size, figures in by_size.items()},
        "times_of_1000": {
            str(size): {name: _times(figures, smallest, name) for name in ("cpu_us_per_event", "api_and_fold_us")}
            for size, figures in by_size.items()
        },
    }
    return outcome("growth", ours, rivals, "cpu_us_per_event", bucket_s=span.bucket_s, append_only_file=plan.aof)


def _times(figures: Figures, smallest: Figures, name: str) -> float | None:
    return round(figures[name] / smallest[name], 3) if name in figures and name in smallest else None


def measured(plan: Plan, what: str) -> Figures:
    """A venue over the short span, as busy as a sender can keep it. what: told of it as it ends."""
    span = plan.short_span
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        worker = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=plan.runners, mix=plan.mix))
        plan.short_venue(stack)
        figures = measure(stack, worker.ready(), seconds=span.stretch_s, bucket_s=span.bucket_s)
        worker.close()
    plan.lap(f"{what}: {figures['cpu_us_per_event']} us an event")
    return figures


def _fold(plan: Plan, live: Figures, size: int) -> Figures:
    """The fold alone, and with what the API used live: what the target calls API + fold."""
    gc.collect()
    fold = fold_us_per_event(
        size,
        plan.short_span,
        events_per_commit=max(1, round(live["events_per_commit"])),
        events_per_bucket=min(live["events_per_bucket"], _QUICK_FOLD_EVENTS_MAX if plan.quick else _FOLD_EVENTS_MAX),
    )
    return {"fold_us_per_event": fold, "api_and_fold_us": round(live["parts_us_per_event"]["api"] + fold, 3)}
