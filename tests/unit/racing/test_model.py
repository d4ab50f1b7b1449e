"""Positions of the log, and what of a frame a reader can see change."""

from __future__ import annotations

import msgspec
import pytest

from racing.model import START, Frame, Position, Slot

_FRAME = Frame(
    venue="hall-1",
    frame=12,
    epoch=3,
    position="5-0",
    at_ms=5,
    rule_version=2,
    runners=1,
    roster=1,
    slots=(Slot(1, 0, "p-1", 0.5),),
)


@pytest.mark.parametrize("text", ["", "5", "-", "5-", "-1", "a-1", "5-1-2", "5.0-1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Position.parse(text)


@pytest.mark.parametrize("text", ["0-0", "1763740800000-7", b"5-18446744073709551615"])
def test_a_position_is_read_back_as_it_was_written(text: str | bytes) -> None:
    plain = text if isinstance(text, str) else text.decode()

    assert plain == str(Position.parse(text))


def test_positions_are_ordered_by_number_not_by_text() -> None:
    positions = [Position.parse(text) for text in ("10-2", "9-11", "10-10", "0-0")]

    assert ["0-0", "9-11", "10-2", "10-10"] == [str(position) for position in sorted(positions)]
    assert START == min(positions)


def test_a_frame_is_named_by_epoch_and_number() -> None:
    assert "3-12" == _FRAME.name


def test_a_frame_that_only_moved_on_shows_the_same() -> None:
    later = msgspec.structs.replace(_FRAME, frame=13, position="9-0", at_ms=9, epoch=4)

    assert _FRAME.shows() == later.shows()


@pytest.mark.parametrize("change", [{"rule_version": 3}, {"slots": (Slot(1, 0, "p-1", 0.75),)}, {"slots": ()}], ids=str)
def test_a_frame_with_another_board_or_rule_shows_something_else(change: dict[str, object]) -> None:
    assert _FRAME.shows() != msgspec.structs.replace(_FRAME, **change).shows()


def test_a_frame_never_changes() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        _FRAME.frame = 13  # type: ignore[misc]  # what the test is about
