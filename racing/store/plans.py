"""Plans (备案) in Redis: named changes, prepared beforehand, to be applied and withdrawn as one decision."""

from __future__ import annotations

import msgspec

from racing import decisions
from racing.decisions import Change, Decision
from racing.errors import ConflictError, CorruptRecordError, NotFoundError
from racing.store.client import as_text, store_errors_async
from racing.store.desk import Desk
from racing.store.documents import Plan, decode_plan, encode_plan
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient

PLANS_MAX = 200
"""Plans of a venue."""


class Plans:
    """The plans of the deployment's venues."""

    def __init__(self, desk: Desk, client: AsyncClient) -> None:
        self._desk = desk
        self._client = client

    async def all(self, venue: str) -> list[Plan]:
        """The plans of a venue, by id; damaged ones left out."""
        async with store_errors_async():
            raws = await self._client.hgetall(VenueKeys(venue).plans)
        plans = [plan for raw in raws.values() if (plan := _readable(raw)) is not None]
        return sorted(plans, key=lambda plan: plan.id)

    async def read(self, venue: str, name: str) -> Plan:
        """One plan. Raises NotFoundError, and CorruptRecordError where it is damaged."""
        return decode_plan(await self._there(venue, name))

    async def _raw(self, venue: str, name: str) -> bytes:
        """A plan as it is kept; empty where there is none."""
        async with store_errors_async():
            return await self._client.hget(VenueKeys(venue).plans, name) or b""

    async def _there(self, venue: str, name: str) -> bytes:
        """A plan as it is kept. Raises NotFoundError."""
        raw = await self._raw(venue, name)
        if not raw:
            raise NotFoundError(f"there is no plan {name!r}")
        return raw

    async def put(self, venue: str, plan: Plan, *, author: str) -> str:
        """Keep a plan, also in place of a damaged one; its log entry, empty where it is kept as it is.

        Raises ConflictError where another changes it just now, or there are too many.
        """
        raw = await self._raw(venue, plan.id)
        before = _readable(raw)
        wanted = msgspec.structs.replace(plan, who=author)
        if before is not None and msgspec.structs.replace(before, who=author) == wanted:
            return ""
        if not raw and len(await self.all(venue)) >= PLANS_MAX:
            raise ConflictError(f"venue {venue!r} keeps {PLANS_MAX} plans: delete one")
        return await self._write(venue, plan.id, raw, encode_plan(wanted), _told(author, before, wanted))

    async def drop(self, venue: str, name: str, *, author: str) -> str:
        """Delete a plan; its log entry. What it has put stays. Raises NotFoundError, ConflictError."""
        raw = await self._there(venue, name)
        return await self._write(venue, name, raw, b"", _told(author, _readable(raw) or Plan(name), None))

    async def _write(self, venue: str, name: str, raw: bytes, wanted: bytes, decision: Decision) -> str:
        keys = VenueKeys(venue)
        args = (name, raw, wanted, decisions.encode(decision))
        reply = await self._desk.run("put_plan", (keys.plans, keys.log, keys.decisions, keys.tail), args)
        if reply[0] == 0:
            raise ConflictError(f"plan {name!r} was changed by another just now: read it again")
        return as_text(reply[1])


def _readable(raw: bytes) -> Plan | None:
    """A plan as it is kept; None for none, and for a damaged one."""
    try:
        return decode_plan(raw) if raw else None
    except CorruptRecordError:
        return None


def _told(author: str, before: Plan | None, after: Plan | None) -> Decision:
    name = (after or before or Plan("")).id
    sides = (None if plan is None else msgspec.to_builtins(plan) for plan in (before, after))
    return Decision(author, "plan", [Change(name, *sides)], after.note if after else "")
