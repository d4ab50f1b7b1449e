"""segments: what one declared dimension of shoppers adds to the cost of an event."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from loadtests.scenarios.growth import measured
from loadtests.scenarios.plan import Figures, Plan, outcome

TIMES_MAX = 1.5
"""The promise: an event of a venue with one dimension costs at most so many times that of one without."""


def segments(plan: Plan) -> Figures:
    """JSON batches of 500 at a venue with two segments, one on every event; the same without, before and after.

    A host that others share gets faster or slower within seconds: what it did in between is told by both.
    """
    before = measured(plan, "without segments")
    ours = measured(replace(plan, mix=replace(plan.mix, segments=True)), "with segments")
    after = measured(plan, "without segments again")
    runs = [each["cpu_us_per_event"] for each in (before, after)]
    plain = {**after, "cpu_us_per_event": round(fmean(runs), 3), "runs": runs}
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
