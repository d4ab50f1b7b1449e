"""Plans (备案) in Redis: named changes, prepared beforehand, to be applied and withdrawn as one decision."""

from __future__ import annotations

from typing import Any

import msgspec

from racing import decisions
from racing.decisions import Change, Decision
from racing.errors import ConflictError, NotFoundError
from racing.store.client import as_text, store_errors_async
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.protocol import AsyncClient

PLANS_MAX = 200
"""Plans of a venue."""


class Plan(msgspec.Struct, frozen=True):
    """Orders to put and to withdraw, and perhaps a rule, under one id. who: the key that saved it last."""

    id: str
    put: list[dict[str, Any]] = []
    withdraw: list[str] = []
    rule: dict[str, Any] | None = None
    note: str = ""
    who: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Plan).decode


class Plans:
    """The plans of the deployment's venues."""

    def __init__(self, desk: Desk, client: AsyncClient) -> None:
        self._desk = desk
        self._client = client

    async def all(self, venue: str) -> list[Plan]:
        """The plans of a venue, by id."""
        async with store_errors_async():
            raws = await self._client.hgetall(VenueKeys(venue).plans)
        return sorted((_decode(raw) for raw in raws.values()), key=lambda plan: plan.id)

    async def read(self, venue: str, name: str) -> Plan:
        """One plan. Raises NotFoundError."""
        plan, _ = await self._kept(venue, name)
        if plan is None:
            raise NotFoundError(f"there is no plan {name!r}")
        return plan

    async def _kept(self, venue: str, name: str) -> tuple[Plan | None, bytes]:
        async with store_errors_async():
            raw = await self._client.hget(VenueKeys(venue).plans, name)
        return (None, b"") if raw is None else (_decode(raw), raw)

    async def put(self, venue: str, plan: Plan, *, author: str) -> str:
        """Keep a plan; its log entry, empty where it is kept as it is.

        Raises ConflictError where another changes it just now, or there are too many.
        """
        before, raw = await self._kept(venue, plan.id)
        wanted = msgspec.structs.replace(plan, who=author)
        if before is not None and msgspec.structs.replace(before, who=author) == wanted:
            return ""
        if before is None and len(await self.all(venue)) >= PLANS_MAX:
            raise ConflictError(f"venue {venue!r} keeps {PLANS_MAX} plans: delete one")
        return await self._write(venue, plan.id, raw, _encode(wanted), _told(author, before, wanted))

    async def drop(self, venue: str, name: str, *, author: str) -> str:
        """Delete a plan; its log entry. What it has put stays. Raises NotFoundError, ConflictError."""
        before, raw = await self._kept(venue, name)
        if before is None:
            raise NotFoundError(f"there is no plan {name!r}")
        return await self._write(venue, name, raw, b"", _told(author, before, None))

    async def _write(self, venue: str, name: str, raw: bytes, wanted: bytes, decision: Decision) -> str:
        keys = VenueKeys(venue)
        args = (name, raw, wanted, decisions.encode(decision))
        reply = await self._desk.run("put_plan", (keys.plans, keys.log, keys.decisions, keys.tail), args)
        if reply[0] == 0:
            raise ConflictError(f"plan {name!r} was changed by another just now: read it again")
        return as_text(reply[1])


def _told(author: str, before: Plan | None, after: Plan | None) -> Decision:
    name = (after or before or Plan("")).id
    sides = (None if plan is None else msgspec.to_builtins(plan) for plan in (before, after))
    return Decision(author, "plan", [Change(name, *sides)], after.note if after else "")
