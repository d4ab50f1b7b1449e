"""Versions of venues' rules as they are put and read. A part of the desk."""

from __future__ import annotations

import time
from collections.abc import Sequence

from racing import decisions
from racing.decisions import Change, Decision
from racing.entries import RuleChange, encode_decision
from racing.errors import ConflictError, NotFoundError
from racing.formula import FORMULA
from racing.rule import Rule
from racing.store.client import as_text, store_errors_async
from racing.store.commands import Commands
from racing.store.documents import RuleVersion, decode_version, encode_version
from racing.store.keys import VenueKeys


class Rules:
    """The rules of the deployment's venues, every version."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def read(self, venue: str, version: int | None = None) -> RuleVersion:
        """A rule version, the current one by default. Raises NotFoundError."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            wanted = str(version) if version else await self._commands.client.hget(keys.rules, "current")
            raw = await self._commands.client.hget(keys.rules, as_text(wanted)) if wanted else None
        if raw is None:
            raise NotFoundError(f"venue {venue!r} has no rule version {version or ''}".rstrip())
        return decode_version(raw)

    async def put(
        self, venue: str, rule: Rule, *, after: int, author: str, note: str, undoes: str = ""
    ) -> tuple[RuleVersion, str]:
        """Make a rule current; returns its version and its log entry. ConflictError if after is not the current one.

        Its number is the next that was never given, to a phase neither.
        """
        document = rule.model_dump(mode="json", exclude_none=True)
        _, highest = await self.numbers(venue)
        made = RuleVersion(max(after, highest) + 1, document, author, note, time.time_ns() // 1_000_000, FORMULA)
        entry = await self._put(VenueKeys(venue), made, after=after, undoes=undoes)
        if entry is None:
            raise ConflictError(f"rule version {after} is no longer the current one")
        return made, entry

    async def versions(self, venue: str, numbers: Sequence[int]) -> list[RuleVersion]:
        """Those of these rule versions that there are, in the order asked for."""
        if not numbers:
            return []
        async with store_errors_async():
            raws = await self._commands.client.hmget(VenueKeys(venue).rules, [str(number) for number in numbers])
        return [decode_version(raw) for raw in raws if raw is not None]

    async def numbers(self, venue: str) -> tuple[int, int]:
        """(the version that is current, the highest that was given); 0 where there is none yet."""
        async with store_errors_async():
            current, highest = await self._commands.client.hmget(VenueKeys(venue).rules, ["current", "highest"])
        return int(current or 0), int(highest or current or 0)

    async def begin(self, venue: str, first: RuleVersion) -> None:
        """Make a venue's first rule version. Safe to repeat: it stays the one that was made first."""
        await self._put(VenueKeys(venue), first, after=0)

    async def _put(self, keys: VenueKeys, made: RuleVersion, *, after: int, undoes: str = "") -> str | None:
        change = RuleChange(made.version, made.rule, made.author, made.note, made.formula)
        decision = Decision(made.author, "rule", [Change("rule", after or None, made.version)], made.note, undoes)
        args = (
            str(after),
            str(made.version),
            encode_version(made),
            encode_decision(change),
            decisions.encode(decision),
        )
        reply = await self._commands.run("put_rule", (keys.rules, keys.log, keys.tail, keys.decisions), args)
        return as_text(reply[1]) if reply[0] == 1 else None
