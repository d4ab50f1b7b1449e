"""What every exercise shares on the command line: its options, and its result as the last line of output."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from tests.faults.bounds import Bounded

QUICK_ROUNDS = 3
"""Rounds of the short form of an exercise that does not say otherwise."""

Tell = Callable[[str], None]


class Exercise(Protocol):
    """Runs some rounds and returns a dataclass with a property ``holds``."""

    def __call__(self, rounds: int, *, seed: int, tell: Tell) -> Any: ...


def silent(_: str) -> None:
    """Tell nobody."""


def aloud(line: str) -> None:
    """Tell whoever sits before the terminal."""
    sys.stderr.write(f"{line}\n")


def run_from_command_line(
    name: str, run: Exercise, arguments: Sequence[str], *, rounds: int, about: str | None, quick: int = QUICK_ROUNDS
) -> int:
    """Run an exercise; the last line of output is its result as JSON. Returns 1 where a bound was broken."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.faults {name}", description=about)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often (default: {rounds})")
    parser.add_argument("--quick", action="store_true", help=f"{quick} rounds, or the short form")
    parser.add_argument("--seed", type=int, default=1, help="seed of load and moments")
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    options = parser.parse_args(arguments)
    result = run(
        quick if options.quick else options.rounds,
        seed=options.seed,
        tell=silent if options.json else aloud,
    )
    broken = result.broken if isinstance(result, Bounded) and not result.holds else {}
    sys.stdout.write(json.dumps({"exercise": name, **asdict(result), "broken": broken, "holds": result.holds}) + "\n")
    return 0 if result.holds else 1
