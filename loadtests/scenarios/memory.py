"""memory: bytes per runner, per active cell and per event of the log, and the usual pattern's for the same events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from loadtests.measure import refused
from loadtests.prefill import Span, append, fill
from loadtests.processes import BenchError, Worker
from loadtests.rivals import naive_redis_pipelined
from loadtests.scenarios.plan import Figures, Plan, outcome, tried
from loadtests.stack import HOST, VENUE, Server, Stack
from loadtests.traffic import KINDS, PAID_FROM, SHARES, Events, Traffic, rule_document
from loadtests.worker import Job

FEW, MANY = 1_000, 100_000
"""Runners of the two venues whose difference is the cost of a runner."""
DENSE_RUNNERS, DENSE_EVENTS = 200, 1_000
"""The usual pattern is compared at so many events per runner and window."""
FLAT_SPAN = Span(20, 1)
QUICK_FLAT_SPAN = Span(4, 1)
FLAT_EVENTS_PER_S = 5_000
_PRICE = 9_900


def memory(plan: Plan) -> Figures:
    """The figure is bytes of sets and checkpoints for 200 runners with 1,000 events each in window and in base."""
    dense = _dense(plan)
    plan.lap(f"{dense['bytes']:,} bytes of sets and checkpoints")
    rivals = {"naive_redis_pipelined": tried(plan, lambda: _naive(plan))}
    ours = {
        **dense,
        "growth": tried(plan, lambda: _growth(replace(plan, runners=FEW), replace(plan, runners=MANY))),
        "flat": tried(plan, lambda: _flat(plan)),
    }
    return outcome("memory", ours, rivals, "bytes", bucket_s=plan.bucket_s, append_only_file=plan.aof)


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of one venue by part."""

    log: int
    sets: int
    checkpoints: int
    runners: int
    other: int

    @classmethod
    def of(cls, server: Server) -> Weights:
        """What MEMORY USAGE says of every key, each measured whole."""
        found = dict.fromkeys(("log", "sets", "checkpoints", "runners", "other"), 0)
        for key in server.client.scan_iter(count=1_000):
            found[_part_of(key.decode())] += int(server.client.memory_usage(key, samples=0) or 0)
        return cls(**found)


def _part_of(key: str) -> str:
    name = key.partition("}:")[2].partition(":")[0]
    if name in {"standings", "window", "delta", "total"}:
        return "sets"
    if name in {"products", "runners"}:
        return "runners"
    return name if name in {"log", "checkpoints"} else "other"


def _next_checkpoint(stack: Stack, span: Span) -> None:
    """Wait for the commit after the next bucket boundary: it writes what was folded into a checkpoint."""
    time.sleep(span.bucket_s - time.time() % span.bucket_s + 0.3)
    stack.caught_up(within_s=20)


def _dense(plan: Plan) -> Figures:
    """Sets and checkpoints of a venue whose runners have 1,000 events each in the window and in the base."""
    span = plan.span
    with Stack(plan.processes, aof=plan.aof) as stack:
        stack.open_venue(rule_document(window_s=span.window_s, bucket_s=span.bucket_s), DENSE_RUNNERS)
        events = even_events(DENSE_RUNNERS, 2 * DENSE_EVENTS)
        now_ms = time.time_ns() // 1_000_000
        rng = np.random.default_rng(500)
        oldest_ms = now_ms - 1_000 * (2 * span.window_s - 2 * span.bucket_s)
        append(stack.server.client, VENUE, events, rng.integers(oldest_ms, now_ms, len(events)))
        stack.caught_up(within_s=30)
        _next_checkpoint(stack, span)
        weights = Weights.of(stack.server)
        counted = stack.record().counts["counted"]
    if counted < 0.99 * len(events):
        raise BenchError(f"{counted} of {len(events)} events counted: the windows are not full")
    return {
        "bytes": weights.sets + weights.checkpoints,
        "sets_bytes": weights.sets,
        "checkpoint_bytes": weights.checkpoints,
        "bytes_per_runner": round((weights.sets + weights.checkpoints) / DENSE_RUNNERS),
        "runners": DENSE_RUNNERS,
        "events": counted,
    }


def even_events(runners: int, each: int) -> Events:
    """As many events for every runner, of the usual kinds, in a seeded order."""
    rng = np.random.default_rng(501)
    runner = rng.permutation(np.repeat(np.arange(runners), each))
    kind = rng.choice(len(KINDS), len(runner), p=SHARES)
    return Events(kind, runner, np.where(kind >= PAID_FROM, _PRICE, 0))


