"""Movements on the board, from boards that are kept."""

from __future__ import annotations

from typing import Any, cast

from api.history import Board
from api.moves import NO_BOARDS, NOT_MOVED, Movement, Moves, moved
from api.view import VenueView
from racing.model import Frame, Slot
from racing.store.kept import KeptFrames

BOARDS = (Board((1, 1), 0, {7: 5}), None, Board((1, 0), 0, {7: 1, 8: 2}))


def test_slots_won_count_up_and_what_was_not_there_has_not_moved() -> None:
    assert moved(BOARDS, 7, 3) == Movement(2, None, -2)
    assert moved(BOARDS, 8, 3) == Movement(None, None, -1)
    assert moved(BOARDS, 7, None) == moved(NO_BOARDS, 7, 3) == NOT_MOVED == Movement(None, None, None)


class Kept:
    """Frames that are asked for by moment: the board of each has the runner 7 in the slot of its minute."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def before(self, venue: str, at_ms: int) -> Frame:
        self.asked.append(at_ms)
        slot = Slot(at_ms // 60_000, 7, "p", 1.0)
        return Frame(venue, 1, 1, f"{at_ms}-0", at_ms, 1, 1, 1, (slot,))


def view(at_ms: int, *, created_ms: int = 60_000) -> VenueView:
    class Of:
        venue = type("V", (), {"venue": "hall-1", "created_ms": created_ms})
        frame = type("F", (), {"at_ms": at_ms})

    return cast("VenueView", cast("Any", Of))


async def test_boards_are_of_whole_ten_seconds_and_read_once_for_each() -> None:
    kept, moves = Kept(), Moves()
    for at_ms in (600_000, 604_000, 609_999):
        boards = await moves.of(cast("KeptFrames", kept), view(at_ms))
        assert moved(boards, 7, 1) == Movement(8, 4, 1)
    assert kept.asked == [540_000, 300_000, 120_000]
    await moves.of(cast("KeptFrames", kept), view(610_000))
    assert len(kept.asked) == 6


async def test_venue_that_has_just_begun_has_no_first_minute() -> None:
    boards = await Moves().of(cast("KeptFrames", Kept()), view(100_000))
    assert boards[2] is None
