"""A merchant's standings as they are followed: one reading for all clients of the merchant, at most twice a second.

The readings of a process take turns and are a third of its time at most: where many merchants are followed, each is
told less often, and of the last.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api import sse
from api.alert_reading import Since, scenes_since
from api.alerts import WHOLE, Scene
from api.errors import ProblemError
from api.hub import LOOK_S, Followed, Group
from api.sheets import Sheet, Sheets, changes, ref_of, rows_of, whole
from api.view import VenueView
from racing.documents import worded
from racing.errors import RacingError
from racing.model import ID_PATTERN
from racing.store.standings import OWNED_MAX

if TYPE_CHECKING:  # it holds all live streams, and so these
    from api.service import Service

EVERY_S: Final = 0.5
"""Between two messages to a client, at least."""
_REST: Final = 2
"""After a reading there is none for so many times as long."""
_STATES_MAX, _ROWS_MAX = 64, 16_384
"""States kept of what a group was told, and rows of all of them together: some 32 s of a few products, else less."""
_SINCES_MAX: Final = 64
_NAMED_MAX: Final = 50
"""Venues that a name tells of, 100 bytes each: of others, who comes again is told all alerts that hold."""
NAME_PATTERN: Final = worded(r"^[A-Za-z0-9._:,~-]{1,8192}$", "must be `next` of a message, unchanged")

_encode = msgspec.json.Encoder().encode
_id = re.compile(ID_PATTERN)

Scope = frozenset[str]
"""Venues that are followed; none: every one."""


def reaches(scope: Scope, venue: str) -> bool:
    """Whether a venue is one of those."""
    return not scope or venue in scope


class State(NamedTuple):
    """What a group was told, and its name."""

    name: str
    sheets: Sheets


@dataclass(frozen=True, slots=True)
class Has:
    """What a client has that comes again: the name of a state, and what there was to tell of each venue then."""

    name: str
    scenes: Mapping[str, Scene] = field(default_factory=dict)


class StandingsGroup(Group):
    """Clients that follow the same venues of a merchant."""

    def __init__(self, merchant: MerchantStandings, scope: Scope) -> None:
        super().__init__()
        self._merchant, self._scope = merchant, scope
        self._mark = secrets.token_hex(4)  # another process, with the same moment, may have read other standings
        self._since: dict[str, bytes] = {}
        self._states: deque[State] = deque()
        self._take(merchant.sheets_of(scope))

    def _take(self, sheets: Sheets) -> None:
        named = ",".join([f"{venue}:{sheets[venue].since}" for venue in sorted(sheets)[:_NAMED_MAX]])
        self._states.append(State(f"{named}~{self._mark}.{self.version}", sheets))
        while len(self._states) > 1 and (len(self._states) > _STATES_MAX or self._rows() > _ROWS_MAX):
            self._states.popleft()
        self._since.clear()

    def _rows(self) -> int:
        return sum(len(sheet.rows) for state in self._states for sheet in state.sheets.values())

    @property
    def place(self) -> str:
        """The name of the state."""
        return self._states[-1].name

    def look(self) -> None:
        """Take what is new of rows or alerts, or that data is stale or no longer so."""
        before, sheets = self._states[-1], self._merchant.sheets_of(self._scope)
        told = changes(before.sheets, sheets)
        if told is not None:
            self.version += 1
            self._take(sheets)
            self.message = self._changes(before.name, told)

    def knows(self, name: str) -> bool:
        """Whether a state is one of those kept."""
        return any(state.name == name for state in self._states)

    def first(self, since: Has | None) -> bytes:
        """What changed since what a client has; all rows where that is not kept here."""
        self.look()
        if since is not None and self.knows(since.name):
            return self.since(since.name)
        return self._whole({} if since is None else since.scenes)

    def since(self, place: str) -> bytes:
        """What a client must be told that was told a state: what changed, if that is kept, else all."""
        known = self._since.get(place)
        if known is None:
            if len(self._since) >= _SINCES_MAX:
                self._since.clear()
            old = next((state for state in self._states if state.name == place), None)
            known = self._since[place] = self._whole({}) if old is None else self._changes_since(old)
        return known

    def _changes_since(self, old: State) -> bytes:
        return self._changes(old.name, changes(old.sheets, self._states[-1].sheets) or _NOTHING)

    def _changes(self, since: str, told: Mapping[str, object]) -> bytes:
        body = {"merchant": self._merchant.name, "since": since, "next": self.place, **told}
        return sse.event(b"changes", _encode(body), name=self.place)

    def _whole(self, before: Mapping[str, Scene]) -> bytes:
        body = whole(self._merchant.name, self._states[-1].sheets, self.place, before)
        return sse.event(b"standings", _encode(body), name=self.place)


_NOTHING: Final[dict[str, list[object]]] = {
    name: [] for name in ("frames", "gone", "left", "entered", "changed", "full", "alerts")
}


class Share:
    """Readings of all merchants of a process take turns, with rests between them."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._free_s = 0.0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Read within it."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_s - time.monotonic()))
            begun_s = time.monotonic()
            try:
                yield
            finally:
                now_s = time.monotonic()
                self._free_s = now_s + _REST * (now_s - begun_s)


