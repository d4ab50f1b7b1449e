"""What a process knows of one venue: its current frame, rule and runner data, and the answers made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from api.badges import badges_of, told_lately
from api.encoded import CACHE_CONTROL, PRIVATE_CACHE_CONTROL, Slots
from api.history import NO_REFERENCES, History, References, Shown
from api.parts import Part, Sight, State, body_of
from api.rows import Row, rows_of
from api.tokens import VenueTokens
from racing.badge_settings import BadgeSettings
from racing.entries import Runner
from racing.lifecycle import why_no_events
from racing.model import Frame, Place
from racing.rule import Rule
from racing.store.commit import NO_COMMIT, CommitRecord
from racing.store.numbers import Numbers
from racing.store.venues import Venue

STALE_MS = 3_000
"""Data older than this is marked stale: a lease has gone by without a commit."""
_BODIES_MAX = 16
"""Encoded answers kept of one frame: front ends ask for few limits; who tries them all must not fill the memory."""
_PARTS_MAX = 64
"""Other encoded answers kept: pages, categories and tiers, selections of fields."""


def is_stale(age_ms: int | None) -> bool:
    """Whether readers must be told that data of this age no longer moves."""
    return age_ms is not None and age_ms > STALE_MS


class Times(NamedTuple):
    """What answers tell of time. tick: the ms of this process's clock that it holds for; lines: as HTTP has it."""

    tick: int
    lines: bytes
    stale: bool


NO_TIMES = Times(-1, b"", stale=False)


