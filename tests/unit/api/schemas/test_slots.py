"""What a board shows of its frame."""

from __future__ import annotations

from api.schemas.slots import SlotsOut
from racing.model import Frame


def test_what_a_board_shows_of_its_frame_is_what_the_frame_holds() -> None:
    """The names are the frame's own; the roster is for this process alone."""
    assert set(SlotsOut.model_fields) - {"stale", "evolved", "moved_since_ms", "next", "segment"} == set(
        Frame.__struct_fields__
    ) - {"roster", "segments"}
