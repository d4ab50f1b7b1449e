"""The total order, and the check that a board keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from racing.board import Leaders, check_board, order
from racing.model import FloatArray, IntArray, Slot

_SCORES: FloatArray = np.array([1.0, 3.0, 2.0, 3.0])


def _ints(*values: int) -> IntArray:
    return np.array(values, np.int64)


@dataclass
class _Board:
    """Slots of these runners with their scores; single values can be made wrong."""

    runners: tuple[int, ...]
    first_slot: int = 1
    higher_by: float = 0.0

    def slots(self) -> list[Slot]:
        return [
            Slot(index, runner, f"p-{runner}", float(_SCORES[runner]) + self.higher_by)
            for index, runner in enumerate(self.runners, start=self.first_slot)
        ]


@pytest.mark.parametrize(
    ("board", "wrong"),
    [
        (_Board((1, 2, 3)), "not the plain sort"),
        (_Board((3, 1)), "not the plain sort"),
        (_Board((1, 3, 3)), "not the plain sort"),
        (_Board((1, 3), first_slot=0), "count from 1"),
        (_Board((1, 3), higher_by=0.5), "another score"),
    ],
    ids=["a worse runner first", "a tie to the later one", "a runner twice", "slots from 0", "a wrong score"],
)
def test_a_board_out_of_order_is_found(board: _Board, wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        check_board(board.slots(), _SCORES)


@pytest.mark.parametrize("runners", [(), (1,), (1, 3), (1, 3, 2, 0)])
def test_a_board_in_order_passes(runners: tuple[int, ...]) -> None:
    check_board(_Board(runners).slots(), _SCORES)


def test_higher_scores_come_first_and_ties_go_to_the_runner_enrolled_first() -> None:
    assert [1, 3, 2, 0] == order(_ints(3, 2, 1, 0), _SCORES[[3, 2, 1, 0]]).tolist()


def test_a_zero_below_zero_is_a_zero() -> None:
    """-0.0 and 0.0 are one score: the runner enrolled first stands first."""
    assert [0, 1] == order(_ints(0, 1), np.array([-0.0, 0.0])).tolist()


def test_no_runners_are_no_order() -> None:
    assert [] == order(_ints(), np.zeros(0)).tolist()


def test_leaders_of_a_field_smaller_than_the_board_are_the_field() -> None:
    leaders = Leaders(50)
    leaders.update(_ints(0, 1, 2, 3), _SCORES)

    assert [1, 3, 2, 0] == leaders.best(_SCORES).tolist()


def test_leaders_are_no_more_than_the_board_has_slots() -> None:
    leaders = Leaders(2)
    leaders.update(_ints(0, 1, 2, 3), _SCORES)

    assert [1, 3] == leaders.best(_SCORES).tolist()


def test_leaders_of_no_field_are_none() -> None:
    leaders = Leaders(2)
    leaders.update(_ints(), np.zeros(0))

    assert [] == leaders.best(np.zeros(0)).tolist()
