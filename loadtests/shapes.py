"""Named load shapes for locust: how many users there are as a run goes on. Each says what it is meant to show.

They know nothing of locust, so that they can be looked at and tested without it; ``locustfile.py`` steps through
the one that ``--shape`` names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

USERS_MIN = 12
"""With fewer there would not be one of each kind: they come as 2 event sources, 7 shoppers, 2 merchants, 1 operator."""


class Shape(ABC):
    """Users over time."""

    name: ClassVar[str]
    seconds: ClassVar[float]
    """How long it lasts."""
    spawn_per_s: ClassVar[float] = 50.0
    """Users started or stopped a second at most."""

    @abstractmethod
    def share(self, at_s: float) -> float:
        """The share of the most users, 0 .. 1, at a moment from the start."""

    def users(self, at_s: float, most: int) -> int | None:
        """How many users there should be, at least USERS_MIN; None when the shape is over."""
        return None if at_s >= self.seconds else max(USERS_MIN, round(self.share(at_s) * most))


class Smoke(Shape):
    """A minute with a tenth of the users: shows that every call of every kind of user is answered at all.

    Nothing can be read from its latencies. Run it before the others, and after a change to the HTTP surface.
    """

    name = "smoke"
    seconds = 60.0

    def share(self, at_s: float) -> float:  # noqa: ARG002  # the same at any time
        """A tenth, all along."""
        return 0.1


class Evening(Shape):
    """Twenty minutes that rise from a fifth to all users and fall again, like the hours before midnight.

    Shows what holds over time: that delays stay level while the load changes slowly, that memory is flat once two
    windows have passed, and that the tide (everybody rises at once) does not reorder the board by itself.
    """

    name = "evening"
    seconds = 1_200.0

    def share(self, at_s: float) -> float:
        """Up for ten minutes, level for five, down for five."""
        if at_s < 600:
            return 0.2 + 0.8 * at_s / 600
        return 1.0 if at_s < 900 else 1.0 - 0.8 * (at_s - 900) / 300


class MidnightBurst(Shape):
    """Two calm minutes, then all users within seconds, ebbing over the next five: Double 11 at 00:00.

    Shows how deep the queues get when load jumps tenfold: 503 and 429 answers, the age of frames (Saima-Age-Ms),
    and how long until both are as before. The schedule slip in the report says whether locust itself kept up.
    """

    name = "midnight"
    seconds = 420.0
    spawn_per_s = 500.0

    def share(self, at_s: float) -> float:
        """A tenth until midnight at 120 s; then all, and a tenth again at the end."""
        return 0.1 if at_s < 120 else max(0.1, 1.0 - 0.9 * (at_s - 120) / 300)


SHAPES: dict[str, Shape] = {shape.name: shape for shape in (Smoke(), Evening(), MidnightBurst())}
"""By name, as --shape takes them."""
