"""A merchant's alerts, made of what is kept: two frames, the orders, and the decisions since.

Nothing is remembered of who was told what, and every process tells the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from api.alerts import NOTHING, WHOLE, Alert, Before, Scene, alerts
from api.encoded import parse_place
from api.view import VenueView
from racing.documents import worded
from racing.entries import Runner
from racing.model import Frame, Place, Position
from racing.orders import Exclusion

if TYPE_CHECKING:  # it holds the live streams, which tell alerts
    from api.service import Service

SINCE_PATTERN = worded(r"^[0-9]{1,20}-[0-9]{1,20}(\.[0-9]{1,20})?$", "must be `next` of an answer, unchanged")
DECISIONS_MAX = 1_000
"""Decisions that are taken back: where there were more the whole state is told."""
BACK_MAX_MS = 3_600_000
"""Alerts are told since a frame of the last hour: a bulk of products is one decision of 600 kB."""
_AHEAD_MAX_MS = 60_000
"""Another process may have seen this much more; a moment that is later is made up."""


class Since(NamedTuple):
    """Up to where a merchant was told: the frame, and the moment before which decisions were (ms, log time).

    Boards that look the same are not published anew, so a frame alone does not say which decisions it knew. Of a frame
    that is named alone the moment is its own.
    """

    place: Place
    before_ms: int | None

    @classmethod
    def parse(cls, text: str) -> Since | None:
        """The one that is written so; None where none is."""
        name, dot, before_ms = text.partition(".")
        place = parse_place(name)
        if place is None or (dot and not (before_ms.isascii() and before_ms.isdecimal())):
            return None
        return cls(place, int(before_ms) if dot else None)

    def __str__(self) -> str:
        epoch, number = self.place
        return f"{epoch}-{number}" if self.before_ms is None else f"{epoch}-{number}.{self.before_ms}"


class Moment(NamedTuple):
    """A board, and the moment before which decisions count beside it (ms, log time)."""

    frame: Frame
    before_ms: int

    @property
    def since(self) -> Since:
        """Names it to who was told of it."""
        return Since(self.frame.place, self.before_ms)


@dataclass(frozen=True, slots=True)
class AlertsTold:
    """What changed for a merchant up to a moment. full: it is all that holds then, for since is not known."""

    alerts: list[Alert]
    until: Moment
    full: bool

    @property
    def next(self) -> str:
        """What to ask by next."""
        return str(self.until.since)


@dataclass(frozen=True, slots=True)
class Scenes:
    """What there is to tell of a merchant now, and what there was; None where that is not known.

    Exclusions are those of any product of the venue, and of the merchant.
    """

    old: Scene | None
    new: Scene
    until: Moment


async def scenes_since(
    service: Service, view: VenueView, merchant: str, *, since: Since | None, least_ms: int = 0
) -> Scenes:
    """A merchant's scenes in a venue at a moment that it was told of last, and now.

    least_ms: of what is now, decisions before this moment (ms, log time) are counted in any case. Raises StoreError.
    Cost: some eight reads of Redis at most, and O(slots + orders + decisions since).
    """
    venue = view.venue.venue
    old = None if since is None else await _old(service, view, since)
    told_ms = 0 if old is None else old.before_ms
    now = Moment(view.frame, max(view.commit.as_of_ms, _moment(view.frame), told_ms, least_ms))
    orders, runners = (await service.orders.read(venue)).orders, await _runners(service, view, now, old)
    # decisions are read last: those that came meanwhile are taken back as well
    later, whole = await service.audit.since(venue, _back_to(old, now), at_most=DECISIONS_MAX)
    if not whole:
        old = None

    def scene(moment: Moment) -> Scene:
        position = Position.parse(moment.frame.position)
        board = Before.of(told for told in later if Position.parse(told.entry) > position)
        desk = Before.of(told for told in later if told.at_ms >= moment.before_ms)
        seen = board.seen(moment.frame, runners, merchant)
        return Scene(seen, desk.excluded(orders, moment.before_ms, merchant))

    return Scenes(None if old is None else scene(old), scene(now), now)


async def alerts_since(
    service: Service, view: VenueView, merchant: str, *, since: Since | None, page: int
) -> AlertsTold:
    """What changed for a merchant's products in a venue since it was told last; None: what holds now.

    Raises StoreError. Cost: that of scenes_since, and two reads where exclusions began or ended.
    """
    found = await scenes_since(service, view, merchant, since=since)
    old = NOTHING if found.old is None else found.old
    was, new = await _own(service, view.venue.venue, merchant, old, found.new)
    return AlertsTold(alerts(was, new, page), found.until, full=found.old is None)


async def _old(service: Service, view: VenueView, since: Since) -> Moment | None:
    """What a client was told of; None where that is not kept, too long ago, or was never so."""
    known = await service.frames.catch_up(view, since.place)
    frame = await service.frames.past.frame(view, since.place) if known else None
    if frame is None or view.frame.at_ms - frame.at_ms > BACK_MAX_MS:
        return None
    before_ms = max(since.before_ms or 0, _moment(frame))
    latest_ms = max(view.commit.as_of_ms, _moment(view.frame)) + _AHEAD_MAX_MS
    return Moment(frame, before_ms) if before_ms <= latest_ms else None


def _moment(frame: Frame) -> int:
    return Position.parse(frame.position).ms


def _back_to(old: Moment | None, now: Moment) -> int:
    """The moment (ms) from which on decisions have to be known."""
    if old is None:
        return _moment(now.frame)
    return old.before_ms if old.frame.place == now.frame.place else _moment(old.frame)


async def _runners(service: Service, view: VenueView, now: Moment, old: Moment | None) -> dict[int, Runner]:
    """Data of the runners of the current board and of an older one, by number."""
    slots = now.frame.slots if old is None else (*now.frame.slots, *old.frame.slots)
    known = view.runners
    missing = {slot.runner for slot in slots} - known.keys()
    return {**known, **await service.desk.runners.by_number(view.venue.venue, sorted(missing))}


async def _own(service: Service, venue: str, merchant: str, was: Scene, now: Scene) -> tuple[Scene, Scene]:
    """The scenes with the exclusions of the merchant's own products alone. Cost: two reads where others began or ended.

    What holds in both is left out of both: nothing is told of it.
    """
    changed = was.excluded.keys() ^ now.excluded.keys()
    foreign = changed - was.seen.keys() - now.seen.keys() - {WHOLE}
    numbers = await service.desk.runners.numbers(venue, sorted(foreign)) if foreign else {}
    runners = await service.desk.runners.by_number(venue, sorted(numbers.values()))
    own = changed - foreign | {each.product for each in runners.values() if each.merchant == merchant}

    def kept(excluded: Mapping[str, Exclusion]) -> dict[str, Exclusion]:
        return {product: order for product, order in excluded.items() if product in own}

    return Scene(was.seen, kept(was.excluded)), Scene(now.seen, kept(now.excluded))
