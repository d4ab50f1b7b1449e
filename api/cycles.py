"""What stands in uvicorn's place of a cycle while, and after, the HTTP protocol itself answers a request."""

from __future__ import annotations

from typing import Any

from api.view import VenueView


class _NobodyWaits:
    def set(self) -> None:
        """Nothing: uvicorn wakes its own cycles by this."""


_NOBODY_WAITS = _NobodyWaits()


class Exchange:
    """A POST that is being answered here; to uvicorn a cycle like its own, so that what is pipelined waits for it."""

    __slots__ = (
        "body",
        "disconnected",
        "keep_alive",
        "key",
        "media_type",
        "message_event",
        "response_complete",
        "told",
        "view",
    )

    def __init__(self, view: VenueView, media_type: str, key: str | None, told: bytes) -> None:
        self.view = view
        self.told = told
        self.media_type = media_type
        self.key = key
        self.body: list[bytes] = []
        self.keep_alive = True
        self.disconnected = self.response_complete = False
        self.message_event = _NOBODY_WAITS


class _Answered:
    """What stands in uvicorn's place of a cycle after a GET was answered here."""

    response_complete = True
    message_event = _NOBODY_WAITS


ANSWERED: Any = _Answered()
