"""A venue raced by hand: its log is written at chosen moments and its owner steps when told. No clock, no sleep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from racing.entries import (
    AFTER_FIELD,
    DECISION_FIELD,
    EVENTS_FIELD,
    SUM_FIELD,
    TICK_FIELD,
    Enrolment,
    OrdersChange,
    RuleChange,
    encode_decision,
    sum_of,
)
from racing.events import EventBatch
from racing.model import Frame, Position
from racing.race import Race
from racing.scorer import VenueScorer
from racing.settings import Settings
from racing.store.commit import CommitRecord, decode_frame, read_commit
from racing.store.keys import VENUES, VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from racing.store.reads import members
from racing.store.sets import measure_names
from tests.laws.logs import body_of, rule_of

Raw = tuple[bytes, dict[bytes, bytes]]

START_MS = 1_800_000_000_000
"""Log time at which hand-raced venues begin: an edge of every bucket length used."""

CLICKS = rule_of({"metric": "click", "signal": "level", "weight": 1}, board={"slots": 3})
"""Windows of 4 s in buckets of 2 s; the score is the number of clicks in the window."""


class Track:
    """One venue, its log, and the owner that races it."""

    def __init__(self, client: SyncClient, venue: str = "hall-1", **settings: Any) -> None:
        self.client = client
        self.raw = cast("Any", client)
        self.venue = venue
        self.keys = VenueKeys(venue)
        self.settings = Settings(**{"redis_url": "redis://elsewhere", **settings})  # no segment files unless asked for
        self.now_ms = START_MS
        self.versions = 0
        self.raw.hset(VENUES, venue, b'{"venue":"hall-1","title":"Hall 1","created_ms":0}')

    # -- the log -------------------------------------------------------------------------------------

    def write(self, body: dict[str, Any], *, after_ms: int = 0) -> Position:
        """One entry, so long after the last one: events, rule, enrol, orders, tick or unreadable."""
        self.now_ms += after_ms
        self.versions += "rule" in body
        fields = _fields(body, self.versions)
        if TICK_FIELD not in fields:  # as the scripts do
            fields[AFTER_FIELD] = self.raw.get(self.keys.tail) or b""
        entry = self.raw.xadd(self.keys.log, fields, id=f"{self.now_ms}-*")
        if TICK_FIELD not in fields:
            self.raw.set(self.keys.tail, entry)
        return Position.parse(entry)

    def begin(self, rule: dict[str, Any] = CLICKS, *, runners: int = 3) -> None:
        """A rule and so many runners."""
        self.write({"rule": rule})
        for first in range(0, runners, 1000):
            self.write({"enrol": {number: {} for number in range(first, min(first + 1000, runners))}})

    def click(self, *runners: int, after_ms: int = 0) -> Position:
        """A batch of one click for each runner named."""
        return self.write(clicks(runners), after_ms=after_ms)

    def rewrite(self, change: Callable[[list[Raw]], list[Raw]]) -> None:
        """Give the log other entries, as a server does that loads a damaged file."""
        raws = change(self.raw.xrange(self.keys.log))
        self.raw.delete(self.keys.log)
        for name, fields in raws:
            self.raw.xadd(self.keys.log, fields, id=name)

    # -- the owner -----------------------------------------------------------------------------------

    def owner(self) -> VenueScorer:
        """A new owner, which takes the venue over."""
        return VenueScorer(self.client, self.keys, self.settings)

    def step(self, owner: VenueScorer, *, after_ms: int = 0) -> CommitRecord | None:
        """Let time pass; then the owner reads and steps once."""
        self.now_ms += after_ms
        return owner.step(read_after(self.client, self.keys, owner.race.position), self.now_ms)

    def settle(self, owner: VenueScorer, *, steps: int = 50) -> CommitRecord:
        """Step every 100 ms until nothing is pending: the log folded, the frame out, the sets complete."""
        record = None
        for _ in range(steps):
            record = self.step(owner, after_ms=100) or record
            done = read_commit(self.client, self.keys)
            if done.position == done.sets_position == self.last() and record is None:
                return done
            record = None
        raise AssertionError(f"not settled after {steps} steps")

    # -- what Redis holds ----------------------------------------------------------------------------

    def last(self) -> str:
        """The position of the log's last entry."""
        return str(self.raw.xrevrange(self.keys.log, count=1)[0][0].decode())

    def commit(self) -> CommitRecord:
        """The commit record."""
        return read_commit(self.client, self.keys)

    def frames(self) -> list[Frame]:
        """Every frame kept, oldest first."""
        return [decode_frame(fields[b"frame"]) for _, fields in self.raw.xrange(self.keys.frames)]

    def standings(self) -> list[int]:
        """Runner numbers as ZRANGE gives them."""
        return [int(member) for member in self.raw.zrange(self.keys.standings, 0, -1)]

    def sets(self) -> dict[str, dict[int, float]]:
        """Every sorted set of runners' numbers by name, without the venue's prefix; totals of zero left out."""
        prefix = self.keys.sums("", "").removesuffix(":")
        found = {}
        for key in sorted(self.raw.scan_iter(match=f"{prefix}*", count=1000)):
            name = key.decode().removeprefix(prefix)
            if self.raw.type(key) == b"zset" and name not in {"merchants", "watched"}:
                found[name] = members(self.client, key.decode())
        return _without_zero_totals(found)


def clicks(runners: Sequence[int]) -> dict[str, Any]:
    """A batch of one click for each runner named."""
    return {"events": [{"type": "click", "runner": runner} for runner in runners]}


def packed(body: dict[str, Any]) -> bytes:
    """A batch of events as the API packs it."""
    return _fields(body, 0)[EVENTS_FIELD]


def _fields(body: dict[str, Any], version: int) -> dict[bytes, bytes]:
    if "unreadable" in body:
        return {b"other": b"1"}
    meant = body_of(body, version)
    if isinstance(meant, EventBatch):
        return {EVENTS_FIELD: meant.pack()}
    if isinstance(meant, (RuleChange, Enrolment, OrdersChange)):
        decision = encode_decision(meant)
        return {DECISION_FIELD: decision, SUM_FIELD: sum_of(decision)}
    return {TICK_FIELD: b"1"}


def sets_of(race: Race) -> dict[str, dict[int, float]]:
    """The sorted sets as a race says that they must be, in plain loops; totals of zero left out."""
    wanted: dict[str, dict[int, float]] = {
        "standings": {runner: 0.0 - score for runner, score in enumerate(race.scores.tolist())}
    }
    for measure, name in enumerate(measure_names(race)):
        for runner in range(len(race.products)):
            window = int(race.windows.window[runner, measure])
            base_tenths = int(race.windows.base_tenths[runner, measure])
            total = int(race.windows.total[runner, measure])
            if window:
                wanted.setdefault(f"window:{name}", {})[runner] = window
            if window or base_tenths:
                wanted.setdefault(f"delta:{name}", {})[runner] = (10 * window - base_tenths) / 10
            if total:
                wanted.setdefault(f"total:{name}", {})[runner] = total
    return wanted


def _without_zero_totals(sets: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    plain = {
        name: {runner: value for runner, value in held.items() if value or not name.startswith("total:")}
        for name, held in sets.items()
    }
    return {name: held for name, held in plain.items() if held}
