"""The unit: what the plainest counter costs on this machine in this run, so that machines and hours can be told apart.

A machine that others share is up to twice as slow in one hour as in the next; what is no ratio already, as milliseconds
of an answer, means little without it.
"""

from __future__ import annotations

from loadtests.rivals import redis_count_only
from loadtests.rivals.contest import Contest
from loadtests.scenarios.plan import Figures, Plan, tried
from loadtests.traffic import Traffic

UNIT_US = 8.1
"""CPU of an event of redis_count_only on the machine for which the targets in milliseconds were set."""
_S = 1.0


def unit(plan: Plan) -> Figures:
    """redis_count_only over 10,000 runners, for a second."""
    span = plan.short_span
    contest = Contest(plan.processes, Traffic(10_000), plan.aof, span.window_s, span.bucket_s, 100_000, _S)
    return tried(plan, lambda: redis_count_only.run(contest))


def times_slower(found: Figures) -> float | None:
    """How many times as slow this machine was as that for which the targets were set; None where it was not seen."""
    cost = found.get("cpu_us_per_event")
    return None if cost is None else round(cost / UNIT_US, 2)
