"""Bounds of figures: stated where the figure is declared, and told by name where they break."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.bounds import EMPTY, Bounded, at_least, at_most
from tests.faults.counting import Counted


@dataclass
class _Result(Bounded):
    reads: int = at_least(1)
    failed: int = at_most(0)
    slow_s_max: float = at_most(5.0)
    share_min: float = at_least(0.9, start=1.0)
    troubles: list[str] = field(default_factory=list, metadata=EMPTY)
    clean: bool = at_least(1, start=False)
    ends: int = 0


def test_each_broken_bound_is_told_by_its_figure() -> None:
    wrong = _Result(0, 2, 5.1, 0.8, ["a"])
    assert wrong.broken.keys() == {"reads", "failed", "slow_s_max", "share_min", "troubles", "clean"}
    assert wrong.broken["slow_s_max"] == "5.1 is above 5.0"
    assert not wrong.holds


def test_figures_at_their_bounds_hold() -> None:
    assert _Result(1, 0, 5.0, 0.9, [], clean=True, ends=1_000).holds


def test_runs_are_taken_together_by_the_names_of_their_figures() -> None:
    one, other = _Result(2, 1, 3.0, 0.95, ["a"], clean=True, ends=3), _Result(5, 0, 2.0, 0.99, [], clean=False, ends=4)
    assert _Result.of_all([one, other]) == _Result(7, 1, 3.0, 0.95, ["a"], clean=False, ends=7)
    assert one == _Result(2, 1, 3.0, 0.95, ["a"], clean=True, ends=3)


def test_what_was_counted_is_right_or_not_apart_from_other_bounds() -> None:
    @dataclass
    class Slow(Counted):
        slow_s_max: float = at_most(1.0, start=2.0)

    assert Slow(acknowledged=1, verify_clean=True).right
    assert not Slow(acknowledged=1, verify_clean=True).holds
    assert not Slow(acknowledged=1, lost=1, verify_clean=True).right
    assert not Slow(acknowledged=1).right
