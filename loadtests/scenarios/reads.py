"""reads: GET slots against the same bytes from a bare uvicorn application and from nginx, one worker each."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from loadtests import wrk
from loadtests.measure import WARM_UP_S, measure, refused
from loadtests.processes import BenchError, Worker, cpu_s
from loadtests.rivals.bare_uvicorn import BareUvicorn
from loadtests.rivals.nginx import Nginx
from loadtests.scenarios.plan import DENSITY_PER_S, Figures, Plan, outcome, tried
from loadtests.stack import HOST, VENUE, Stack
from loadtests.traffic import rule_document
from loadtests.worker import Job

CONNECTIONS = 64
WIDE, WIDE_SLOTS = "wide", 1_000
PATH = f"/v1/venues/{VENUE}/slots"
_PACED_PER_S = 500
QUICK_DENSITY_PER_S = 10_000
RIVALS = ("bare_uvicorn", "nginx")
Headers = Sequence[tuple[str, str]]
T = TypeVar("T")


@dataclass
class Target:
    """One server that hands out the board, and what was measured of it. read: reads for so many seconds."""

    read: Callable[[float], Figures]
    cpu_s: Callable[[], float]
    rounds: list[Figures] = field(default_factory=list)

    def round(self, seconds: float) -> None:
        """Read as fast as it answers."""
        before_s = self.cpu_s()
        figures = self.read(seconds)
        used_s = self.cpu_s() - before_s
        self.rounds.append({**figures, "cpu_us_per_request": 1e6 * used_s / figures["requests"]})

    def figures(self) -> Figures:
        """Medians over the rounds."""
        names = ("requests_per_s", "cpu_us_per_request", "p50_ms", "p99_ms")
        return {name: round(statistics.median(each[name] for each in self.rounds), 2) for name in names}


def reads(plan: Plan) -> Figures:
    """Requests per second of 50 slots, in turns with the rivals; then 304, reads during ingest, and 1,000 slots."""
    with Stack(plan.processes, aof=plan.aof) as stack:
        path = f"/v1/venues/{VENUE}/events"
        sender = Worker(plan.processes, Job("send", HOST, stack.port, path, runners=plan.runners))
        plan.venue(stack, density_per_s=QUICK_DENSITY_PER_S if plan.quick else DENSITY_PER_S)
        body = stack.request("GET", PATH)[1]
        ours, rivals = _compare(plan, stack, f"{PATH}?limit=50", body, rounds=2 if plan.quick else 5)
        plan.lap("50 slots compared")
        ours["body_bytes"] = len(body)
        ours["not_modified"] = _not_modified(plan, stack)
        ours["redis_commands_per_read"] = _commands_per_read(plan, stack)
        ours["while_ingesting"] = tried(plan, lambda: _while_ingesting(plan, stack, sender))
        plan.lap("reads while ingesting measured")
        ours["slots_1000"] = tried(plan, lambda: _wide(plan, stack))
    generator = "wrk" if wrk.installed() else "loadtests.wire: too slow for nginx, install wrk"
    return outcome("reads", ours, rivals, "requests_per_s", more_is_better=True, generator=generator)


def _reader(plan: Plan, port: int, path: str, headers: Headers = ()) -> Callable[[float], Figures]:
    """Reads a path as fast as it is answered: by wrk, or by a worker of our own."""
    if wrk.installed():
        url = f"http://{HOST}:{port}{path}"
        return lambda seconds: wrk.run(url, seconds, connections=CONNECTIONS, headers=headers)
    worker = _worker(plan, port, path, headers).ready()

    def read(seconds: float) -> Figures:
        figures = worker.run(seconds)
        refused(figures)
        return figures

    return read


def _worker(plan: Plan, port: int, path: str, headers: Headers = ()) -> Worker:
    return Worker(plan.processes, Job("read", HOST, port, path, connections=CONNECTIONS, headers=list(headers)))


def _compare(
    plan: Plan, stack: Stack, path: str, body: bytes, *, rounds: int, seconds: float = 2.0
) -> tuple[Figures, dict[str, Figures]]:
    """Figures of ours and of the rivals, measured in turns."""
    found: dict[str, Figures] = {}
    with contextlib.ExitStack() as servers:
        targets = {"ours": _ours(plan, stack, path)}
        for name in RIVALS:
            try:
                targets[name] = _rival(plan, servers, name, body)
            except BenchError as exc:
                found[name] = {"skipped": str(exc)}
        for _ in range(rounds):
            for target in targets.values():
                target.round(seconds)
    found |= {name: target.figures() for name, target in targets.items()}
    return found.pop("ours"), found


def _ours(plan: Plan, stack: Stack, path: str, headers: Headers = ()) -> Target:
    return Target(_reader(plan, stack.port, path, headers), lambda: cpu_s(stack.pids()[0]))


def _rival(plan: Plan, servers: contextlib.ExitStack, name: str, body: bytes) -> Target:
    """A rival that serves these bytes until servers is closed. Raises BenchError where it cannot."""
    if name == "nginx":
        nginx = servers.enter_context(Nginx(plan.processes, body))
        return Target(_reader(plan, nginx.port, "/"), nginx.cpu_s)
    bare = servers.enter_context(BareUvicorn(plan.processes, body))
    return Target(_reader(plan, bare.port, "/"), bare.cpu_s)


def _not_modified(plan: Plan, stack: Stack) -> Figures:
    """Reads that name the frame they have. With full windows frames change all the time, so they name any (*)."""
    target = _ours(plan, stack, PATH, [("If-None-Match", "*")])
    target.round(1.0 if plan.quick else 5.0)
    return target.figures()


def _commands_per_read(plan: Plan, stack: Stack) -> float:
    """Redis commands that reads add, per read: those of a second with reads less those of one without.

    Scorer and frames task send a few hundred a second whoever reads, and not always as many: read it as 0 or 1.
    """
    read = _reader(plan, stack.port, PATH)
    idle, _ = _commands(stack, lambda: time.sleep(1.0))
    busy, figures = _commands(stack, lambda: read(1.0))
    return round(max(0, busy - idle) / int(figures["requests"]), 3)


def _commands(stack: Stack, work: Callable[[], T]) -> tuple[int, T]:
    before = int(stack.server.client.info("stats")["total_commands_processed"])
    done = work()
    return int(stack.server.client.info("stats")["total_commands_processed"]) - before, done


def _while_ingesting(plan: Plan, stack: Stack, sender: Worker) -> Figures:
    """Open-loop reads while ingest runs at half of what it can: p99 and CPU per read, against an idle service."""
    seconds = 3.0 if plan.quick else 15.0
    capacity = measure(stack, sender.ready(), seconds=2.0 if plan.quick else 10.0, bucket_s=plan.bucket_s)
    rate = capacity["sender"]["requests_per_s"] / 2
    with contextlib.closing(_worker(plan, stack.port, PATH)) as worker:
        worker.ready()
        idle, idle_us = _paced(stack, lambda: worker.run(seconds, rate_per_s=_PACED_PER_S))
        _, ingest_us = _paced(stack, lambda: sender.run(seconds, rate_per_s=rate))
        sender.go(seconds + WARM_UP_S, rate_per_s=rate)
        busy, busy_us = _paced(stack, lambda: worker.run(seconds, rate_per_s=_PACED_PER_S))
        refused(sender.result())
    per_read = seconds * _PACED_PER_S
    return {
        "ingest_events_per_s": round(capacity["events_per_s"] / 2),
        "reads_per_s": _PACED_PER_S,
        "p99_idle_ms": idle["p99_ms"],
        "p99_ms": busy["p99_ms"],
        "cpu_us_per_read_idle": round(idle_us / per_read, 2),
        "cpu_us_per_read": round((busy_us - ingest_us) / per_read, 2),
    }


def _paced(stack: Stack, work: Callable[[], Figures]) -> tuple[Figures, float]:
    """(a worker's figures, CPU of the API meanwhile in us)."""
    before_s = cpu_s(stack.pids()[0])
    figures = work()
    return figures, 1e6 * (cpu_s(stack.pids()[0]) - before_s)


def _wide(plan: Plan, stack: Stack) -> Figures:
    """The same for a board of 1,000 slots."""
    stack.open_venue(rule_document(slots=WIDE_SLOTS), 2 * WIDE_SLOTS, venue=WIDE)
    stack.shows(WIDE)
    path = f"/v1/venues/{WIDE}/slots?limit={WIDE_SLOTS}"
    body = stack.request("GET", path)[1]
    ours, rivals = _compare(plan, stack, path, body, rounds=1 if plan.quick else 3, seconds=1.0 if plan.quick else 3.0)
    return {**ours, "body_bytes": len(body), "rivals": rivals}
