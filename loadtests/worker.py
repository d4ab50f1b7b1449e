"""A process that makes load, so that its CPU is not the service's: it sends, reads or polls as its job says.

It is told its job as one line of JSON on standard input, prepares, answers ``{"ready": true}``, and then runs
once for each further line (``{"seconds": 5, "rate_per_s": 200}``), answering each with one line of figures. It
ends when its input ends, that is also when its parent dies.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec

from loadtests.bodies import Form, Mix, make_bodies, request_bytes, supply_of
from loadtests.follow import Followers
from loadtests.traffic import Traffic
from loadtests.wire import Generator, Pace, Tally

BODY_EVENTS_MAX = 250_000
"""Events encoded ahead: they are sent in turn, again and again, so memory stays bounded."""

CONNECT_S = 15.0


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker does. role: send event batches, read a path, poll a path for its log position, or follow streams.

    silent: streams that are opened and never read, besides the connections.
    """

    role: str
    host: str
    port: int
    path: str
    connections: int = 8
    form: Form = "json"
    batch: int = 500
    runners: int = 10_000
    seed: int = 1
    mix: Mix = Mix()
    headers: list[tuple[str, str]] = []
    silent: int = 0


class Go(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run. rate_per_s: requests (polls) due per second; None: as fast as they are answered."""

    seconds: float
    rate_per_s: float | None = None
    rows: bool = False


def requests_of(job: Job) -> Iterator[bytes]:
    """The requests of a job, for ever."""
    if job.role != "send":
        return repeat(request_bytes("GET", job.path, headers=job.headers))
    traffic = Traffic(job.runners, seed=job.seed)
    bodies = make_bodies(traffic, job.form, batch=job.batch, bodies=max(1, BODY_EVENTS_MAX // job.batch), mix=job.mix)
    return supply_of(job.path, bodies, lambda: time.time_ns() // 1_000_000)


def answer_of(tally: Tally, go: Go) -> dict[str, Any]:
    """A run's figures for the parent; with rows one per answer: when it was due, when answered, log position."""
    found: dict[str, Any] = {
        **tally.figures(),
        "seconds": tally.seconds,
        "statuses": {str(status): count for status, count in tally.statuses.items()},
        "refusal": tally.refusal,
        "cpu_s": time.process_time(),
    }
    if go.rows:
        found["rows"] = [
            (due_s, answered_s, position)
            for due_s, answered_s, position in zip(
                tally.scheduled_s, tally.answered_s, tally.positions or repeat(None), strict=False
            )
        ]
    return found


def changes(tally: Tally) -> list[tuple[float, Any]]:
    """(when first seen, position) of each position that a poller saw."""
    seen: list[tuple[float, Any]] = []
    for answered_s, position in zip(tally.answered_s, tally.positions, strict=True):
        if position is not None and (not seen or position > seen[-1][1]):
            seen.append((answered_s, position))
    return seen


def main() -> None:
    """Work until the input ends."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    if job.role == "follow":
        follow(job)
        return
    requests = requests_of(job)
    next(requests)
    generator = _connected(job)
    _tell({"ready": True})
    for line in sys.stdin.buffer:
        go = msgspec.json.decode(line, type=Go)
        positions = job.role == "poll" or (job.role == "send" and go.rows)
        tally = generator.run(requests, Pace(go.seconds, go.rate_per_s, positions=positions))
        told = answer_of(tally, Go(0)) | {"seen": changes(tally)} if job.role == "poll" else answer_of(tally, go)
        _tell(told)
    generator.close()


def follow(job: Job) -> None:
    """Follow streams until the input ends."""
    followers = Followers((job.host, job.port), job.path, job.connections, job.silent)
    _tell({"ready": True})
    for line in sys.stdin.buffer:
        _tell(followers.run(msgspec.json.decode(line, type=Go).seconds))
    followers.close()


def _connected(job: Job) -> Generator:
    """The connections, as soon as the server takes them: it may start while the requests are prepared."""
    until_s = time.monotonic() + CONNECT_S
    while True:
        try:
            return Generator((job.host, job.port), job.connections)
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
