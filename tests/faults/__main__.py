"""Fault exercises by name: python -m tests.faults NAME [--quick] [--json] [--rounds N]."""

from __future__ import annotations

import sys

from tests.faults import kills, pauses, simulation, torn_file

EXERCISES = {"kills": kills.main, "pauses": pauses.main, "simulation": simulation.main, "torn_file": torn_file.main}


def main() -> int:
    """Run the exercise that is named first, with the other arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in EXERCISES:
        sys.stderr.write(f"{__doc__}\nexercises: {', '.join(EXERCISES)}\n")
        return 2
    return EXERCISES[sys.argv[1]](sys.argv[2:])


sys.exit(main())
