"""Fault exercises by name: python -m tests.faults NAME [--quick] [--json] [--rounds N]."""

from __future__ import annotations

import sys

from tests.faults import crash_points, fuzz, kills, reply_drops, simulation, takeover, torn_file

EXERCISES = {
    "crash_points": crash_points.main,
    "fuzz": fuzz.main,
    "kills": kills.main,
    "reply_drops": reply_drops.main,
    "simulation": simulation.main,
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
