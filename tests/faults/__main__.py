"""Fault exercises by name: python -m tests.faults NAME [--quick] [--json] [--rounds N]."""

from __future__ import annotations

import sys
from importlib import import_module

EXERCISES = (
    "away",
    "backlog",
    "clock_jumps",
    "crash_points",
    "disk_full",
    "failover",
    "fuzz",
    "kills",
    "memory_full",
    "overload",
    "reply_drops",
    "rolling",
    "simulation",
    "soak",
    "state_machine",
    "takeover",
    "torn_file",
)


def main() -> int:
    """Run the exercise that is named first, with the other arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in EXERCISES:
        sys.stderr.write(f"{__doc__}\nexercises: {', '.join(EXERCISES)}\n")
        return 2
    run: int = import_module(f"tests.faults.{sys.argv[1]}").main(sys.argv[2:])
    return run


sys.exit(main())
