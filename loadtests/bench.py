"""Runs the scenarios, each with its rivals in one run, prints one table and keeps the results.

    python -m loadtests.bench [SCENARIO ...] [--quick] [--json] (--help says more)

``make bench`` runs all of them at full length. With --json, the last line of the output is the result of the last
scenario as one JSON object. Results are written to loadtests/results/ with commit, machine and versions.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests import machine, table
from loadtests.bodies import Mix
from loadtests.measure import busy_s
from loadtests.processes import BenchError, OutOfTimeError, Processes
from loadtests.scenarios import delay, growth, ingest, live, memory, merchants, reads, recovery, segments
from loadtests.scenarios.plan import FULL_S, QUICK_S, Figures, Plan

RESULTS = Path(__file__).parent / "results"

SCENARIOS: dict[str, Callable[[Plan], Figures]] = {
    "ingest_json_500": ingest.json_500,
    "ingest_packed": ingest.packed,
    "ingest_single": ingest.single,
    "delay_half": delay.half,
    "delay_ninety": delay.ninety,
    "reads": reads.reads,
    "live": live.live,
    "growth": growth.growth,
    "memory": memory.memory,
    "recovery": recovery.recovery,
    "segments": segments.segments,
    "merchants": merchants.merchants,
}
"""Permanent names: results of different commits are compared by them."""

MIXES = {"plain": Mix(), "users": Mix(users=True), "full": Mix(users=True, times=True, id_share=0.05)}


def run(name: str, options: argparse.Namespace, tell: Callable[[str], None]) -> Figures:
    """One scenario's result; one with ``error`` where it could not be measured."""
    busy, begun_s = busy_s(), time.monotonic()
    try:
        with _time_limit(QUICK_S if options.quick else FULL_S), Processes() as processes:
            mix = MIXES[options.events]
            aof = options.aof == "on"
            plan = Plan(processes, quick=options.quick, mix=mix, aof=aof, begun_s=begun_s, tell=tell)
            found = SCENARIOS[name](plan)
    except (BenchError, OutOfTimeError) as exc:
        found = {"scenario": name, "error": str(exc), "ours": {}, "rivals": {}, "ratio": {}}
    seconds = time.monotonic() - begun_s
    return {
        **found,
        "quick": options.quick,
        "events": options.events,
        "seconds": round(seconds, 1),
        "cores_busy": round((busy_s() - busy) / seconds, 2),
    }


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block when its time is over, and KeyboardInterrupt on SIGTERM: both clean up."""

    def over(_signal: int, _frame: Any) -> None:
        raise OutOfTimeError(f"not measured within {seconds:g} s: is the machine busy with something else?")

    def ended(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, over), signal.signal(signal.SIGTERM, ended)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGTERM, before[1])


def keep(results: Sequence[Figures], *, quick: bool) -> Path:
    """Write results with commit, machine and versions; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    about = machine.about()
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = RESULTS / f"{moment}-{about['commit'][:9]}{'-quick' if quick else ''}.json"
    path.write_text(json.dumps({**about, "at": moment, "scenarios": list(results)}, indent=1) + "\n")
    return path


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"all of them if left out: {', '.join(SCENARIOS)}")
    add("--quick", action="store_true", help="each under 50 s: 5 s buckets, fewer variants")
    add("--json", action="store_true", help="print results as JSON, one object a line, and write no file")
    add(
        "--events", choices=MIXES, default="plain", help="what events carry: plain (kind, product, amount), users, full"
    )
    add("--aof", choices=("on", "off"), default="on", help="append-only file of ours and of the rivals (on)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a scenario could not be measured, 130 where it was interrupted."""
    options = _options(arguments)
    try:
        return _run_all(options)
    except KeyboardInterrupt:
        return 130


def _run_all(options: argparse.Namespace) -> int:
    progress = Console(stderr=True)
    results: list[Figures] = []
    try:
        for name in options.scenarios or SCENARIOS:
            progress.print(name)
            results.append(run(name, options, lambda line: progress.print(line, style="dim", highlight=False)))
            if options.json:
                print(json.dumps(results[-1]), flush=True)
    finally:  # who interrupts an hour of measuring has what was measured
        if results and not options.json:
            Console(width=None if sys.stdout.isatty() else 150).print(table.of(results))
            progress.print(f"kept in {keep(results, quick=options.quick)}", style="dim")
    return int(any("error" in result or "error" in result["ours"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
