"""Undo: a decision taken back by a new one, or why that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from racing.decisions import Change, Decision
from racing.entries import Runner
from racing.errors import ConflictError, NotFoundError
from racing.lifecycle import check_move
from racing.orders import Exclusion, Order, parse_order
from racing.rule import parse_rule
from racing.store.audit import Audit, Told
from racing.store.desk import Desk
from racing.store.orders import Book, Orders, Wanted, document_of
from racing.store.venues import Venue

_ID_MAX = 64
Check = Callable[[Book, Sequence[Order], Sequence[str]], None]
"""Raises what refuses orders to be put and withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What takes back decisions on a venue. check: as for every other change of orders; plan: what it withdraws."""

    desk: Desk
    orders: Orders
    audit: Audit
    venue: str
    author: str
    note: str
    check: Check
    plan: str = ""

    async def of(self, entry: str) -> str:
        """The log entry that takes back the decision of an entry.

        Raises NotFoundError; ConflictError, which says why not: it was changed since, by which entry, or is of a kind
        that leaves nothing to go back to. To repeat it is refused: what is taken back was changed since.
        """
        told = await self.audit.find(self.venue, entry)
        if told is None:
            raise NotFoundError(f"there is no decision {entry!r} in venue {self.venue!r}: GET …/audit lists them")
        takes_back = {
            "rule": self._orders,
            "orders": self._orders,
            "enrol": self._enrol,
            "swap": self._swap,
            "access": self._venue,
            "venue": self._venue,
        }.get(told.decision.what)
        if takes_back is None:
            raise ConflictError(f"decision {entry} ({told.decision.what}) leaves nothing to go back to")
        return await takes_back(told)

    async def _moved_on(self, told: Told, of: str) -> ConflictError:
        """The refusal where one thing of a decision is no longer as the decision left it."""
        later = await self.audit.newest(self.venue, lambda other: _touches(other.decision, of), after=told.entry)
        by = f" by entry {later.entry} ({later.decision.what} of {later.decision.who!r})" if later else ""
        return ConflictError(f"decision {told.entry} cannot be undone: {of} was changed since{by}; undo that one first")

    async def _orders(self, told: Told) -> str:
        """Take back orders and a rule, as one entry."""
        rules = [change for change in told.decision.changes if change.of == "rule"]
        changes = [change for change in told.decision.changes if change.of != "rule"]
        before = None
        if rules:
            if not isinstance(rules[0].before, int):
                raise ConflictError(f"decision {told.entry} made the first rule: there is none to go back to")
            before = parse_rule((await self.desk.rules.read(self.venue, rules[0].before)).rule)
        moved = ""

        def wanted(book: Book) -> Wanted:
            """The way back, if all is as the decision left it; else nothing, and moved names what is not."""
            nonlocal moved
            moved = "rule" if rules and book.current != rules[0].after else _moved(book, changes)
            if moved:
                return Wanted()
            put = [parse_order(change.before) for change in changes if change.before is not None]
            withdraw = [change.of for change in changes if change.before is None]
            self.check(book, put, withdraw)
            told_as = {"author": self.author, "note": self.note, "undoes": told.entry, "plan": self.plan}
            return Wanted(put=put, withdraw=withdraw, rule=before, **told_as)

        decided = await self.orders.decide(self.venue, wanted)
        if moved:
            raise await self._moved_on(told, moved)
        return decided.entry

    async def _enrol(self, told: Told) -> str:
        """Give runners the data back that they had; those that were new are withdrawn from the board."""
        entry = told.entry
        changed = [change for change in told.decision.changes if change.before is not None]
        if changed:
            entry = await self._runners(told, changed)
        new = [str(change.after["product"]) for change in told.decision.changes if change.before is None]
        if new:
            put = [withdrawn(product, f"enrolment {told.entry} undone") for product in new]

            def wanted(book: Book) -> Wanted:
                """The withdrawal of those that were new, if the other orders let it be."""
                self.check(book, put, ())
                return Wanted(put=put, author=self.author, note=self.note, undoes=told.entry)

            entry = (await self.orders.decide(self.venue, wanted)).entry
        return entry

    async def _runners(self, told: Told, changed: Sequence[Change]) -> str:
        """Give runners the data back that they had, all or none; the entry. Raises ConflictError where one moved on."""
        back: list[tuple[bytes, Runner]] = []
        for change in changed:
            product = str(change.after["product"])
            found = await self.desk.runners.find(self.venue, product)
            if found is None or found[0] != msgspec.convert(change.after, Runner):
                raise await self._moved_on(told, product)
            back.append((found[1], msgspec.convert(change.before, Runner)))
        reverse = [Change("", change.after, change.before) for change in changed]
        decision = Decision(self.author, "enrol", reverse, self.note, told.entry)
        return await self.desk.runners.change_all(self.venue, back, decision)

    async def _swap(self, told: Told) -> str:
        """Give a number back to the product that had it."""
        (change,) = told.decision.changes
        came, went = msgspec.convert(change.after, Runner), msgspec.convert(change.before, Runner)
        found = await self.desk.runners.find(self.venue, came.product)
        if found is None or found[0] != came:
            raise await self._moved_on(told, came.product)
        reverse = Decision(self.author, "swap", [Change("", change.after, change.before)], self.note, told.entry)
        return await self.desk.runners.swap(self.venue, came.product, went, read=found[1], decision=reverse)

    async def _venue(self, told: Told) -> str:
        """Give the venue's own data back what they were."""
        moved = ""

        def changed(venue: Venue) -> tuple[Venue, Decision]:
            """As Undo._orders.wanted, of the venue's own data."""
            nonlocal moved
            plain = msgspec.json.decode(msgspec.json.encode(venue))  # as the audit has it: lists, no tuples
            moved = next((each.of for each in told.decision.changes if plain.get(each.of) != each.after), "")
            back = {} if moved else {each.of: each.before for each in told.decision.changes}
            if "state" in back:
                check_move(self.venue, venue.state, back["state"])
            reverse = [Change(each.of, each.after, each.before) for each in told.decision.changes]
            decision = Decision(self.author, told.decision.what, reverse, self.note, told.entry)
            return msgspec.convert({**plain, **back}, Venue), decision

        _, entry = await self.desk.venues.change(self.venue, changed)
        if moved:
            raise await self._moved_on(told, moved)
        return entry


def withdrawn(product: str, reason: str) -> Exclusion:
    """The order by which a product is out of the race, as its merchant or operator has it."""
    return Exclusion(kind="exclude", id=withdrawal_of(product), product=product, reason=reason, withdrawn=True)


def withdrawal_of(product: str) -> str:
    """The id of the order that withdraws a product: one each, within the letters of an id."""
    name = f"withdrawn.{product}"
    return name if len(name) <= _ID_MAX else f"withdrawn.{blake2b(product.encode(), digest_size=16).hexdigest()}"


def _moved(book: Book, changes: Sequence[Change]) -> str:
    """The first order that is not as a decision left it; empty where all are."""
    for change in changes:
        kept = book.kept.get(change.of)
        if (None if kept is None else document_of(kept.order)) != _document(change.after):
            return change.of
    return ""


def _document(order: Any) -> dict[str, Any] | None:
    """An order of a decision as it is kept today, which may have fields that were unknown then."""
    return None if order is None else document_of(parse_order(order))


def _touches(decision: Decision, of: str) -> bool:
    return any(change.of == of for change in decision.changes) or of in decision.products()
