"""What products are told to be, and how they moved: from boards of whole ten seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.badges import moved, told_lately
from api.history import GRID_MS, NO_REFERENCES, REFERENCES, Board, References, references_after
from racing.badge_settings import BadgeSettings
from racing.model import Frame, Slot

NOTHING_TOLD = BadgeSettings(hot_slots=0, rising_slots=0, new=False, low_stock=0)


def board(at_s: int, *runners: int) -> Board:
    return Board((7, at_s), 1000 * at_s, {runner: index + 1 for index, runner in enumerate(runners)})


def boards(*latest: Board | None) -> References:
    """References with these, the latest first, and the last for all before."""
    return (*latest, *[latest[-1]] * (REFERENCES - len(latest)))


def test_without_an_older_board_nothing_has_moved_and_nobody_is_new() -> None:
    references = boards(board(100, 1, 2), None)
    assert moved(references, 1, 2) is None
    assert told_lately(references, BadgeSettings(hot_slots=0)) == {}
    assert told_lately(NO_REFERENCES, BadgeSettings()) == {}


def test_what_the_rule_turns_off_is_not_told() -> None:
    references = boards(board(100, 9, 8, 7, 6, 5, 4, 3, 2, 1), *[board(90, 1, 2, 3, 4, 5, 6, 7, 8)] * 9)
    assert told_lately(references, NOTHING_TOLD) == {}
    assert told_lately(references, BadgeSettings(hot_slots=1, rising_slots=0, new=False)) == {9: ("hot",), 1: ("hot",)}


def test_movement_is_told_from_the_board_of_a_minute_ago() -> None:
    references = boards(*[board(100, 3, 2, 1)] * 6, board(40, 1, 2, 3))
    assert [moved(references, runner, slot) for runner, slot in ((3, 1), (2, 2), (1, 3), (9, 4))] == [2, 0, -2, None]


@pytest.mark.parametrize(("rising_slots", "told"), [(7, ("rising", "new")), (8, ("new",))])
def test_who_comes_onto_the_board_rises_from_behind_its_last_slot(rising_slots: int, told: tuple[str, ...]) -> None:
    older = board(40, *range(10))
    references = boards(*[board(100, 0, 1, 2, 99, 3, 4, 5, 6, 7, 8)] * 6, older)
    settings = BadgeSettings(hot_slots=0, rising_slots=rising_slots)
    assert told_lately(references, settings)[99] == told


def frame(at_ms: int, runners: list[int]) -> Frame:
    slots = tuple(Slot(index + 1, runner, f"p-{runner}", 0.0) for index, runner in enumerate(runners))
    return Frame("hall-1", at_ms, 7, "0-0", at_ms, 1, 9, 1, slots)


@given(st.lists(st.permutations(range(6)).map(lambda runners: runners[:4]), min_size=2, max_size=60))
def test_law_a_badge_stays_for_half_a_minute(orders: list[list[int]]) -> None:
    """Whatever the board does, every two seconds: what is told of a product is told for 30 s at least."""
    settings = BadgeSettings(hot_slots=1, rising_slots=2)
    references, before = NO_REFERENCES, frame(0, orders[0])
    since: dict[tuple[int, str], int] = {}
    for index, order in enumerate(orders[1:]):
        now = frame(2_000 * (index + 1), order)
        references = references_after(references, before, now.at_ms)
        told = {(runner, name) for runner, names in told_lately(references, settings).items() for name in names}
        for each in since.keys() - told:
            assert now.at_ms - since.pop(each) >= 30_000
        since.update(dict.fromkeys(told - since.keys(), now.at_ms))
        before = now


def test_what_is_told_changes_at_whole_ten_seconds_only() -> None:
    references = references_after(NO_REFERENCES, frame(1, [1]), GRID_MS)
    assert references_after(references, frame(GRID_MS, [2]), 2 * GRID_MS - 1) is references
