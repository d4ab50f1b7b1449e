"""redis_buckets: a good hand-written ranking on Redis, without any HTTP, log or checkpoint around it.

One sorted set per metric and bucket, and one each for window and base sums, which every worker shares. Events
come in micro-batches of 500: numpy adds up those of one product and metric, one pipeline increments bucket and
window and reads back the sums of the products that moved, numpy scores them, and the scores are written with the
next batch, whose pipeline also reads the 50 best. At a bucket boundary ZUNIONSTORE moves the buckets that change
sides, and all are scored again. No log, no repeats told apart, no late events: a crash in a batch counts it half.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np
import redis

from loadtests.measure import RivalClock
from loadtests.rivals.contest import BATCH, BOUNDARIES, Contest, Costs, surges, values_of
from loadtests.stack import Server
from loadtests.traffic import KINDS, Events, product_of
from racing.model import FloatArray, IntArray

_FILL_MEMBERS = 10_000
_DRAWN = 100_000
SLOTS = 50


class Buckets:
    """The ranking of one venue."""

    def __init__(self, client: redis.Redis, *, runners: int, buckets_per_window: int) -> None:
        self._client = client
        self._products = [product_of(number) for number in range(runners)]
        self._numbers = {product.encode(): number for number, product in enumerate(self._products)}
        self._length = buckets_per_window
        self._scores: dict[str, float] = {}
        self.bucket = 1_000
        self.board: Any = []

    def take(self, events: Events) -> None:
        """Count one micro-batch and score what moved."""
        key = events.runner * len(KINDS) + events.kind
        cells, place = np.unique(key, return_inverse=True)
        sums = np.bincount(place, weights=values_of(events))
        runners = np.unique(cells // len(KINDS))
        members = [self._products[number] for number in runners.tolist()]
        pipe = self._client.pipeline(transaction=False)
        if self._scores:
            pipe.zadd("scores", self._scores)
        for cell, value in zip(cells.tolist(), sums.tolist(), strict=True):
            kind, product = KINDS[cell % len(KINDS)], self._products[cell // len(KINDS)]
            pipe.zincrby(f"bucket:{kind}:{self.bucket}", value, product)
            pipe.zincrby(f"window:{kind}", value, product)
        for what in ("window", "base"):
            for kind in KINDS:
                pipe.zmscore(f"{what}:{kind}", members)
        pipe.zrevrange("scores", 0, SLOTS - 1, withscores=True)
        *replies, self.board = pipe.execute()
        found: FloatArray = np.array(replies[-2 * len(KINDS) :], np.float64)  # None becomes nan
        found = np.nan_to_num(found)
        scores = surges(found[: len(KINDS)].T, found[len(KINDS) :].T)
        self._scores = dict(zip(members, scores.tolist(), strict=True))

    def next_bucket(self) -> None:
        """Let time pass a bucket boundary: sums move, and every runner is scored again."""
        self.bucket += 1
        leaving, expiring = self.bucket - self._length, self.bucket - 2 * self._length
        pipe = self._client.pipeline(transaction=False)
        for kind in KINDS:
            window, base = f"window:{kind}", f"base:{kind}"
            old, oldest = f"bucket:{kind}:{leaving}", f"bucket:{kind}:{expiring}"
            pipe.zunionstore(window, {window: 1, old: -1})
            pipe.zunionstore(base, {base: 1, old: 1, oldest: -1})
            pipe.zremrangebyscore(window, 0, 0)
            pipe.zremrangebyscore(base, 0, 0)
            pipe.delete(oldest)
        pipe.execute()
        window_sums, base_sums = self._sums("window"), self._sums("base")
        active = np.flatnonzero((window_sums + base_sums).any(axis=1))
        scores = surges(window_sums[active], base_sums[active]).tolist()
        self._scores = {}
        self._client.zadd(
            "scores", {self._products[number]: score for number, score in zip(active.tolist(), scores, strict=True)}
        )

    def _sums(self, what: str) -> FloatArray:
        sums = np.zeros((len(self._products), len(KINDS)))
        for index, kind in enumerate(KINDS):
            rows: Any = self._client.zrange(f"{what}:{kind}", 0, -1, withscores=True)
            if rows:
                names, values = zip(*rows, strict=True)
                sums[[self._numbers[name] for name in names], index] = values
        return sums

    def fill(self, variants: list[Events]) -> None:
        """Window and base as if every bucket held one of these in turn; only buckets that will move are kept."""
        tables = [self._table(events) for events in variants]
        for what, first in (("window", self.bucket - self._length + 1), ("base", self.bucket - 2 * self._length + 1)):
            numbers = range(first, first + self._length)
            self._write(what, "", sum((tables[number % len(tables)] for number in numbers), np.zeros_like(tables[0])))
            for number in list(numbers)[:BOUNDARIES]:
                self._write("bucket", f":{number}", tables[number % len(tables)])

    def _table(self, events: Events) -> IntArray:
        table = np.zeros((len(self._products), len(KINDS)), np.int64)
        np.add.at(table, (events.runner, events.kind), values_of(events))
        return table

    def _write(self, what: str, suffix: str, table: IntArray) -> None:
        for index, kind in enumerate(KINDS):
            runners = np.flatnonzero(table[:, index])
            for start in range(0, len(runners), _FILL_MEMBERS):
                some = runners[start : start + _FILL_MEMBERS].tolist()
                self._client.zadd(
                    f"{what}:{kind}{suffix}", {self._products[number]: int(table[number, index]) for number in some}
                )


def run(contest: Contest) -> dict[str, Any]:
    """CPU per event of counting, scoring and ranking, bucket boundaries included."""
    server = Server(contest.processes, "buckets", aof=contest.aof)
    try:
        race = Buckets(server.client, runners=contest.traffic.runners, buckets_per_window=contest.buckets)
        race.fill(contest.variants())
        events = contest.traffic.draw(_DRAWN, purpose=320)
        costs = Costs(RivalClock(server.pid), RivalClock(server.pid))
        gc.collect()
        for _ in range(BOUNDARIES):
            _busy(race, events, costs, contest.seconds / BOUNDARIES)
            with costs.boundary:
                race.next_bucket()
            costs.boundaries += 1
        return costs.figures(contest.events_per_bucket)
    finally:
        server.stop()


def _busy(race: Buckets, events: Events, costs: Costs, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    start = costs.events % len(events)
    while time.monotonic() < until_s:
        with costs.work:
            race.take(events.part(start, start + BATCH))
        costs.events += BATCH
        start = (start + BATCH) % len(events)
