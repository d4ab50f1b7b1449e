"""What every route works with: the store's desk, the frames in memory, and the settings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request

from api.errors import ProblemError
from api.frames import Frames, VenueView
from api.ingest import RecentIds
from racing.settings import Settings
from racing.store.desk import Desk


@dataclass
class Service:
    """One per API process."""

    settings: Settings
    desk: Desk
    frames: Frames
    recent_ids: dict[str, RecentIds] = field(default_factory=dict)
    _secret: bytes | None = None

    async def secret(self) -> bytes:
        """The deployment's secret, read once."""
        if self._secret is None:
            self._secret = await self.desk.secret()
        return self._secret

    def now_ms(self) -> int:
        """Wall clock of this process, ms: for limits at the door and dates; the race has its own time."""
        return time.time_ns() // 1_000_000


def service_of(request: Request) -> Service:
    """The process's service."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]


async def view_of(venue: str, service: Serving) -> VenueView:
    """The venue in the path; 404 where it does not exist."""
    view = await service.frames.view(venue)
    if view is None:
        raise ProblemError("not_found", f"there is no venue {venue[:80]!r}")
    return view


Viewed = Annotated[VenueView, Depends(view_of)]


def json_body(
    content_type: Annotated[str | None, Header()] = None,
    content_encoding: Annotated[str | None, Header()] = None,
) -> None:
    """Refuse bodies that are not plain JSON (415), before they are read."""
    if (content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise ProblemError(
            "unsupported_media_type",
            f"Content-Type: application/json is needed, not {content_type or 'none'!r}",
        )
    if content_encoding not in {None, "identity"}:
        raise ProblemError("unsupported_media_type", f"Content-Encoding {content_encoding!r}: send the body as it is")


JsonBody = Depends(json_body)
