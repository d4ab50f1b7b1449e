"""What shoppers are told of a product besides its slot: how it has moved, and what it is lately (标签).

Both look at boards of whole ten seconds of log time (api/history.py), so they change at most that often, are the same
on every process and on every page of a frame, and can be told again of a past one.
"""

from __future__ import annotations

from collections.abc import Iterable

from api.history import MOVED_STEPS, STAYS_STEPS, Board, References, Told
from racing.badge_settings import DEFAULT_BADGES, BadgeSettings
from racing.rule import Rule

BADGES = ("pinned", "paid", "hot", "rising", "new", "low_stock", "sold_out")
"""In the order in which they are told. hot, rising and new stay for 30 s at least; the others while they are so."""


def badges_of(rule: Rule) -> BadgeSettings:
    """What a rule says of badges."""
    return rule.board.badges or DEFAULT_BADGES


def moved(references: References, runner: int, slot: int) -> int | None:
    """Slots gained since the board of 60 to 70 s ago, negative when lost; None where it was not on that board."""
    board = references[MOVED_STEPS]
    before = None if board is None else board.slots.get(runner)
    return None if before is None else before - slot


def told_lately(references: References, settings: BadgeSettings) -> Told:
    """What runners are, or were within the last 30 s. Cost: O(slots)."""
    found: dict[int, set[str]] = {}
    for step in range(STAYS_STEPS + 1):
        board, before = references[step], references[step + MOVED_STEPS]
        for runner, slot in board.slots.items() if board is not None else ():
            found.setdefault(runner, set()).update(_at_once(runner, slot, before, settings))
    return {runner: tuple(name for name in BADGES if name in names) for runner, names in found.items() if names}


def _at_once(runner: int, slot: int, before: Board | None, settings: BadgeSettings) -> Iterable[str]:
    """What a runner on this slot is, compared with a board of about a minute before."""
    if slot <= settings.hot_slots:
        yield "hot"
    if before is None:
        return
    was = before.slots.get(runner)
    gained = (len(before.slots) + 1 if was is None else was) - slot  # who was not on it comes from behind its last slot
    if settings.rising_slots and gained >= settings.rising_slots:
        yield "rising"
    if settings.new and was is None:
        yield "new"
