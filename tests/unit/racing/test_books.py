"""What doctor says of a venue's counters, where they are not as they should be."""

from __future__ import annotations

import pytest

from racing.doctor import _books
from racing.store.commit import NO_COMMIT, CommitRecord


def record(*, damaged: int = 0, **counts: int) -> CommitRecord:
    return CommitRecord(1, 1, NO_COMMIT.position, NO_COMMIT.position, 1, 0, counts, damaged=damaged)


def test_counters_that_do_not_balance_are_a_problem() -> None:
    (found,) = _books("hall-1", record(accepted=9, counted=5, late=1, future=1, duplicate=1))

    assert (found.grade, found.found) == ("problem", "9 events accepted, 8 of known fate")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"damaged": 2, "unreadable": 1}, "found damaged 2 times, 1 entries unreadable"),
        ({"unreadable": 3}, "3 entries unreadable"),
    ],
)
def test_damage_and_unreadable_entries_are_a_warning(counts: dict[str, int], said: str) -> None:
    (found,) = _books("hall-1", record(**counts))

    assert (found.grade, found.found) == ("warning", said)


@pytest.mark.parametrize("counts", [{}, {"counted": 7}, {"accepted": 8, "counted": 7, "unknown_kind": 1}])
def test_books_that_balance_are_not_spoken_of(counts: dict[str, int]) -> None:
    """Nor are those of before accepted events were counted."""
    assert _books("hall-1", record(**counts)) == []
