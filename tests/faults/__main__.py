"""Fault exercises by name: python -m tests.faults NAME [--quick] [--json] [--rounds N]."""

from __future__ import annotations

import sys

from tests.faults import (
    away,
    clock_jumps,
    crash_points,
    disk_full,
    failover,
    kills,
    memory_full,
    overload,
    reply_drops,
    state_machine,
    takeover,
    torn_file,
)

EXERCISES = {
    "away": away.main,
    "clock_jumps": clock_jumps.main,
    "crash_points": crash_points.main,
    "disk_full": disk_full.main,
    "failover": failover.main,
    "kills": kills.main,
    "memory_full": memory_full.main,
    "overload": overload.main,
    "reply_drops": reply_drops.main,
    "state_machine": state_machine.main,
    "takeover": takeover.main,
    "torn_file": torn_file.main,
}


def main() -> int:
    """Run the exercise that is named first, with the other arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in EXERCISES:
        sys.stderr.write(f"{__doc__}\nexercises: {', '.join(EXERCISES)}\n")
        return 2
    return EXERCISES[sys.argv[1]](sys.argv[2:])


sys.exit(main())
