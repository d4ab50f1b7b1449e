"""Full windows before the clock runs: entries with past times, appended to the log as the API would.

Each bucket of window and base gets one event for every cell (runner and kind) that traffic of the wanted rate
would touch in it. Cost at a bucket boundary depends on cells, not on hits, so the boundary is as dear as after
ten minutes of that traffic. Appended straight to the log: what is measured afterwards comes by HTTP.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import redis

from loadtests.stack import Server
from loadtests.traffic import KINDS, SEGMENTS, Events, Traffic
from racing.entries import EVENTS_FIELD
from racing.events import EventBatch
from racing.model import IntArray
from racing.store.keys import VenueKeys

ENTRY_EVENTS = 1_000
_ENTRIES_PER_PIPELINE = 100
_VARIANTS = 6
"""Different buckets drawn; they are used in turn."""
_MARGIN_BUCKETS = 2
"""The oldest buckets are left empty: they would leave the base while they are filled."""


@dataclass(frozen=True, slots=True)
class Span:
    """The windows to fill."""

    window_s: int
    bucket_s: int

    @property
    def buckets(self) -> int:
        """Buckets of window and base together."""
        return 2 * self.window_s // self.bucket_s

    @property
    def stretch_s(self) -> float:
        """A measured stretch: long enough for three bucket boundaries."""
        return 3.2 * self.bucket_s


def packed_entry(events: Events, time_ms: IntArray) -> bytes:
    """One log entry of events with their times: the only place here that knows the log's form."""
    amount = events.amount if events.amount.any() else None
    segment = None if events.segment is None else events.segment + 1  # 0 stands for none
    return EventBatch(
        kinds=KINDS,
        kind=events.kind,
        runner=events.runner,
        time_ms=time_ms,
        amount=amount,
        segment=segment,
        segments=() if segment is None else SEGMENTS,
    ).pack()


def fill(
    server: Server, venue: str, traffic: Traffic, span: Span, *, events_per_bucket: int, segments: bool = False
) -> int:
    """Fill window and base up to the running bucket; how many events were appended."""
    rng = np.random.default_rng([traffic.seed, 3])
    variants = [traffic.cells(events_per_bucket, purpose=200 + index, segments=segments) for index in range(_VARIANTS)]
    bucket_ms = 1000 * span.bucket_s
    running = time.time_ns() // 1_000_000 // bucket_ms
    appended = 0
    for bucket in range(running - span.buckets + 1 + _MARGIN_BUCKETS, running):
        events = variants[bucket % _VARIANTS]
        time_ms = bucket * bucket_ms + rng.integers(0, bucket_ms, len(events))
        append(server.client, venue, events, time_ms)
        appended += len(events)
    return appended


def append(
    client: redis.Redis, venue: str, events: Events, time_ms: IntArray, *, entry_events: int = ENTRY_EVENTS
) -> None:
    """Append events with these times to a venue's log, so many to an entry."""
    key = VenueKeys(venue).log
    pipe = client.pipeline(transaction=False)
    for start in range(0, len(events), entry_events):
        end = min(len(events), start + entry_events)
        pipe.xadd(key, {EVENTS_FIELD: packed_entry(events.part(start, end), time_ms[start:end])})
        if len(pipe) >= _ENTRIES_PER_PIPELINE:
            pipe.execute()
    pipe.execute()
