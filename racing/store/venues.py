"""Venues as they are made and changed: their own data, their life, and who may do what. A part of the desk."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from racing import decisions
from racing.decisions import Change, Decision
from racing.errors import ConflictError, NotFoundError
from racing.formula import FORMULA
from racing.lifecycle import State, check_move
from racing.model import Position
from racing.rule import Rule
from racing.store.client import as_text, store_errors_async
from racing.store.commands import Commands
from racing.store.documents import RuleVersion
from racing.store.keys import AUDIT, AUDIT_MAX, VENUES, VenueKeys
from racing.store.rules import Rules

_TRIES = 5
_encode = msgspec.json.Encoder().encode


class Access(msgspec.Struct, frozen=True):
    """What a venue lets whom do while keys are in force.

    slots_public: anyone may read its slots; details_public: with scores, signals and counts. beacon_kinds: event kinds
    that publishable keys may send. merchants_may: what merchants may do to their own products. neighbours_named:
    whether they hear which products stand next to theirs. advice: how exactly they are told what would move them.
    """

    slots_public: bool = True
    details_public: bool = False
    beacon_kinds: tuple[str, ...] = ()
    merchants_may: tuple[Literal["stock", "price", "withdraw"], ...] = ()
    neighbours_named: bool = False
    advice: Literal["off", "coarse", "exact"] = "coarse"


class Venue(msgspec.Struct, frozen=True):
    """A venue's own data.

    state: where it is in its life. parent: the main venue that it is a sub venue of. cloned_from: the venue whose rule,
    runners and orders it began with. conditions: what a product must bring (racing/conditions.py).
    targets: what it is to sell (racing/targets.py).
    """

    venue: str
    title: str
    created_ms: int
    access: Access = Access()
    state: State = "open"
    parent: str = ""
    cloned_from: str = ""
    conditions: dict[str, Any] = {}
    targets: dict[str, Any] = {}


_decode_venue = msgspec.json.Decoder(Venue).decode


class Venues:
    """The venues of the deployment."""

    def __init__(self, commands: Commands, rules: Rules) -> None:
        self._commands = commands
        self._rules = rules

    async def create(
        self, venue: str, title: str, rule: Rule, *, author: str, access: Access | None = None, **given: Any
    ) -> Venue:
        """Make a venue with its first rule version. Raises ConflictError if it exists. Safe to repeat after a fault.

        given: more of the venue's own data, as state or parent.

        The venue is listed, and raced, only when its own keys are complete.
        """
        now_ms = time.time_ns() // 1_000_000
        made = Venue(venue, title, now_ms, access or Access(), **given)
        document = rule.model_dump(mode="json", exclude_none=True)
        await self._rules.begin(venue, RuleVersion(1, document, author, "first rule", now_ms, FORMULA))
        fresh = await self._commands.ask("HSETNX", VENUES, venue, _encode(made))
        if not fresh:
            raise ConflictError(f"venue {venue!r} exists already")
        return made

    async def put_access(self, venue: str, access: Access, *, author: str) -> Venue:
        """Make this the venue's access, whatever it was. Safe to repeat. Seen by every API process within 2 s."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("access", msgspec.to_builtins(before.access), msgspec.to_builtins(access))
            return msgspec.structs.replace(before, access=access), Decision(author, "access", [told])

        made, entry = await self.change(venue, changed)
        if entry:
            told = {"at_ms": Position.parse(entry).ms, "who": author, "what": "access", "venue": venue}
            told_whole = _encode({**told, "access": access})
            await self._commands.ask("XADD", AUDIT, "MAXLEN", "~", AUDIT_MAX, "*", "entry", told_whole)
        return made

    async def tell_deletion(self, venue: str, *, author: str) -> None:
        """Tell the deployment's audit that a venue was deleted: its own decisions have gone with it."""
        told = {"at_ms": time.time_ns() // 1_000_000, "who": author, "what": "delete", "venue": venue}
        await self._commands.ask("XADD", AUDIT, "MAXLEN", "~", AUDIT_MAX, "*", "entry", _encode(told))

    async def change(self, venue: str, changed: Callable[[Venue], tuple[Venue, Decision]]) -> tuple[Venue, str]:
        """(a venue's own data as they are now, the log entry that tells of it; empty where nothing was to change).

        changed: what they shall be, and the decision, made of what they are; called again where another change came
        between. The entry is logged first, so that no change is without one; should another be faster after that, a
        further entry says that it is void. Raises NotFoundError, ConflictError. Safe to repeat.
        """
        for _ in range(_TRIES):
            async with store_errors_async():
                raw = await self._commands.client.hget(VENUES, venue)
            if raw is None:
                raise NotFoundError(f"there is no venue {venue!r}")
            before = _decode_venue(raw)
            wanted, decision = changed(before)
            if wanted == before:
                return before, ""
            entry = await self._note(venue, decision)
            if await self._commands.run("change_venue", (VENUES,), (venue, raw, _encode(wanted))):
                return wanted, entry
            await self._note(venue, Decision(decision.who, "void", undoes=entry))
        raise ConflictError(f"venue {venue!r} is changed by others all the time: try again")

    async def _note(self, venue: str, decision: Decision) -> str:
        """Log a decision that the race knows nothing of; its entry."""
        keys = VenueKeys(venue)
        return as_text(
            await self._commands.run(
                "note_decision", (keys.log, keys.decisions, keys.tail), (decisions.encode(decision),)
            )
        )

    async def put_conditions(self, venue: str, conditions: dict[str, Any], *, author: str) -> Venue:
        """Make these the venue's entry conditions, whatever they were. Safe to repeat."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("conditions", before.conditions, conditions)
            return msgspec.structs.replace(before, conditions=conditions), Decision(author, "venue", [told])

        made, _ = await self.change(venue, changed)
        return made

    async def put_targets(self, venue: str, targets: dict[str, Any], *, author: str) -> Venue:
        """Make these the venue's targets, whatever they were. Safe to repeat."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("targets", before.targets, targets)
            return msgspec.structs.replace(before, targets=targets), Decision(author, "venue", [told])

        made, _ = await self.change(venue, changed)
        return made

    async def move(self, venue: str, state: State, *, author: str, note: str) -> tuple[Venue, str]:
        """(the venue in another state of its life, the log entry that tells of it; empty where it is in it).

        Raises ConflictError where that may not follow the state that it is in.
        """

        def changed(before: Venue) -> tuple[Venue, Decision]:
            check_move(venue, before.state, state)
            told = Change("state", before.state, state)
            return msgspec.structs.replace(before, state=state), Decision(author, "venue", [told], note)

        return await self.change(venue, changed)

    async def all(self) -> list[Venue]:
        """All venues, sorted by id."""
        async with store_errors_async():
            raws = await self._commands.client.hvals(VENUES)
        return sorted((_decode_venue(raw) for raw in raws), key=lambda venue: venue.venue)
