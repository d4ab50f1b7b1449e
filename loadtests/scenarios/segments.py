"""segments: what one declared dimension of shoppers adds to the cost of an event.

Two services race in turn, so that the machine's moods fall on both. The one that rests has its boundary at the same
moment, as buckets lie on the clock: it disturbs, and is not charged. A turn is a second shorter than a bucket, so a
boundary weighs 1.1 times, in a quick run 1.5 times what it does in a race that never rests.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from loadtests.bodies import Mix
from loadtests.measure import Stretch, busy, figures_of, warm_up
from loadtests.prefill import Span
from loadtests.processes import Worker
from loadtests.scenarios.plan import DENSITY_PER_S, SHORT_DENSITY_PER_S, Figures, Plan, outcome
from loadtests.stack import HOST, VENUE, Stack
from loadtests.worker import Job

TIMES_MAX = 1.5
"""The promise: an event of a venue with one dimension costs at most so many times that of one without."""
QUICK_SPAN = Span(180, 3)
"""As many buckets to a window as with 300 s and 5 s; turns of 3 s."""
QUICK_ROUNDS, ROUNDS = 4, 6
_BEGINS = 0.75
"""Where in a bucket a turn begins, so that one boundary lies well within it."""
_DRAINS_S = 1.0
"""Left of a turn for all that was sent to be committed and shown."""


@dataclass
class Racer:
    """A service with its sender, and its turns so far."""

    stack: Stack
    sender: Worker
    used_s: float = 0.0
    turns: list[Stretch] = field(default_factory=list)

    def turn(self, bucket_s: int, beside: Stack) -> None:
        """Be busy over one boundary, for nearly as long as a bucket; again where that took longer.

        beside: the service that rests meanwhile. Raises BenchError where this one's scorer was replaced.
        """
        stretch = self._busy(bucket_s, beside)
        while stretch.boundaries != 1:
            stretch = self._busy(bucket_s, beside)
        self.turns.append(stretch)
        _ = Stretch(self.turns[0].before, stretch.after, bucket_s).commits  # raises: each turn sees only its own

    def _busy(self, bucket_s: int, beside: Stack) -> Stretch:
        time.sleep((_BEGINS - time.time() / bucket_s) % 1.0 * bucket_s)
        rested_s = beside.cpu().total
        stretch, sent = busy(
            self.stack, self.sender, seconds=bucket_s - _DRAINS_S, bucket_s=bucket_s, warmed_s=self.used_s
        )
        self.used_s = sent["cpu_s"]
        return replace(stretch, load_cpu_s=stretch.load_cpu_s + beside.cpu().total - rested_s)


def segments(plan: Plan) -> Figures:
    """JSON batches of 500 at a venue with two segments, one on every event, and at one without, in turn.

    Each venue has a server, a scorer and an API of its own.
    """
    span = QUICK_SPAN if plan.quick else plan.span
    with ExitStack() as opened:
        plain, ours = [_racer(plan, opened, span, replace(plan.mix, segments=declared)) for declared in (False, True)]
        for racer in (plain, ours):
            racer.used_s = warm_up(racer.stack, racer.sender)
        for number in range(QUICK_ROUNDS if plan.quick else ROUNDS):
            for racer, other in ((plain, ours), (ours, plain))[:: 1 if number % 2 == 0 else -1]:
                racer.turn(span.bucket_s, other.stack)
        for racer in (plain, ours):
            racer.sender.close()
    without, found = figures_of(*plain.turns), figures_of(*ours.turns)
    turns = [[figures_of(turn)["cpu_us_per_event"] for turn in racer.turns] for racer in (ours, plain)]
    by_turn = [round(mine / theirs, 3) for mine, theirs in zip(*turns, strict=True)]
    times = round(found["cpu_us_per_event"] / without["cpu_us_per_event"], 3)
    plan.lap(f"{found['cpu_us_per_event']} us an event, {times} times that without; by turn {by_turn}")
    return outcome(
        "segments",
        {**found, "times_without": times, "times_by_turn": by_turn, "times_max": TIMES_MAX},
        {"without_segments": without},
        "cpu_us_per_event",
        bucket_s=span.bucket_s,
        append_only_file=plan.aof,
        runners=plan.runners,
    )


def _racer(plan: Plan, opened: ExitStack, span: Span, mix: Mix) -> Racer:
    stack = opened.enter_context(Stack(plan.processes, aof=plan.aof))
    path = f"/v1/venues/{VENUE}/events"
    sender = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=plan.runners, mix=mix))
    density_per_s = SHORT_DENSITY_PER_S if plan.quick else DENSITY_PER_S
    replace(plan, mix=mix).venue(stack, span=span, density_per_s=density_per_s)
    return Racer(stack, sender.ready())
