"""The life of a venue: draft, rehearsal, open, closed, archived; and what each lets through."""

from __future__ import annotations

from typing import Literal, get_args

from racing.errors import ConflictError

State = Literal["draft", "rehearsal", "open", "closed", "archived"]
STATES: tuple[State, ...] = get_args(State)
FIRST: tuple[State, ...] = ("draft", "rehearsal", "open")
"""States in which a venue may be made."""

_NEXT: dict[State, tuple[State, ...]] = {
    "draft": ("rehearsal", "open", "archived"),
    "rehearsal": ("archived",),
    "open": ("closed",),
    "closed": ("open", "archived"),
    "archived": (),
}
TAKES_EVENTS: frozenset[State] = frozenset({"rehearsal", "open"})
SHOWN: frozenset[State] = frozenset({"open", "closed"})
"""States in which readers see the venue; in others it is absent for whoever does not operate it."""


def may_become(state: State) -> tuple[State, ...]:
    """The states that may follow one."""
    return _NEXT[state]


def check_move(venue: str, before: State, after: State) -> None:
    """Raise ConflictError unless a venue may go from one state to another; to stay as it is is no move.

    A rehearsal never opens, neither by way of the archive, which is the end: its counts and totals are of load that was
    played. A clone of it opens.
    """
    if after == before or after in _NEXT[before]:
        return
    may = " or ".join(_NEXT[before]) or "nothing else"
    whys = {"rehearsal": ", since what it has counted was a rehearsal: clone it", "archived": ": clone it"}
    why = whys.get(before, "")
    raise ConflictError(f"venue {venue!r} is {before}: it can become {may}, not {after}{why}")


def why_no_events(venue: str, state: State) -> str | None:
    """Why a venue takes no events in a state; None where it does."""
    return None if state in TAKES_EVENTS else f"venue {venue!r} is {state}: it takes events while it is open"
