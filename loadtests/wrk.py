"""wrk, where it is installed, for closed-loop reads: our own generator cannot ask as fast as nginx answers.

On two cores the generator shares the machine with what it measures, so a cheaper one is also a fairer one. Where
wrk is missing the reads are made by ``loadtests.wire`` for all alike, and the result says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from loadtests.processes import BenchError

_RATE = re.compile(r"Requests/sec: +([\d.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_PERCENTILE = re.compile(r"^ +(50|99)% +([\d.]+)(us|ms|s)$", re.MULTILINE)
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def installed() -> bool:
    """Whether there is a wrk on the PATH."""
    return shutil.which("wrk") is not None


def run(url: str, seconds: float, *, connections: int, headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Figures of one closed-loop run, named as those of our own generator; whole seconds, one at least.

    Raises BenchError where requests were answered with errors.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    for name, value in headers:
        command += ["-H", f"{name}: {value}"]
    told = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    if told.returncode:
        raise BenchError(f"wrk failed: {told.stdout[-200:]}{told.stderr[-200:]}")
    return figures_in(told.stdout)


def figures_in(report: str) -> dict[str, Any]:
    """The figures in wrk's report. Raises BenchError where they are missing or tell of errors."""
    rate, requests, bad = _RATE.search(report), _COUNT.search(report), _BAD.search(report)
    if bad:
        raise BenchError(f"wrk: {bad[0]}")
    if not rate or not requests:
        raise BenchError(f"wrk's report is not understood: {report[-300:]}")
    late_ms = {
        f"p{percent}_ms": round(float(value) * _MS[unit], 3) for percent, value, unit in _PERCENTILE.findall(report)
    }
    return {"requests": int(requests[1]), "requests_per_s": float(rate[1]), **late_ms}
