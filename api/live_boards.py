"""A venue's board as it is followed: one message of what changed for each group of clients that see the same of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from api import sse
from api.boards import board_of, encode, is_due, renewal
from api.changes import Board, changes
from api.history import Shown
from api.hub import Followed, Group
from api.parts import Sight
from api.tokens import issued_s
from api.view import VenueView
from racing.model import Place

_SINCES_MAX: Final = 64
"""Messages kept for clients that have another frame than the one before: after a restart all name few."""

LIMITS: Final = (10, 20, 50, 100, 200, 500, 1000)
"""Slots of a board that is followed: few different ones, so that many clients share each message."""

May = Callable[[VenueView, str], bool]
"""Whether a key, by its id, or whoever has none (empty) may follow a venue at this moment."""


class Kind(NamedTuple):
    """What the clients of a group see: so many slots; detailed: with scores also where they are not public.

    tokens, segment: as Part has them; there are as many segments as rules declare.
    """

    limit: int
    detailed: bool
    tokens: bool
    segment: str | None = None


class BoardGroup(Group):
    """Clients that see the same board, as they were last told of it."""

    def __init__(self, view: VenueView, kind: Kind, lives_s: int) -> None:
        """lives_s: how long tokens of slots are good for."""
        super().__init__()
        self._view, self._kind, self._lives_s = view, kind, lives_s
        self._take()

    def _take(self) -> None:
        """Make the venue's current board that of the group."""
        view, now_ms = self._view, time.time_ns() // 1_000_000
        self._frame, self._flags = view.frame, self._flags_at(now_ms)
        details, stale, _ = self._flags
        issued = issued_s(view.frame.at_ms, now_ms) if self._kind.tokens else 0
        self._sight = Sight(self._kind.limit, details, stale, self._kind.tokens, issued, self._kind.segment)
        self._board = board_of(view, view.now, self._sight)
        self._full: bytes | None = None
        self._since: dict[Place, bytes] = {}

    def _flags_at(self, now_ms: int) -> tuple[bool, bool, int]:
        """Besides the frame all that a board is made of: whether with details, stale, and when tokens were due."""
        view, kind = self._view, self._kind
        due = renewal(now_ms // 1000, self._lives_s) if kind.tokens else 0
        return kind.detailed or view.public_details, view.stale(), due

    @property
    def place(self) -> Place:
        """Where the frame of its board stands."""
        return self._frame.place

    def look(self) -> None:
        """Take what is new: a frame, that its data is stale or no longer so, more to see of it, or due tokens."""
        if self._view.frame is self._frame and self._flags_at(time.time_ns() // 1_000_000) == self._flags:
            return
        before, (details, _, due) = self._board, self._flags
        self._take()
        renew = due != self._flags[-1]
        self.message = self._changes(before, renew=renew) if details == self._flags[0] else self._whole()
        self.version += 1

    def first(self, since: Place | None) -> bytes:
        """As since, of a frame that may be newer than that of the board; None: the whole board."""
        if since is not None and since > self.place:
            self.look()
        return self._whole() if since is None else self.since(since)

    def _whole(self) -> bytes:
        """The event that carries the whole board."""
        if self._full is None:
            self._full = sse.event(b"frame", encode(self._board), name=self._frame.name)
        return self._full

    def since(self, place: Place) -> bytes:
        """What a client must be told that has the board of a frame: what changed, if that is kept, else the board."""
        known = self._since.get(place)
        if known is None:
            if len(self._since) >= _SINCES_MAX:
                self._since.clear()
            old = self._view.history.find(place) if place <= self.place else None
            known = self._since[place] = self._whole() if old is None else self._changes_since(old)
        return known

    def _changes_since(self, old: Shown) -> bytes:
        board = board_of(self._view, old, self._sight)
        return self._changes(board, renew=is_due(old, self._sight, self._lives_s))

    def _changes(self, old: Board, *, renew: bool) -> bytes:
        return sse.event(b"changes", encode(changes(old, self._board, renew=renew)), name=self._frame.name)


class Boards(Followed[Kind]):
    """The board of a venue."""

    def __init__(self, view: VenueView, lives_s: int, may: May) -> None:
        """lives_s: as BoardGroup has it."""
        self.view, self.label = view, view.venue.venue
        self._lives_s, self._may = lives_s, may

    @property
    def news(self) -> asyncio.Event:
        """Set with the next frame."""
        return self.view.shown

    def group(self, kind: Kind) -> BoardGroup:
        """A group that has the current board."""
        return BoardGroup(self.view, kind, self._lives_s)

    def may(self, _kind: Kind, key: str) -> bool:
        """Whether a key may follow the venue."""
        return self._may(self.view, key)
