"""The life of a venue."""

from __future__ import annotations

import itertools

import pytest

from racing.errors import ConflictError
from racing.lifecycle import SHOWN, STATES, State, check_move, may_become, why_no_events


def test_a_venue_moves_where_its_life_leads_and_nowhere_else() -> None:
    """The whole table."""
    allowed = {
        ("draft", "rehearsal"),
        ("draft", "open"),
        ("draft", "archived"),
        ("rehearsal", "archived"),
        ("open", "closed"),
        ("closed", "open"),
        ("closed", "archived"),
    }
    for before, after in itertools.permutations(STATES, 2):
        assert (after in may_become(before)) == ((before, after) in allowed)
        if (before, after) in allowed:
            check_move("hall", before, after)
        else:
            with pytest.raises(ConflictError, match=f"is {before}: it can become"):
                check_move("hall", before, after)


def test_no_rehearsal_ever_reaches_readers() -> None:
    """Neither as it is nor by any moves from there."""
    reached: set[State] = {"rehearsal"}
    for _ in STATES:
        reached |= {after for state in reached for after in may_become(state)}
    assert not reached & SHOWN


@pytest.mark.parametrize("state", STATES)
def test_events_are_taken_open_or_in_rehearsal(state: State) -> None:
    told = why_no_events("hall", state)
    assert (told is None) == (state in {"open", "rehearsal"})
