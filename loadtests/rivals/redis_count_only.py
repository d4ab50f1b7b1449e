"""redis_count_only: the unit. One ZINCRBY per event in pipelines of 500; nothing is ranked, nothing ever leaves.

redis-py with the hiredis parser on a unix socket, client and server CPU counted. It keeps one sorted set per
metric, cannot tell a rise from a level, and has no window at all: what the plainest counter costs.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from loadtests.measure import RivalClock
from loadtests.rivals.contest import BATCH, Contest, Costs, values_of
from loadtests.stack import Server
from loadtests.traffic import KINDS, product_of

_WARM_UP_BATCHES = 20
_BATCHES = 100


def run(contest: Contest) -> dict[str, Any]:
    """CPU per event of counting alone."""
    server = Server(contest.processes, "count-only", aof=contest.aof)
    try:
        events = contest.traffic.draw(BATCH * _BATCHES, purpose=300)
        columns = (
            [f"count:{KINDS[kind]}" for kind in events.kind.tolist()],
            values_of(events).tolist(),
            [product_of(runner) for runner in events.runner.tolist()],
        )
        rows = list(zip(*columns, strict=True))
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        gc.collect()
        _count(server, batches[:_WARM_UP_BATCHES])
        costs = Costs(RivalClock(server.pid), RivalClock())
        until_s = time.monotonic() + contest.seconds
        while time.monotonic() < until_s:
            with costs.work:
                _count(server, batches)
            costs.events += len(rows)
        return costs.figures(contest.events_per_bucket)
    finally:
        server.stop()


def _count(server: Server, batches: list[list[tuple[str, int, str]]]) -> None:
    for batch in batches:
        pipe = server.client.pipeline(transaction=False)
        for key, value, product in batch:
            pipe.zincrby(key, value, product)
        pipe.execute()
