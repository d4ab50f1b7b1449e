"""From which frame a decision is visible: waits for it, briefly."""

from __future__ import annotations

import asyncio
import time

from api.view import VenueView
from racing.model import Frame, Position
from racing.settings import Settings

WAIT_S = 1.0
"""A change that shows later than this is answered 202."""
_LOOK_S = 0.02
_READ_MS = 100
"""A frame that is due is committed, and read here, within so long."""


async def frame_from(view: VenueView, entry: str, settings: Settings) -> Frame | None:
    """The first frame that holds an entry, as this process sees it; None if there is none within a second.

    Where the entry changes nothing that the board shows, no frame follows it: then the current one holds it, once a
    commit has gone beyond the entry and a frame could have been published since.
    """
    wanted, begun_s = Position.parse(entry), time.monotonic()
    folded_s: float | None = None
    while (now_s := time.monotonic()) - begun_s < WAIT_S:
        if view.frame.frame and Position.parse(view.frame.position) >= wanted:
            return view.frame
        if folded_s is None and Position.parse(view.commit.position) >= wanted:
            folded_s = now_s
        if folded_s is not None and now_s - folded_s > (settings.frame_ms + _READ_MS) / 1000:
            return view.frame if view.frame.frame else None
        await asyncio.sleep(_LOOK_S)
    return None
