"""Fuzzing: mutated event bodies and log entries in process, bodies over HTTP, and every operation by its schema.

Nothing may crash, no race may stop, no answer may be a 5xx. The seed is told; the same seed gives the same mutants.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from tests.faults.exercise import Tell, aloud, silent
from tests.fuzzing.bodies import PRODUCTS, RULE, Outcome, mutated_bodies, try_bodies
from tests.fuzzing.entries import mutated_entries, try_entries
from tests.integration.running import Running, running
from tests.stack import ROOT

TAKEN, REFUSED = {202}, {400, 413, 415, 422}
_PORTION = 20_000
_STOP_S = 60.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each."""

    bodies: int
    entries: int
    http: int
    cases: int


LONG = Amounts(bodies=1_000_000, entries=100_000, http=20_000, cases=2_000)
QUICK = Amounts(bodies=60_000, entries=6_000, http=1_000, cases=0)
"""Every operation has its short form in tests/integration/test_openapi.py."""


@dataclass
class Result:
    """What was tried and what became of it. It holds if nothing crashed and no answer was a 5xx."""

    seed: int
    wanted: Amounts
    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    bodies: Outcome = field(default_factory=Outcome)
    entries: Outcome = field(default_factory=Outcome)
    http: Outcome = field(default_factory=Outcome)
    operations: int = 0
    operations_failed: int = 0
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stopped_early: bool = False

    @property
    def holds(self) -> bool:
        """Whether every bound was kept, in all parts that were run."""
        parts = [(self.bodies, self.wanted.bodies), (self.entries, self.wanted.entries), (self.http, self.wanted.http)]
        well = all(part.holds for part, wanted in parts if wanted)
        return well and not (self.operations_failed or self.lost or self.doubled or self.told)


def run(amounts: Amounts, *, seed: int = 1, tell: Tell = silent, within_s: float | None = None) -> Result:
    """Try so much of each; within_s: no portion is begun after that, and the result says so."""
    begun_s = time.monotonic()
    result = Result(seed, amounts)

    def over() -> bool:
        late = within_s is not None and time.monotonic() - begun_s > within_s
        result.stopped_early |= late
        return late

    tell(f"seed {seed}")
    for what, total, attempt in (("entries", amounts.entries, _entries), ("bodies", amounts.bodies, _bodies)):
        for portion in range(0, total, _PORTION):
            if over():
                break
            _add(getattr(result, what), attempt(seed + portion, min(_PORTION, total - portion)))
            tell(f"{what}: {getattr(result, what).tried} of {total}, {getattr(result, what).crashes} crashed")
    if amounts.http and not over():
        _over_http(amounts.http, seed, result, over)
        tell(f"over HTTP: {result.http.tried} of {amounts.http}, {result.http.crashes} wrong answers")
    if amounts.cases and not over():
        left_s = None if within_s is None else max(1.0, begun_s + within_s - time.monotonic())
        _operations(amounts.cases, result, left_s)
        tell(
            f"schemathesis: {result.operations} operations by {amounts.cases} cases, {result.operations_failed} failed"
        )
    result.rounds = result.bodies.tried + result.entries.tried + result.http.tried
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _bodies(seed: int, count: int) -> Outcome:
    return try_bodies(mutated_bodies(seed=seed, count=count))


def _entries(seed: int, count: int) -> Outcome:
    return try_entries(mutated_entries(seed=seed, count=count))


def _add(total: Outcome, part: Outcome) -> None:
    total.tried += part.tried
    for what, times in part.outcomes.items():
        total.became(what, times)
    total.crashes += part.crashes
    total.told += part.told


def _over_http(count: int, seed: int, result: Result, over: Callable[[], bool]) -> None:
    """Bodies to a running service, whose race then has counted what was answered 202, and goes on counting."""
    outcome, taken = result.http, 0
    with tempfile.TemporaryDirectory(prefix="saima-") as folder, running(Path(folder)) as service:
        venue = service.made_venue(*PRODUCTS, rule=RULE)
        path = f"/v1/venues/{venue}/events"
        for media_type, body in mutated_bodies(seed=seed, count=count):
            if outcome.tried % 100 == 0 and over():
                break
            outcome.tried += 1
            answer = service.http.post(path, content=body, headers={"content-type": media_type})
            outcome.became(str(answer.status_code))
            try:
                taken += _taken(answer)
            except (AssertionError, ValueError, KeyError) as exc:
                outcome.crashed(body, exc)
        sent = service.send(venue, {"type": "click", "product": PRODUCTS[0]}).json()
        service.folded(venue, sent["position"])
        result.acknowledged = taken + 1
        _judge(service, venue, result)


def _taken(answer: httpx2.Response) -> int:
    """How many events an answer says are in the log. Raises AssertionError for an answer that no sender should get."""
    assert answer.status_code in TAKEN | REFUSED, f"{answer.status_code}: {answer.text[:200]}"
    if answer.status_code in TAKEN:
        return int(answer.json()["accepted"]) + int(answer.json()["duplicate"])
    assert answer.headers["content-type"] == "application/problem+json", answer.headers["content-type"]
    assert answer.json()["status"] == answer.status_code, answer.text[:200]
    return 0


def _judge(service: Running, venue: str, result: Result) -> None:
    """Every event that was taken has met its fate in the fold, once."""
    counts = read_commit(service.redis, VenueKeys(venue)).counts  # the API knows them a moment later
    met = sum(counts[name] for name in ("counted", "late", "duplicate", "future", "unknown_runner", "unknown_kind"))
    result.lost, result.doubled = max(0, result.acknowledged - met), max(0, met - result.acknowledged)
    if counts["unreadable"]:
        result.told.append(f"{counts['unreadable']} log entries of the API cannot be read")


def _operations(cases: int, result: Result, within_s: float | None) -> None:
    """Every operation of the OpenAPI document by schemathesis, with all of its checks."""
    command = [sys.executable, "-m", "pytest", "-v", "-n0", "-p", "no:cacheprovider", "--tb=short"]
    command += ["tests/integration/test_openapi.py", "-k", "as_its_document_says"]
    environment = {**os.environ, "OPENAPI_CASES": str(cases)}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out)
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            code, result.stopped_early = 0, True
            process.send_signal(signal.SIGINT)  # so that it stops the servers that it has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            process.kill()
        out.seek(0)
        told = out.read()
    ended = re.findall(r"^\S+::\S.* (PASSED|FAILED|ERROR) ", told, re.MULTILINE)
    result.operations, result.operations_failed = len(ended), len(ended) - ended.count("PASSED")
    result.told += re.findall(r"^(\S+::\S.*) (?:FAILED|ERROR) ", told, re.MULTILINE)
    if code:
        result.told.append(f"schemathesis, {cases} cases: {told[-3000:]}")


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults fuzz", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form, under 50 s, without operations")
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutants")
    parser.add_argument("--within", type=float, help="begin nothing more after so many seconds")
    for each in ("bodies", "entries", "http", "cases"):
        parser.add_argument(f"--{each}", type=int, help=f"other than {getattr(LONG, each):,}")
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = asdict(QUICK if options.quick else LONG)
    given = {name: usual[name] if getattr(options, name) is None else getattr(options, name) for name in usual}
    within_s = options.within if options.within is not None else 30.0 if options.quick else None
    tell = silent if options.json else aloud
    result = run(Amounts(**given), seed=options.seed, tell=tell, within_s=within_s)
    sys.stdout.write(json.dumps({"exercise": "fuzz", **asdict(result), "holds": result.holds}) + "\n")
    return 0 if result.holds else 1
