"""ingest_json_500, ingest_packed, ingest_single: from HTTP body to committed standings and published frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loadtests.bodies import Form, Mix
from loadtests.measure import measure
from loadtests.processes import BenchError, Worker
from loadtests.rivals import bare_uvicorn, duckdb_buckets, naive_redis_pipelined, redis_buckets, redis_count_only
from loadtests.rivals.contest import Contest
from loadtests.scenarios.plan import DENSITY_PER_S, Figures, Plan, outcome, tried
from loadtests.stack import HOST, VENUE, Stack
from loadtests.traffic import Traffic
from loadtests.worker import Job

CONNECTIONS = 8
SINGLE_CONNECTIONS = 64
_LARGER_BATCH = 1_000
"""The most that is taken in one batch by default: what a sender of packed columns would send."""
RATES_PER_S = (1_000, 10_000, 50_000)
_RIVAL_S = 2.5
_FULL_RIVAL_S = 10.0
_RIVAL_S_MIN = 0.6
_RESERVED_S = 6.0


def json_500(plan: Plan) -> Figures:
    """JSON batches of 500 events."""
    ours = _with_variants(plan, "json", 500)
    return outcome("ingest_json_500", ours, _rivals(plan, ours, "ndjson"), "cpu_us_per_event", **_notes(plan))


def packed(plan: Plan) -> Figures:
    """Packed columns, 500 events to a body."""
    try:
        ours = _with_variants(plan, "packed", 500)
    except BenchError as exc:
        ours = {"error": str(exc)}
    return outcome("ingest_packed", ours, _rivals(plan, ours, "arrays"), "cpu_us_per_event", **_notes(plan))


def single(plan: Plan) -> Figures:
    """One event per request, against a bare uvicorn application that reads the body and answers 202."""
    with Stack(plan.processes, aof=plan.aof) as stack:
        worker = _sender(plan, stack.port, "json", 1, plan.mix)
        plan.venue(stack)
        ours = measure(stack, worker.ready(), seconds=plan.stretch_s, bucket_s=plan.bucket_s)
        worker.close()
    ours = {"requests_per_s": ours["sender"]["requests_per_s"], **ours}
    rivals = {"bare_uvicorn": tried(plan, lambda: _bare(plan))}
    return outcome("ingest_single", ours, rivals, "requests_per_s", more_is_better=True, **_notes(plan))


def _notes(plan: Plan) -> dict[str, Any]:
    return {"bucket_s": plan.bucket_s, "append_only_file": plan.aof, "runners": plan.runners}


def _sender(plan: Plan, port: int, form: Form, batch: int, mix: Mix) -> Worker:
    path = f"/v1/venues/{VENUE}/events"
    connections = SINGLE_CONNECTIONS if batch == 1 else CONNECTIONS
    return Worker(
        plan.processes,
        Job("send", HOST, port, path, connections=connections, form=form, batch=batch, runners=plan.runners, mix=mix),
    )


def _with_variants(plan: Plan, form: Form, batch: int) -> Figures:
    """The figures at saturation; in a full run also at fixed rates, in other mixes, and without append-only file."""
    with Stack(plan.processes, aof=plan.aof) as stack:
        worker = _sender(plan, stack.port, form, batch, plan.mix)
        plan.venue(stack)
        ours = _measured(plan, stack, worker)
        if not plan.quick:
            ours["at_rate"] = {
                str(rate): _measured(plan, stack, _sender(plan, stack.port, form, batch, plan.mix), rate / batch)
                for rate in RATES_PER_S
            }
            ours["mixes"] = {
                name: _measured(plan, stack, _sender(plan, stack.port, form, batch, mix))
                for name, mix in _mixes(plan.mix).items()
            }
            if form == "packed":
                larger = _sender(plan, stack.port, form, _LARGER_BATCH, replace(plan.mix, tag="larger"))
                ours[f"batches_of_{_LARGER_BATCH}"] = _measured(plan, stack, larger)
            stack.server.persist(aof=not plan.aof)
            worker = _sender(plan, stack.port, form, batch, replace(plan.mix, tag="off"))
            ours[f"append_only_file_{'off' if plan.aof else 'on'}"] = _measured(plan, stack, worker)
    return ours


def _mixes(mix: Mix) -> dict[str, Mix]:
    return {
        "id_on_5_percent": replace(mix, id_share=0.05, tag="a"),
        "id_on_all": replace(mix, id_share=1.0, tag="b"),
        "user_and_time_on_all": replace(mix, users=True, times=True, tag="c"),
    }


def _measured(plan: Plan, stack: Stack, worker: Worker, rate_per_s: float | None = None) -> Figures:
    figures = measure(stack, worker.ready(), seconds=plan.stretch_s, bucket_s=plan.bucket_s, rate_per_s=rate_per_s)
    worker.close()
    plan.lap(f"measured: {figures['cpu_us_per_event']} us CPU per event")
    return figures


def _rivals(plan: Plan, ours: Figures, source: duckdb_buckets.Source) -> dict[str, Figures]:
    """Every rival of event ingest, for the same events per bucket as ours had."""
    per_bucket = ours.get("events_per_bucket", DENSITY_PER_S * plan.bucket_s)
    traffic = Traffic(plan.runners)
    runs: dict[str, Callable[[Contest], Figures]] = {
        "redis_count_only": redis_count_only.run,
        "naive_redis_pipelined": naive_redis_pipelined.run,
        "redis_buckets": redis_buckets.run,
        "duckdb_buckets": lambda contest: duckdb_buckets.run(contest, source),
    }
    found: dict[str, Figures] = {}
    for name, run in runs.items():
        seconds = _FULL_RIVAL_S if not plan.quick else _share_s(plan, len(runs) - len(found))
        contest = _contest(plan, traffic, plan.aof, per_bucket, seconds)
        found[name] = tried(plan, lambda run=run, contest=contest: run(contest))  # type: ignore[misc]  # bound early
        plan.lap(f"{name} measured")
        if not plan.quick:
            other = _contest(plan, traffic, not plan.aof, per_bucket, seconds)
            switched = "off" if plan.aof else "on"
            found[name][f"append_only_file_{switched}"] = tried(plan, lambda run=run, other=other: run(other))  # type: ignore[misc]
    if not plan.quick:
        _beside(plan, _contest(plan, traffic, plan.aof, per_bucket, _FULL_RIVAL_S), found, source)
    return found


def _beside(plan: Plan, contest: Contest, found: dict[str, Figures], source: duckdb_buckets.Source) -> None:
    """Other ways to run two of the rivals, reported beside them."""
    found["naive_redis_pipelined"]["scores_fresh"] = tried(plan, lambda: naive_redis_pipelined.run(contest, fresh=True))
    found["duckdb_buckets"]["whole_buckets"] = tried(
        plan, lambda: duckdb_buckets.run(contest, source, whole_buckets=True)
    )


def _share_s(plan: Plan, rivals_left: int) -> float:
    """How long a rival may be measured in a quick run: filling its windows takes about as long again."""
    return max(_RIVAL_S_MIN, min(_RIVAL_S, (plan.left_s() - _RESERVED_S) / rivals_left / 2))


def _contest(plan: Plan, traffic: Traffic, aof: bool, per_bucket: int, seconds: float) -> Contest:  # noqa: FBT001  # a plain condition
    return Contest(plan.processes, traffic, aof, plan.span.window_s, plan.bucket_s, per_bucket, seconds)


def _bare(plan: Plan) -> Figures:
    seconds = 5.0 if plan.quick else plan.stretch_s
    with bare_uvicorn.BareUvicorn(plan.processes) as bare:
        worker = _sender(plan, bare.port, "json", 1, plan.mix).ready()
        worker.run(1.0)
        cpu_s = bare.cpu_s()
        figures = worker.run(seconds)
        used_s = bare.cpu_s() - cpu_s
        worker.close()
    return {
        "requests_per_s": figures["requests_per_s"],
        "cpu_us_per_request": round(1e6 * used_s / figures["requests"], 2),
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
    }