class MerchantStandings(Followed[Scope]):
    """The products of a merchant in all venues, as they were read last."""

    every_s = EVERY_S

    def __init__(self, service: Service, merchant: str, share: Share) -> None:
        self.name = merchant
        self._service, self._share = service, share
        self._sheets: dict[str, Sheet] = {}
        self._made_of: dict[str, tuple[object, ...]] = {}
        self._read_s: dict[str, float] = {}

    def group(self, kind: Scope) -> StandingsGroup:
        """A group that is told what was read last."""
        return StandingsGroup(self, kind)

    def may(self, kind: Scope, key: str) -> bool:
        """Whether a key still is one of the merchant's, or of operators, and one of the venues is there."""
        there = not kind or any(venue in self._service.frames.views for venue in kind)
        if not key or self._service.grants is None:
            return there
        grant = self._service.grants.by_id(key)
        return there and grant is not None and grant.owns(self.name) and "runners:read" in grant.needs

    def sheets_of(self, scope: Scope) -> Sheets:
        """What was read last of these venues, of those in which the merchant has products."""
        return {venue: sheet for venue, sheet in self._sheets.items() if sheet.rows and reaches(scope, venue)}

    async def look(self, kinds: Iterable[Scope]) -> None:
        """Read what may have changed. Where the store is away all stays as it was, marked stale in time."""
        scopes = tuple(kinds)
        views = self._service.frames.views
        for venue in self._sheets.keys() - views.keys():
            del self._sheets[venue]
        for venue, view in sorted(views.items()):
            if any(reaches(scope, venue) for scope in scopes):
                try:
                    await self._look_at(view)
                except (RacingError, ProblemError):
                    self._mark_stale(view)

    async def catch_up(self, scope: Scope, name: str | None) -> Has | None:
        """Read these venues for a client that comes, and what there was to tell when it was told the state of a name.

        Raises ProblemError (422) for more products than are followed, StoreError.
        """
        told, scenes = since_of(name or ""), dict[str, Scene]()
        for venue, view in sorted(self._service.frames.views.items()):
            since, now_s = told.get(venue), time.monotonic()
            if reaches(scope, venue) and (since is not None or now_s - self._read_s.get(venue, -inf) > LOOK_S):
                old = await self._look_at(view, since)
                if old is not None:
                    scenes[venue] = old
        return None if name is None else Has(name, scenes)

    async def _look_at(self, view: VenueView, since: Since | None = None) -> Scene | None:
        """Read one venue, if it may have changed; what there was to tell at a moment, where that is known."""
        venue, made_of = view.venue.venue, (view.frame.place, view.commit, view.stale())
        if since is None and self._made_of.get(venue) == made_of:
            return None
        async with self._share.taken():
            owned = await self._service.owned.of(self._service.desk, venue, self.name, view.frame.epoch)
            if len(owned) > OWNED_MAX:
                told = f"more than {OWNED_MAX} products in venue {venue!r}: read the list with sort=enrolment instead"
                raise ProblemError("invalid", told)
            self._made_of[venue], self._read_s[venue] = made_of, time.monotonic()
            if not owned:
                self._sheets.pop(venue, None)
                return None
            before = self._sheets.get(venue)
            least_ms = 0 if before is None or before.since.before_ms is None else before.since.before_ms
            found = await scenes_since(self._service, view, self.name, since=since, least_ms=least_ms)
            frame, own = found.until.frame, {WHOLE, *(runner.product for runner in owned.values())}
            boards = await self._service.moves.of(self._service.frames.kept, view)
            off = sorted(owned.keys() - {slot.runner for slot in frame.slots})
            reads = await self._service.desk.standings.read(venue, off, ())
            rows = rows_of(frame, owned, reads, boards)
            if before is not None:  # rows that are as they were are kept, so that states share them
                rows = {n: before.rows[n] if before.rows.get(n) == row else row for n, row in rows.items()}
            ref = ref_of(frame, reads, stale=view.stale())
            self._sheets[venue] = Sheet(ref, rows, _own(found.new, own), found.until.since)
            return None if found.old is None else _own(found.old, own)

    def _mark_stale(self, view: VenueView) -> None:
        sheet = self._sheets.get(view.venue.venue)
        if sheet is not None and sheet.ref.stale != view.stale():
            ref = msgspec.structs.replace(sheet.ref, stale=view.stale())
            self._sheets[view.venue.venue] = Sheet(ref, sheet.rows, sheet.scene, sheet.since)


def _own(scene: Scene, own: set[str]) -> Scene:
    """The scene with the exclusions of a merchant's own products alone."""
    return Scene(scene.seen, {product: order for product, order in scene.excluded.items() if product in own})


def since_of(name: str) -> dict[str, Since]:
    """The moment that the name of a state tells of each venue; nothing of what is none."""
    told = {}
    for part in name.partition("~")[0].split(","):
        venue, _, moment = part.partition(":")
        since = Since.parse(moment)
        if since is not None and _id.match(venue):
            told[venue] = since
    return told
