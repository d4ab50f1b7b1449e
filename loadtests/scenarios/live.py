"""live: what it costs to tell thousands of clients of every change, on one API process, and what silent ones cost."""

from __future__ import annotations

import contextlib
import resource
import time
from dataclasses import replace

from loadtests.processes import BenchError, Worker, cpu_s, rss_bytes
from loadtests.scenarios.plan import Figures, Plan, outcome
from loadtests.stack import HOST, VENUE, Stack
from loadtests.worker import Job

CLIENTS = 5_000
SILENT = 200
_RUNNERS = 1_000
_SPARE = 300
"""Descriptors that a process needs besides its streams."""
_BATCHES_PER_S, _BATCH = 30.0, 30
"""Enough for a new frame every 100 ms, little enough not to be what is measured."""
_DENSITY_PER_S = 2_000
_OPEN_S = 40.0


def live(plan: Plan) -> Figures:
    """CPU of the API for each client and change, over that of the same events without clients; memory per client."""
    seconds = 5.0 if plan.quick else 20.0
    plan = replace(plan, runners=_RUNNERS)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = min(CLIENTS, limit - _SPARE - SILENT)
    with Stack(plan.processes, aof=plan.aof) as stack, contextlib.ExitStack() as workers:
        path = f"/v1/venues/{VENUE}/events"
        sender = Worker(
            plan.processes, Job("send", HOST, stack.port, path, connections=2, batch=_BATCH, runners=_RUNNERS)
        )
        workers.callback(sender.close)
        plan.venue(stack, density_per_s=_DENSITY_PER_S)
        sender.ready()
        api = stack.pids()[0]
        alone = _sent(sender, api, seconds)
        before = rss_bytes(api)
        followers = _followers(plan, stack, clients)
        workers.callback(followers.close)
        plan.lap(f"{clients:,} streams open")
        followed = _followed(sender, followers, api, seconds)
        memory = (rss_bytes(api) - before) / clients
        plan.lap(
            f"measured: {_figures(followed, alone)['cpu_us_per_client_and_change']} us, {memory:,.0f} bytes a client"
        )
        workers.callback(_followers(plan, stack, 0, silent=SILENT).close)
        _followed(sender, followers, api, 1.0)
        harmed = _followed(sender, followers, api, seconds)
        plan.lap(f"measured with {SILENT} silent ones")
    ours = {
        **_figures(followed, alone),
        "memory_bytes_per_client": round(memory),
        "clients": clients,
        "descriptor_limit": limit,
        "with_silent_clients": {"silent": SILENT, **_figures(harmed, alone)},
    }
    return outcome("live", ours, {}, "cpu_us_per_client_and_change")


def _followers(plan: Plan, stack: Stack, clients: int, silent: int = 0) -> Worker:
    job = Job("follow", HOST, stack.port, f"/v1/venues/{VENUE}/live", connections=clients, silent=silent)
    return Worker(plan.processes, job).ready(_OPEN_S)


def _sent(sender: Worker, api: int, seconds: float) -> float:
    """CPU seconds of the API a second, while events come and nobody follows."""
    sender.run(1.0, rate_per_s=_BATCHES_PER_S)
    before_s = cpu_s(api)
    sender.run(seconds, rate_per_s=_BATCHES_PER_S)
    return (cpu_s(api) - before_s) / seconds


def _followed(sender: Worker, followers: Worker, api: int, seconds: float) -> Figures:
    """What the followers were told, and CPU of the API meanwhile. The events go on a little longer than that."""
    sender.go(seconds + 1.0, rate_per_s=_BATCHES_PER_S)
    time.sleep(0.5)
    before_s, begun_s = cpu_s(api), time.monotonic()
    figures = followers.run(seconds)
    figures["api_cpu_s"], figures["seconds"] = cpu_s(api) - before_s, time.monotonic() - begun_s
    sent = sender.result()
    if set(sent["statuses"]) != {"202"}:
        raise BenchError(f"events were not taken: {sent['statuses']} {sent['refusal']}")
    return figures


def _figures(told: Figures, alone: float) -> Figures:
    if not told["changes"]:
        raise BenchError("no follower was told of any change")
    cpu = told["api_cpu_s"] - alone * told["seconds"]
    return {
        "cpu_us_per_client_and_change": round(1e6 * cpu / told["changes"], 2),
        "changes_per_s": round(told["frames"] / told["seconds"], 1),
        "changes_per_client": told["changes_per_client"],
        "bytes_per_change": round(told["bytes"] / told["changes"]),
        "api_cores": round(told["api_cpu_s"] / told["seconds"], 3),
        "p50_ms": told["late_ms_p50"],
        "p99_ms": told["late_ms_p99"],
        "max_ms": told["late_ms_max"],
    }
