"""segments: what one declared dimension of shoppers adds to the cost of an event."""

from __future__ import annotations

from dataclasses import replace

from loadtests.scenarios.growth import measured
from loadtests.scenarios.plan import Figures, Plan, outcome

TIMES_MAX = 1.5
"""The promise: an event of a venue with one dimension costs at most so many times that of one without."""


def segments(plan: Plan) -> Figures:
    """JSON batches of 500 at a venue with two segments, one on every event; the same without, in the same run."""
    plain = measured(plan, "without segments")
    ours = measured(replace(plan, mix=replace(plan.mix, segments=True)), "with segments")
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
