"""naive_redis_pipelined: the usual pattern of a sliding window in Redis, 500 events to a pipeline.

Every event becomes a member of the sorted set of its metric and product, scored by its time; what is older than
two windows is trimmed; then the product's members in window and base are counted for each of the six metrics,
which is what a score needs. redis-py with hiredis; client and server CPU counted. Its windows hold fewer events
than the service's (memory), and amounts are not summed: both are in its favour. With ``fresh`` the scores are
computed and written to a standing too.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtests.measure import RivalClock
from loadtests.rivals.contest import BATCH, Contest, Costs, surges
from loadtests.stack import Server
from loadtests.traffic import KINDS, Events, product_of

EVENTS_PER_BUCKET_MAX = 1_000
"""What its windows are filled with per bucket, at most."""
_FILL_BATCH = 2_000
_ROUNDS_MIN = 4


def key_of(kind: int, runner: int) -> str:
    """The sorted set of one metric of one product."""
    return f"events:{KINDS[kind]}:{product_of(runner)}"


@dataclass(slots=True)
class Clock:
    """Its own time: event n comes n steps after the start, so that buckets hold what they should."""

    now_ms: float
    step_ms: float
    serial: int = 0

    def tick(self) -> tuple[int, str]:
        """(time, unique member) of the next event."""
        self.now_ms += self.step_ms
        self.serial += 1
        return int(self.now_ms), f"{self.serial:x}"


def run(contest: Contest, *, fresh: bool = False) -> dict[str, Any]:
    """CPU per event of adding, trimming and counting; with fresh also of scoring."""
    server = Server(contest.processes, "naive", aof=contest.aof)
    try:
        per_bucket = min(contest.events_per_bucket, EVENTS_PER_BUCKET_MAX)
        clock = Clock(1e12, 1000 * contest.bucket_s / per_bucket)
        fill(server, contest.traffic.draw(2 * contest.buckets * per_bucket, purpose=310), clock)
        costs = Costs(RivalClock(server.pid), RivalClock())
        needed = max(BATCH * _ROUNDS_MIN, 3 * per_bucket)
        gc.collect()
        until_s = time.monotonic() + contest.seconds
        for purpose in range(311, 10_000):
            events = contest.traffic.draw(BATCH * _ROUNDS_MIN, purpose=purpose)
            for start in range(0, len(events), BATCH):
                with costs.work:
                    _handle(server, events.part(start, start + BATCH), clock, contest.window_s, fresh=fresh)
            costs.events += len(events)
            if time.monotonic() > until_s and costs.events >= needed:
                break
        costs.boundaries = costs.events // per_bucket
        return {**costs.figures(per_bucket), "scores_kept_fresh": fresh}
    finally:
        server.stop()


def fill(server: Server, events: Events, clock: Clock) -> None:
    """Put events into the sets, without counting."""
    pipe = server.client.pipeline(transaction=False)
    for place, (kind, runner) in enumerate(zip(events.kind.tolist(), events.runner.tolist(), strict=True)):
        at_ms, member = clock.tick()
        pipe.zadd(key_of(kind, runner), {member: at_ms})
        if place % _FILL_BATCH == 0:
            pipe.execute()
    pipe.execute()


def _handle(server: Server, events: Events, clock: Clock, window_s: int, *, fresh: bool) -> None:
    pipe = server.client.pipeline(transaction=False)
    runners = events.runner.tolist()
    for kind, runner in zip(events.kind.tolist(), runners, strict=True):
        at_ms, member = clock.tick()
        window_from, base_from = at_ms - 1000 * window_s, at_ms - 2000 * window_s
        key = key_of(kind, runner)
        pipe.zadd(key, {member: at_ms})
        pipe.zremrangebyscore(key, "-inf", base_from)
        for each in range(len(KINDS)):
            counted = key_of(each, runner)
            pipe.zcount(counted, f"({window_from}", "+inf")
            pipe.zcount(counted, f"({base_from}", window_from)
    replies = pipe.execute()
    if fresh:
        counts = np.array(replies, np.float64).reshape(len(events), 2 + 2 * len(KINDS))[:, 2:]
        scores = surges(counts[:, 0::2], counts[:, 1::2]).tolist()
        server.client.zadd("scores", {product_of(runner): score for runner, score in zip(runners, scores, strict=True)})