@dataclass
class VenueView:
    """What this process knows of a venue: its current frame, rule and runner data."""

    venue: Venue
    frame: Frame
    rule: Rule
    rule_version: int
    last_id: str = "0-0"
    commit: CommitRecord = NO_COMMIT
    trouble: str = ""
    """Why the last commit cannot be read, if it cannot: a newer Saima made it, or it is damaged."""
    age_ms: float | None = None
    age_read_s: float = 0.0
    runners: dict[int, Runner] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    read_ahead: bool = False
    history: History = field(default_factory=History)
    following: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who takes newer frames."""
    looks: int = 0
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """How often it was looked for newer frames because a reader named one; held meanwhile."""
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    tokens: VenueTokens | None = None
    public_details: bool = True
    cache_control: str = CACHE_CONTROL
    shut: str | None = None
    """Why the venue takes no events, as it is no time for them."""
    more_kinds: frozenset[str] = frozenset()
    """Event kinds of rules that are not yet, or no longer, in force: of phases to come and of the rule put last."""
    versions_seen: int = 0
    _kinds: tuple[Rule, frozenset[str], dict[str, int]] | None = None
    _times: Times = NO_TIMES
    _now: Shown = field(init=False)
    _slots: dict[tuple[int, bool, bool, int], Slots] = field(default_factory=dict)
    _parts: dict[tuple[Place, Part, State], Slots] = field(default_factory=dict)
    _rows: dict[bool, list[Row]] = field(default_factory=dict)
    deltas: dict[tuple[Place | None, Sight], Slots] = field(default_factory=dict)
    """Answers of GET changes made of the current frame, by since and what is seen of it."""
    badges: dict[int, BadgeSettings] = field(default_factory=dict)
    """What other rule versions say of badges."""
    older: dict[Place, Shown] = field(default_factory=dict)
    """Frames that were fetched, with the data of their runners as it is now."""

    def __post_init__(self) -> None:
        """Begin with the frame given."""
        self._now = Shown(self.frame, self.runners, badges=badges_of(self.rule))

    @property
    def kinds(self) -> dict[str, int]:
        """Event kinds that the venue takes, each with its code in the batches of this process."""
        known = self._kinds
        if known is None or known[0] is not self.rule or known[1] is not self.more_kinds:
            kinds = sorted(self.rule.kinds() | self.more_kinds)
            known = self._kinds = (self.rule, self.more_kinds, {kind: code for code, kind in enumerate(kinds)})
        return known[2]

    def age(self) -> int | None:
        """Age of the data now, ms; None before the first commit."""
        if self.age_ms is None:
            return None
        return int(self.age_ms + (time.monotonic() - self.age_read_s) * 1000)

    def times(self, now_ms: Callable[[], int]) -> Times:
        """Age and staleness of the data now, with the server's clock, told again once each ms."""
        tick = int(time.monotonic() * 1000)
        if tick != self._times.tick:
            age_ms, line = self.age(), b"saima-now-ms: %d\r\n" % now_ms()
            if age_ms is not None:
                line = b"%bsaima-age-ms: %d\r\n" % (line, age_ms)
            self._times = Times(tick, line, is_stale(age_ms))
        return self._times

    def stale(self) -> bool:
        """Whether readers must be told that the data no longer moves."""
        return is_stale(self.age())

    @property
    def now(self) -> Shown:
        """The current frame with all that is shown with it."""
        return self._now

    def show(
        self,
        frame: Frame,
        runners: dict[int, Runner],
        references: References = NO_REFERENCES,
        badges: BadgeSettings | None = None,
    ) -> None:
        """Make a frame, with the data of its runners, the current one; wakes all who wait for it."""
        before, badges = self._now, badges or badges_of(self.rule)
        if self.data_of(frame) != self.data_of(before.frame):
            self.older.clear()
        same = references is before.references and badges == before.badges
        told = before.told if same else told_lately(references, badges)
        self._now = Shown(frame, runners, references, badges, told)
        self.frame, self.runners = frame, runners
        self._forget()
        self.history.add(self._now)
        self.shown.set()
        self.shown = asyncio.Event()

    @staticmethod
    def data_of(frame: Frame) -> tuple[int, int]:
        """Names the state of product data that a frame is shown with."""
        return frame.epoch, frame.roster

    def take(self, venue: Venue, *, public_details: bool, public_slots: bool) -> None:
        """Make this the venue's own data."""
        if public_details != self.public_details:  # who has a board of before lacks fields, or has too many
            self.history = History()
        self.venue, self.public_details = venue, public_details
        self.shut = why_no_events(venue.venue, venue.state)
        self.cache_control = CACHE_CONTROL if public_slots else PRIVATE_CACHE_CONTROL
        self._forget()

    def _forget(self) -> None:
        """Drop what was made of the frame before."""
        self._slots, self._parts, self._rows, self.deltas = {}, {}, {}, {}

    def slots(self, limit: int, *, stale: bool, issued_s: int = 0) -> Slots:
        """The answer of GET slots, made once for each frame, limit and state. issued_s: with tokens issued then."""
        return self._first(limit, stale, self.public_details, issued_s)

    def detailed(self, limit: int, *, stale: bool, issued_s: int = 0) -> Slots:
        """The answer of GET slots to a key that sees scores and signals where they are not public."""
        return self._first(limit, stale, True, issued_s)  # noqa: FBT003  # as above, one key for both

    def _first(self, limit: int, stale: bool, details: bool, issued_s: int) -> Slots:  # the key of what is made
        key = (min(limit, len(self.frame.slots)), stale, details, issued_s)
        known = self._slots.get(key)
        if known is None:
            if len(self._slots) >= _BODIES_MAX:
                self._slots.clear()
            state = State(stale=stale, details=details, issued_s=issued_s)
            known = self._slots[key] = self._made(self._now, Part(key[0], tokens=issued_s > 0), state)
        return known

    def part(self, shown: Shown, part: Part, state: State) -> Slots:
        """The answer with a part of a frame, this one or a kept one; made once while the current frame stands."""
        if shown is self._now and part == Part(part.limit, tokens=part.tokens):
            return self._first(part.limit, state.stale, state.details, state.issued_s)
        key = (shown.frame.place, part, state)
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= _PARTS_MAX:
                self._parts.clear()
            known = self._parts[key] = self._made(shown, part, state)
        return known

    def _made(self, shown: Shown, part: Part, state: State) -> Slots:
        private = state.details and not self.public_details
        shown = shown.of_segment(part.segment)
        return Slots.of(
            body_of(shown, self.rows_of(shown, details=state.details), part, state, self.tokens),
            shown.frame.name,
            stale=state.stale,
            cache_control=PRIVATE_CACHE_CONTROL if private else self.cache_control,
        )

    def rows_of(self, shown: Shown, *, details: bool) -> list[Row]:
        """Every slot of a frame; made once of the current one. Not to be written to."""
        if shown is not self._now:
            return rows_of(shown, details=details)
        if details not in self._rows:
            self._rows[details] = rows_of(shown, details=details)
        return self._rows[details]
