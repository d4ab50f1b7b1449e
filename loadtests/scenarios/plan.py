"""What every scenario is given, and the shape of what it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.bodies import Mix
from loadtests.prefill import Span, fill
from loadtests.processes import BenchError, OutOfTimeError, Processes
from loadtests.stack import VENUE, Stack
from loadtests.traffic import BUCKET_S, QUICK_BUCKET_S, RUNNERS, WINDOW_S, Traffic, rule_document

QUICK_S = 44.0
"""A quick run is cut off here, so that it has ended, cleaned up included, within 50 s."""
FULL_S = 1_500.0
DENSITY_PER_S = 50_000
"""Windows are filled as wide as so many events a second would leave them."""

SHORT_SPAN = Span(120, 2)
"""For quick runs that measure several stretches: as many buckets to a window as with 300 s and 5 s."""
SHORT_DENSITY_PER_S = 25_000

PLAIN = Mix()

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of one scenario. begun_s: time.monotonic() when it was asked for."""

    processes: Processes
    quick: bool
    mix: Mix = PLAIN
    aof: bool = True
    runners: int = RUNNERS
    begun_s: float = field(default_factory=time.monotonic)
    tell: Callable[[str], None] = field(default=lambda _: None)

    @property
    def bucket_s(self) -> int:
        """Bucket length."""
        return QUICK_BUCKET_S if self.quick else BUCKET_S

    @property
    def stretch_s(self) -> float:
        """A measured stretch: long enough for three bucket boundaries."""
        return 3.2 * self.bucket_s

    @property
    def span(self) -> Span:
        """Window and bucket."""
        return Span(WINDOW_S, self.bucket_s)

    @property
    def short_span(self) -> Span:
        """Window and bucket where several stretches are measured: three boundaries in 7 s in a quick run."""
        return SHORT_SPAN if self.quick else self.span

    def left_s(self) -> float:
        """What is left of the time that this run may take."""
        return self.begun_s + (QUICK_S if self.quick else FULL_S) - time.monotonic()

    def lap(self, what: str) -> None:
        """Tell how far the run is."""
        self.tell(f"{time.monotonic() - self.begun_s:6.1f} s  {what}")

    def short_venue(self, stack: Stack) -> int:
        """As venue, with the short span."""
        return self.venue(
            stack, span=self.short_span, density_per_s=SHORT_DENSITY_PER_S if self.quick else DENSITY_PER_S
        )

    def venue(self, stack: Stack, *, span: Span | None = None, density_per_s: int = DENSITY_PER_S) -> int:
        """The venue with its runners enrolled, window and base full, all of it committed; events it was filled with.

        It declares segments where the mix has them.
        """
        span, segments = span or self.span, self.mix.segments
        rule = rule_document(window_s=span.window_s, bucket_s=span.bucket_s, segments=segments)
        stack.open_venue(rule, self.runners)
        self.lap(f"{self.runners:,} runners enrolled")
        traffic = Traffic(self.runners)
        per_bucket = density_per_s * span.bucket_s
        filled = fill(stack.server, VENUE, traffic, span, events_per_bucket=per_bucket, segments=segments)
        self.lap(f"windows filled with {filled:,} events")
        stack.caught_up(within_s=60 + self.runners / 2_000)
        stack.shows()
        self.lap("all of them committed")
        return filled


def ratios(
    ours: Mapping[str, Any], rivals: Mapping[str, Figures], figure: str, *, more_is_better: bool
) -> dict[str, float]:
    """How many times ours is better than each rival that has the figure."""
    mine = ours.get(figure)
    found = {}
    for name, rival in rivals.items():
        theirs = rival.get(figure)
        if mine and theirs:
            found[name] = round(mine / theirs if more_is_better else theirs / mine, 3)
    return found


def tried(plan: Plan, measure: Callable[[], Figures]) -> Figures:
    """A rival's figures, or why there are none: a rival that cannot run does not spoil the run."""
    if plan.left_s() <= 0:
        return {"skipped": "no time left for it"}
    try:
        return measure()
    except OutOfTimeError:
        return {"skipped": "no time left to finish it"}
    except Exception as exc:  # noqa: BLE001  # a rival's own trouble, whatever it is, is told and is not ours
        if plan.left_s() <= 0:  # duckdb, for one, puts its own error in the place of ours
            return {"skipped": "no time left to finish it"}
        return {"skipped": str(exc) if isinstance(exc, BenchError) else f"{type(exc).__name__}: {exc}"}


def outcome(
    scenario: str, ours: Figures, rivals: dict[str, Figures], figure: str, *, more_is_better: bool = False, **notes: Any
) -> Figures:
    """The result of a scenario."""
    return {
        "scenario": scenario,
        "figure": figure,
        "ours": ours,
        "rivals": rivals,
        "ratio": ratios(ours, rivals, figure, more_is_better=more_is_better),
        **notes,
    }
