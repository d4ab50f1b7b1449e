"""The frames that a process has shown of a venue lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from racing.entries import Runner
from racing.model import Frame, Place

RECENT_MAX = 64


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame and the data of its runners by number."""

    frame: Frame
    runners: dict[int, Runner]


class History:
    """The frames shown last, oldest first."""

    def __init__(self) -> None:
        self._recent: deque[Shown] = deque(maxlen=RECENT_MAX)

    def add(self, shown: Shown) -> None:
        """Take the newest frame; the oldest may go."""
        self._recent.append(shown)

    def find(self, place: Place) -> Shown | None:
        """The frame at a place, if it is among them."""
        return next((shown for shown in reversed(self._recent) if shown.frame.place == place), None)
