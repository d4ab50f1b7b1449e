"""The frames shown lately, and the boards that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import history as module
from api.history import (
    GRID_MS,
    NO_REFERENCES,
    RECENT_MAX,
    REFERENCES,
    Board,
    History,
    Shown,
    references_after,
    references_at,
)
from racing.model import Frame, Slot


def frame_of(number: int, at_ms: int, *runners: int) -> Frame:
    slots = tuple(Slot(index + 1, runner, f"p-{runner}", 1.0) for index, runner in enumerate(runners))
    return Frame("hall-1", number, 7, f"{at_ms}-0", at_ms, 1, len(runners), 1, slots)


class Kept:
    """Kept frames in a list."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    async def before_each(self, venue: str, moments_ms: Sequence[int]) -> list[Frame | None]:
        return [
            max((f for f in self._frames if f.at_ms < at_ms), key=lambda f: f.place, default=None)
            for at_ms in moments_ms
        ]


def test_the_memory_for_frames_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number, and for large boards by their slots; the newest is always there."""
    history = History()
    for number in range(1, 200):
        history.add(Shown(frame_of(number, number, 1), {}))
    assert len(history) == RECENT_MAX
    assert history.find((7, 199 - RECENT_MAX)) is None
    assert history.find((7, 199)) is not None
    monkeypatch.setattr(module, "_RECENT_SLOTS_MAX", 10)
    history = History()
    for number in range(1, 20):
        history.add(Shown(frame_of(number, number, 1, 2, 3), {}))
    assert len(history) == 3
    history.add(Shown(frame_of(20, 20, *range(100)), {}))
    assert len(history) == 1
    assert history.find((7, 20)) is not None


def test_what_was_shown_long_ago_is_forgotten_but_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment may have a thousand venues that stand still."""
    history = History()
    for number in range(1, 11):
        monkeypatch.setattr("api.history.time.monotonic", lambda number=number: 10.0 * number)
        history.add(Shown(frame_of(number, number, 1), {}))
    history.forget(100.0)
    assert [history.find((7, number)) is not None for number in (6, 7, 10)] == [False, True, True]
    history.forget(10_000.0)
    assert (len(history), history.find((7, 10)) is not None) == (1, True)


async def test_a_venue_that_is_new_has_nothing_to_compare_with() -> None:
    assert await references_at(Kept([]), "hall-1", 1_000_000) == NO_REFERENCES  # type: ignore[arg-type]  # a fake


async def test_a_board_that_stands_still_is_one() -> None:
    kept = Kept([frame_of(1, 500, 3, 4)])
    found = await references_at(kept, "hall-1", 1_000_000)  # type: ignore[arg-type]  # a fake
    assert found == (Board((7, 1), 500, {3: 1, 4: 2}),) * REFERENCES
    assert len({id(board) for board in found}) == 1


@given(st.lists(st.integers(0, 3 * GRID_MS), min_size=1, max_size=30), st.data())
async def test_law_boards_to_compare_with_do_not_depend_on_which_frames_were_seen(
    gaps: list[int], data: st.DataObject
) -> None:
    """Going on from frame to frame gives what is found by looking back from the last one."""
    moments = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    frames = [frame_of(index + 1, at_ms, index) for index, at_ms in enumerate(moments)]
    start = data.draw(st.integers(0, len(frames) - 1))
    kept = Kept(frames)
    references = await references_at(kept, "hall-1", frames[start].at_ms)  # type: ignore[arg-type]  # a fake
    for before, frame in zip(frames[start:], frames[start + 1 :], strict=False):
        references = references_after(references, before, frame.at_ms)
    assert references == await references_at(kept, "hall-1", frames[-1].at_ms)  # type: ignore[arg-type]  # a fake
