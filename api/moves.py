"""How products have moved on the board: against what it was a minute ago, five minutes ago, and at the beginning.

The boards are kept frames, at whole ten seconds of log time, so that every process tells the same of a frame.
"""

from __future__ import annotations

from typing import Final

from api.history import GRID_MS, Board
from api.view import VenueView
from racing.store.kept import KeptFrames

Boards = tuple[Board | None, ...]
"""Of a minute ago, of five minutes ago, of the first minute; None where none so old is kept."""
NAMES: Final = ("one_min", "five_min", "since_start")
NO_BOARDS: Boards = (None,) * len(NAMES)
_MINUTE_MS: Final = 60_000
_VENUES_MAX: Final = 1_000


class Moves:
    """The boards that present ones are compared with, read once in ten seconds. Bound: 1,000 venues."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[int, Boards]] = {}

    async def of(self, kept: KeptFrames, view: VenueView) -> Boards:
        """The boards before a venue's present frame. Raises StoreError. Some 30 short reads, once in ten seconds."""
        venue, step = view.venue.venue, view.frame.at_ms // GRID_MS
        known = self._read.get(venue)
        if known is not None and known[0] == step:
            return known[1]
        at_ms = step * GRID_MS
        first_ms = view.venue.created_ms + _MINUTE_MS
        moments = (at_ms - _MINUTE_MS, at_ms - 5 * _MINUTE_MS, first_ms if first_ms < at_ms else 0)
        frames = [await kept.before(venue, moment) if moment > 0 else None for moment in moments]
        boards = tuple(None if frame is None else Board.of(frame) for frame in frames)
        if len(self._read) >= _VENUES_MAX:
            self._read.clear()
        self._read[venue] = step, boards
        return boards


def moved(boards: Boards, runner: int, slot: int | None) -> dict[str, int | None]:
    """Slots won since each board, negative for lost; None where the product was not on it, or is not now."""
    found = {}
    for name, board in zip(NAMES, boards, strict=True):
        then = None if board is None else board.slots.get(runner)
        found[name] = None if then is None or slot is None else then - slot
    return found
