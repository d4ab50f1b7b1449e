"""The frames that a process has shown of a venue lately, and the boards that the newest one is compared with.

Readers are told how a product has moved since about a minute ago, and what it has been lately. Both look at boards as
they stood at whole ten seconds of log time, so that every process tells the same of a frame, whichever frames it saw.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace

import msgspec

from racing.badge_settings import DEFAULT_BADGES, BadgeSettings
from racing.entries import Runner
from racing.model import Frame, Place
from racing.store.kept import KeptFrames

GRID_MS = 10_000
"""Boards are compared as they stood at whole ten seconds of log time: with a faster one, numbers would flicker."""
MOVED_STEPS = 6
"""Steps of that grid to the board that a movement is told from: it is 60 to 70 s old."""
STAYS_STEPS = 3
"""What a product is told to be it stays for so many steps after it was last so: 30 s at least."""
REFERENCES = MOVED_STEPS + STAYS_STEPS + 1

RECENT_MAX = 64
"""Frames in memory: some 6 s of a busy venue, for who asks what changed since the last one it saw."""
RECENT_S = 30.0
"""What was shown before is fetched if it is asked for."""
_RECENT_SLOTS_MAX = 16_384
"""Slots of those together: about 1 kB each with four terms."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board to compare with: where each runner stood. slots: how many there were."""

    place: Place
    at_ms: int
    slots: dict[int, int]

    @classmethod
    def of(cls, frame: Frame) -> Board:
        """The board of a frame."""
        return cls(frame.place, frame.at_ms, {slot.runner: slot.slot for slot in frame.slots})


References = tuple[Board | None, ...]
"""The last board before the whole ten seconds at or before a frame's moment, before ten seconds earlier, and so on:
REFERENCES of them; None where nothing so old is kept."""

NO_REFERENCES: References = (None,) * REFERENCES


Told = dict[int, tuple[str, ...]]
"""Which of hot, rising and new hold of a runner, by number; runners without any are left out."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame, the data of its runners by number, the boards to compare it with, and what that tells by its rule."""

    frame: Frame
    runners: dict[int, Runner]
    references: References = NO_REFERENCES
    badges: BadgeSettings = DEFAULT_BADGES
    told: Told = field(default_factory=dict)
    segment: str | None = None

    def of_segment(self, segment: str | None) -> Shown:
        """The frame as a segment of shoppers has it; the whole venue's where it declared no such segment.

        Boards of segments are compared with none: what is kept of earlier ones is the whole venue's.
        """
        if segment not in self.frame.segments:
            return self
        frame = msgspec.structs.replace(self.frame, slots=self.frame.slots_of(segment))
        return replace(self, frame=frame, references=NO_REFERENCES, segment=segment)


def references_after(references: References, before: Frame, at_ms: int) -> References:
    """Those of a frame of this moment, which comes right after another one, from those of that one."""
    steps = at_ms // GRID_MS - before.at_ms // GRID_MS
    if steps <= 0:
        return references
    return ((Board.of(before),) * min(steps, REFERENCES) + references)[:REFERENCES]


async def references_at(kept: KeptFrames, venue: str, at_ms: int) -> References:
    """Those of a frame of this moment, from what is kept; some reads of Redis. Raises StoreError."""
    newest_ms = at_ms // GRID_MS * GRID_MS
    frames = await kept.before_each(venue, range(newest_ms, newest_ms - REFERENCES * GRID_MS, -GRID_MS))
    boards = {frame.place: Board.of(frame) for frame in frames if frame is not None}
    return tuple([None if frame is None else boards[frame.place] for frame in frames])


class History:
    """The frames shown last, oldest first. Bound: RECENT_MAX frames, fewer of large boards, and RECENT_S of them."""

    def __init__(self) -> None:
        self._recent: deque[Shown] = deque()
        self._added_s: deque[float] = deque()
        self._slots = 0

    def add(self, shown: Shown) -> None:
        """Take the newest frame; the oldest may go."""
        self._recent.append(shown)
        self._added_s.append(time.monotonic())
        self._slots += len(shown.frame.slots)
        while len(self._recent) > RECENT_MAX or (len(self._recent) > 1 and self._slots > _RECENT_SLOTS_MAX):
            self._drop()

    def forget(self, now_s: float) -> None:
        """Drop what was shown long ago, but for the newest: many quiet venues would hold memory for nobody."""
        while len(self._recent) > 1 and self._added_s[0] < now_s - RECENT_S:
            self._drop()

    def _drop(self) -> None:
        self._added_s.popleft()
        self._slots -= len(self._recent.popleft().frame.slots)

    def find(self, place: Place) -> Shown | None:
        """The frame at a place, if it is among them. Cost: O(RECENT_MAX)."""
        return next((shown for shown in reversed(self._recent) if shown.frame.place == place), None)

    def __len__(self) -> int:
        return len(self._recent)
