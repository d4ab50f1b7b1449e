"""Rules off: the slots as the race alone would have them, made by a follower, told as every frame is told."""

from __future__ import annotations

import msgspec

from api.encoded import PRIVATE_CACHE_CONTROL, Slots
from api.history import Shown
from api.parts import Part, State, body_of
from api.rows import rows_of
from api.service import Service
from api.view import VenueView
from racing.inquiries import AskPlain
from racing.model import Frame

_PLAIN_S = 10.0
_decode = msgspec.json.Decoder(Frame).decode


async def plain_slots(service: Service, view: VenueView, part: Part) -> Slots:
    """The first products by score alone, with all details. Raises ProblemError (503), RacingError.

    They were served to nobody, so nothing tells how they have moved or what they were lately. Cost: a follower's sort
    of the field, and one read of Redis.
    """
    venue = view.venue.venue
    frame = _decode(await service.followers().now.ask(AskPlain(venue, part.limit), within_s=_PLAIN_S))
    runners = await service.desk.runners.by_number(venue, [slot.runner for slot in frame.slots])
    shown = Shown(frame, runners, badges=view.now.badges)
    body = body_of(shown, rows_of(shown, details=True), part, State(stale=view.stale()))
    return Slots.of(body, frame.name, stale=view.stale(), cache_control=PRIVATE_CACHE_CONTROL)
