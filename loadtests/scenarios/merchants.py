"""merchants: what it costs to tell a merchant where 1,000 products stand, while the venue races on."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from loadtests.prefill import Span, append, fill
from loadtests.processes import BenchError, Worker, cpu_s
from loadtests.scenarios.plan import Figures, Plan, outcome
from loadtests.scenarios.unit import times_slower, unit
from loadtests.stack import HOST, VENUE, Stack
from loadtests.traffic import KINDS, PAID_FROM, SHARES, Events, Traffic, product_of
from loadtests.worker import Job
from racing.rule import DEFAULT_RULE

PRODUCTS = 1_000
FIELD, QUICK_FIELD = 1_000_000, 20_000
"""Runners of the venue, each thousandth or twentieth of them the merchant's."""
MERCHANT = "m-0"
CPU_MS_MAX = 20.0
"""What is aimed at: API process and server together, of one answer with all of them."""
_EVENTS_EACH = 30
"""Of each of the merchant's products in window and base, so that each has sums, and hardly two the same score."""
_EVENTS_PER_BUCKET = 20_000
_BUCKET_S = 60
"""Long ones: where a bucket ends the sets are written anew, which would be charged to whatever is asked just then."""
_BATCHES_PER_S, _BATCH = 10.0, 20
"""The race goes on meanwhile: every answer is of another commit than the one before."""
_REQUESTS_PER_S = 20.0
_PRICE_MIN, _PRICE_MAX = 990, 199_900


@dataclass
class Shape:
    """One kind of request, and what was measured of it round by round: ms of CPU of API and server, and latencies."""

    method: str
    path: str
    body: bytes = b""
    api_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    size: int = 0

    def figures(self) -> Figures:
        """Medians over the rounds."""
        both = [api + server for api, server in zip(self.api_ms, self.server_ms, strict=True)]
        return {
            "cpu_ms": round(statistics.median(both), 2),
            "api_ms": round(statistics.median(self.api_ms), 2),
            "server_ms": round(statistics.median(self.server_ms), 2),
            "p50_ms": round(statistics.median(self.late_ms), 2),
            "bytes": self.size,
            "rounds_ms": [round(each, 2) for each in both],
        }


def merchants(plan: Plan) -> Figures:
    """CPU of API process and server for each answer, less what the same events cost without; in turns, medians."""
    rounds, requests = (3, 30) if plan.quick else (5, 100)
    seconds = requests / _REQUESTS_PER_S
    runners = QUICK_FIELD if plan.quick else FIELD
    shapes = _shapes(runners, quick=plan.quick)
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        sender = Worker(plan.processes, Job("send", HOST, stack.port, path, connections=2, batch=_BATCH))
        _open(plan, stack, runners)
        sender.ready()
        for _ in range(rounds):
            alone = _meanwhile(stack, sender, seconds, partial(time.sleep, seconds))
            for shape in shapes.values():
                used = _meanwhile(stack, sender, seconds, partial(_ask, stack, shape, requests))
                for cost, each, idle in zip((shape.api_ms, shape.server_ms), used, alone, strict=True):
                    cost.append(1e3 * (each - idle) * seconds / requests)
            plan.lap("".join(f"{name} {shape.figures()['cpu_ms']} ms  " for name, shape in shapes.items()))
        sender.close()
    told = {name: shape.figures() for name, shape in shapes.items()}
    counter = unit(plan)
    ours = {
        "cpu_ms_per_list": told["list"]["cpu_ms"],
        "cpu_ms_max": CPU_MS_MAX,
        "machine_times_slower": times_slower(counter),
        **told,
    }
    return outcome(
        "merchants",
        ours,
        {"redis_count_only": counter},
        "cpu_ms_per_list",
        products=PRODUCTS,
        runners=runners,
        append_only_file=plan.aof,
    )


def _shapes(runners: int, *, quick: bool) -> dict[str, Shape]:
    path = f"/v1/merchants/{MERCHANT}/runners?venue={VENUE}&limit="
    products = [product_of(number) for number in range(0, runners, runners // PRODUCTS)]
    found = {
        "list": Shape("GET", f"{path}{PRODUCTS}"),
        "bulk": Shape("POST", f"/v1/venues/{VENUE}/standings", json.dumps({"products": products}).encode()),
    }
    if not quick:
        found |= {"csv": Shape("GET", f"{path}{PRODUCTS}&format=csv"), "page": Shape("GET", f"{path}100")}
    return found


def _open(plan: Plan, stack: Stack, runners: int) -> None:
    """The venue by the default rule: every product of the merchant has events, and of the others whom traffic hits."""
    rule, step = DEFAULT_RULE.model_dump(mode="json", exclude_none=True) | {"bucket_s": _BUCKET_S}, runners // PRODUCTS
    stack.open_venue(rule, runners, merchants=step)
    plan.lap(f"{runners:,} runners enrolled")
    span = Span(DEFAULT_RULE.window_s, _BUCKET_S)
    fill(stack.server, VENUE, Traffic(runners), span, events_per_bucket=_EVENTS_PER_BUCKET)
    rng, now_ms = np.random.default_rng(700), time.time_ns() // 1_000_000
    runner = np.repeat(np.arange(0, runners, step), rng.integers(1, 2 * _EVENTS_EACH, PRODUCTS))
    kind = rng.choice(len(KINDS), len(runner), p=SHARES)
    amount = np.where(kind >= PAID_FROM, rng.integers(_PRICE_MIN, _PRICE_MAX, len(runner)), 0)
    times = rng.integers(now_ms - 1_000 * (2 * span.window_s - 2 * span.bucket_s), now_ms, len(runner))
    append(stack.server.client, VENUE, Events(kind, runner, amount), times)
    stack.caught_up(within_s=60)
    stack.shows()
    plan.lap("windows filled")


def _meanwhile(stack: Stack, sender: Worker, seconds: float, work: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds a second of API and server during some work of so many seconds, while a few events come."""
    api, _, server = stack.pids()
    sender.go(seconds + 1.0, rate_per_s=_BATCHES_PER_S)
    time.sleep(0.5)
    before, begun_s = (cpu_s(api), cpu_s(server)), time.monotonic()
    work()
    elapsed_s = time.monotonic() - begun_s
    used = cpu_s(api) - before[0], cpu_s(server) - before[1]
    sent = sender.result()
    if set(sent["statuses"]) != {"202"}:
        raise BenchError(f"events were not taken: {sent['statuses']} {sent['refusal']}")
    return used[0] / elapsed_s, used[1] / elapsed_s


def _ask(stack: Stack, shape: Shape, requests: int) -> None:
    """So many requests on schedule, on one connection; each must tell of all products that it asks for."""
    connection = http.client.HTTPConnection(HOST, stack.port, timeout=10)
    begun_s = time.monotonic()
    try:
        for index in range(requests):
            time.sleep(max(0.0, begun_s + index / _REQUESTS_PER_S - time.monotonic()))
            sent_s = time.monotonic()
            connection.request(shape.method, shape.path, shape.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            shape.late_ms.append(1e3 * (time.monotonic() - sent_s))
            if answer.status != http.client.OK:
                raise BenchError(f"{shape.method} {shape.path} was answered {answer.status}: {body[:300]!r}")
            shape.size = len(body)
        time.sleep(max(0.0, begun_s + requests / _REQUESTS_PER_S - time.monotonic()))
    finally:
        connection.close()
