"""What a board is worth by the true demand means what it says."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.candidates import candidates
from loadtests.evenings import LOOK_MS, OPENING_MS, Evening, Scene, make_evening
from loadtests.watching import Watched, _stays, figures, watch
from racing.rule import Rule

CALM = Scene("calm", -3, -1)
SLOTS = 5


def small(rule: Rule) -> Rule:
    return rule.model_copy(update={"board": rule.board.model_copy(update={"slots": SLOTS})})


CLICKS = small(candidates()["level of clicks"])


@pytest.fixture(scope="module")
def evening() -> Evening:
    return make_evening(60, 1, [CALM], warm_up_min=2)


def told(truth: list[list[float]], boards: list[list[int]]) -> tuple[Watched, Evening]:
    """Boards and truth written out by hand, looks 10 s apart up to the opening."""
    looks = len(boards)
    moments = tuple(OPENING_MS - (looks - 1 - look) * LOOK_MS for look in range(looks))
    array = np.array(truth, np.float64)
    names = tuple(f"p{number}" for number in range(array.shape[1]))
    return (
        Watched(np.array(boards, np.int64), np.zeros(looks, np.int64)),
        Evening(names, moments, (), array, array),
    )


class TestFigures:
    def test_a_board_of_the_best_products_shows_everything(self) -> None:
        watched, evening = told([[3.0, 2.0, 1.0]] * 2, [[0, 1], [1, 0]])
        found = figures(watched, evening, Scene("all", -1, 0))
        assert found.money == pytest.approx(1.0)

    def test_a_board_that_misses_the_best_shows_less(self) -> None:
        watched, evening = told([[3.0, 2.0, 1.0]] * 2, [[1, 2], [1, 2]])
        assert figures(watched, evening, Scene("all", -1, 0)).money == pytest.approx(0.6)

    def test_a_swap_moves_two_slots_and_brings_nobody(self) -> None:
        watched, evening = told([[3.0, 2.0, 1.0]] * 2, [[0, 1], [1, 0]])
        last = figures(watched, evening, Scene("last", -0.1, 0))
        assert (last.joined, last.moved) == (0.0, 1.0)

    def test_a_product_that_takes_off_is_found_when_it_is_shown(self) -> None:
        """Off for 5 minutes, then best for 90 s and on the board from the fourth look: 30 s."""
        truth = [[1.0, 0.0]] * 30 + [[1.0, 2.0]] * 9
        boards = [[0]] * 33 + [[1]] * 6
        watched, evening = told(truth, boards)
        assert figures(watched, evening, Scene("all", -9, 0)).found_s == pytest.approx(30.0)

    def test_without_take_offs_there_is_no_time_to_find_them(self) -> None:
        watched, evening = told([[3.0, 2.0]] * 3, [[0]] * 3)
        assert figures(watched, evening, Scene("all", -1, 0)).found_s is None

    @pytest.mark.parametrize(
        ("absent", "stayed", "counts"), [(29, 6, False), (30, 5, False), (30, 6, True), (40, 90, True)]
    )
    def test_only_a_lasting_stay_after_a_long_absence_is_a_take_off(
        self, absent: int, stayed: int, counts: bool
    ) -> None:
        inside = np.array([False] * absent + [True] * stayed + [False])
        assert list(_stays(inside)) == ([(absent, absent + stayed)] if counts else [])


class TestWatching:
    def test_watching_twice_sees_the_same_boards(self, evening: Evening) -> None:
        assert np.array_equal(watch(CLICKS, evening).boards, watch(CLICKS, evening).boards)

    def test_every_board_names_distinct_products(self, evening: Evening) -> None:
        boards = watch(CLICKS, evening).boards
        assert boards.shape == (len(evening.moments_ms), SLOTS)
        assert all(len(set(board.tolist())) == SLOTS for board in boards)

    def test_position_bias_thins_the_events(self, evening: Evening) -> None:
        """Products outside the board sell less, so those on it stay: fewer newcomers on the board."""
        free, biased = (watch(CLICKS, evening, position_bias=bias) for bias in (False, True))
        assert not np.array_equal(free.boards, biased.boards)

    def test_counting_clicks_beats_no_evidence(self, evening: Evening) -> None:
        """With every weight 0 the board is the enrolment order, which knows nothing of demand."""
        blind = CLICKS.model_copy(update={"terms": [CLICKS.terms[0].model_copy(update={"weight": 0.0})]})
        by_rule = [figures(watch(rule, evening), evening, CALM).money for rule in (CLICKS, blind)]
        assert by_rule[0] > 2 * by_rule[1]
