"""How products have moved on the board: against what it was a minute ago, five minutes ago, and at the beginning.

The boards are kept frames, at whole ten seconds of log time, so that every process tells the same of a frame.
"""

from __future__ import annotations

from typing import Final

import msgspec

from api.history import GRID_MS, Board
from api.view import VenueView
from racing.store.kept import KeptFrames

Boards = tuple[Board | None, ...]
"""Of a minute ago, of five minutes ago, of the first minute; None where none so old is kept."""
NO_BOARDS: Boards = (None, None, None)
_MINUTE_MS: Final = 60_000
_VENUES_MAX: Final = 1_000


class Movement(msgspec.Struct, frozen=True, gc=False):
    """Slots won since each board, negative for lost; None where the product was not on it, or is not now."""

    one_min: int | None = None
    five_min: int | None = None
    since_start: int | None = None


NOT_MOVED: Final = Movement()


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


def moved(boards: Boards, runner: int, slot: int | None) -> Movement:
    """How a runner has moved to the slot that it has; NOT_MOVED where it has none."""
    if slot is None:
        return NOT_MOVED
    before = [None if board is None else board.slots.get(runner) for board in boards]
    return Movement(*[None if then is None else then - slot for then in before])