def _naive(plan: Plan) -> Figures:
    """What the usual pattern keeps for the same events."""
    server = Server(plan.processes, "naive-memory", aof=plan.aof)
    try:
        empty = server.used_bytes()
        events = even_events(DENSE_RUNNERS, 2 * DENSE_EVENTS)
        step_ms = 2_000 * plan.span.window_s / len(events)
        naive_redis_pipelined.fill(server, events, naive_redis_pipelined.Clock(1e12, step_ms))
        used = server.used_bytes() - empty
    finally:
        server.stop()
    return {"bytes": used, "bytes_per_runner": round(used / DENSE_RUNNERS), "events": len(events)}


def _growth(few: Plan, many: Plan) -> Figures:
    """Bytes that each further runner costs, and each cell: the difference of two venues over that of their sizes."""
    small, large = _sized(few), _sized(many)
    runners = MANY - FEW
    cells = large["cells"] - small["cells"]
    return {
        "runners": {"few": FEW, "many": MANY},
        "scorer_bytes_per_runner": round((large["scorer_enrolled"] - small["scorer_enrolled"]) / runners),
        "redis_bytes_per_runner": round((large["redis_enrolled"] - small["redis_enrolled"]) / runners),
        "scorer_bytes_per_cell": _per_cell(small, large, "scorer", cells),
        "redis_bytes_per_cell_without_log": _per_cell(small, large, "redis", cells),
        "cells": {"few": small["cells"], "many": large["cells"]},
        "log_bytes_per_event": {"few": small["log_per_event"], "many": large["log_per_event"]},
    }


def _per_cell(small: Mapping[str, float], large: Mapping[str, float], part: str, cells: int) -> float:
    grown = [each[f"{part}_full"] - each[f"{part}_enrolled"] for each in (small, large)]
    return round((grown[1] - grown[0]) / cells, 1)


def _sized(plan: Plan) -> Figures:
    """Memory of scorer and server with runners enrolled, and with full windows."""
    span = plan.short_span
    with Stack(plan.processes, aof=False) as stack:
        stack.open_venue(rule_document(window_s=span.window_s, bucket_s=span.bucket_s), plan.runners)
        enrolled = (stack.scorer_rss_bytes(), Weights.of(stack.server))
        cells = fill(stack.server, VENUE, Traffic(plan.runners), span, events_per_bucket=50_000)
        stack.caught_up(within_s=60)
        _next_checkpoint(stack, span)
        full = (stack.scorer_rss_bytes(), Weights.of(stack.server))
    plan.lap(f"memory of {plan.runners:,} runners read")
    return {
        "cells": cells,
        "scorer_enrolled": enrolled[0],
        "scorer_full": full[0],
        "redis_enrolled": _without_log(enrolled[1]),
        "redis_full": _without_log(full[1]),
        "log_per_event": round((full[1].log - enrolled[1].log) / cells, 2),
    }


def _without_log(weights: Weights) -> int:
    return weights.sets + weights.checkpoints + weights.runners + weights.other


def _flat(plan: Plan) -> Figures:
    """Redis bytes without the log, window after window at a constant rate: flat once both windows are full."""
    span, windows = (QUICK_FLAT_SPAN, 4) if plan.quick else (FLAT_SPAN, 8)
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        worker = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=FEW))
        stack.open_venue(rule_document(window_s=span.window_s, bucket_s=span.bucket_s), FEW)
        before = stack.record().counts.get("counted", 0)
        log_before = Weights.of(stack.server).log
        worker.ready().go(windows * span.window_s, rate_per_s=FLAT_EVENTS_PER_S / 500)
        samples = [_sampled(stack, span.window_s) for _ in range(windows)]
        refused(worker.result())
        stack.caught_up(within_s=20)
        log, counted = Weights.of(stack.server).log - log_before, stack.record().counts["counted"] - before
        worker.close()
    return {
        "window_s": span.window_s,
        "events_per_s": FLAT_EVENTS_PER_S,
        **{name: [getattr(sample, name) for sample in samples] for name in ("sets", "checkpoints", "log")},
        "log_bytes_per_event": round(log / counted, 2),
    }


def _sampled(stack: Stack, after_s: float) -> Weights:
    time.sleep(after_s)
    return Weights.of(stack.server)
