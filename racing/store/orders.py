"""The orders of a venue in Redis: read, and changed by one atomic decision that is void if they have moved on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from racing import decisions
from racing.decisions import Change, Decision
from racing.documents import Strict
from racing.entries import OrdersChange, RuleChange, encode_decision
from racing.errors import ConflictError
from racing.formula import FORMULA
from racing.orders import Order, Phase
from racing.rule import Rule
from racing.store.client import as_text, store_errors_async
from racing.store.desk import Desk
from racing.store.documents import RuleVersion, decode_order, encode_version
from racing.store.keys import ORDERS_LAST, VenueKeys
from racing.store.protocol import AsyncClient

_TRIES = 8
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """An order, who put it, and the log entry that did."""

    order: Order
    who: str
    entry: str


@dataclass(frozen=True, slots=True)
class Book:
    """The orders of a venue as they were read.

    last: the entry that changed them last, empty where none did. current and highest: of the rule's versions.
    """

    kept: Mapping[str, KeptOrder]
    last: str
    current: int
    highest: int

    @property
    def orders(self) -> dict[str, Order]:
        """The orders by id."""
        return {name: kept.order for name, kept in self.kept.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a decision is to do: orders to put and to withdraw, perhaps a rule, all of it at once."""

    put: Sequence[Order] = ()
    withdraw: Sequence[str] = ()
    rule: Rule | None = None
    author: str = ""
    note: str = ""
    undoes: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was done. entry: of the log, the last one where nothing was left to do; book: the orders after it."""

    entry: str
    book: Book
    put: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    version: int | None = None


def document_of(order: Strict) -> dict[str, Any]:
    """An order as it is kept and logged: without what was not given."""
    return order.model_dump(mode="json", exclude_none=True)


class Orders:
    """The orders of the deployment's venues."""

    def __init__(self, desk: Desk, client: AsyncClient) -> None:
        self._desk = desk
        self._client = client

    async def read(self, venue: str) -> Book:
        """The orders of a venue. Raises StoreError, and CorruptRecordError where one is damaged. Cost: O(orders)."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            raws = await self._client.hgetall(keys.orders)
        current, highest = await self._desk.rules.numbers(venue)
        last = as_text(raws.pop(ORDERS_LAST.encode(), b""))
        return Book({as_text(name): _kept(raw) for name, raw in raws.items()}, last, current, highest)

    async def decide(self, venue: str, wanted_of: Callable[[Book], Wanted]) -> Decided:
        """Do what is wanted, all or nothing, if no order and no rule has moved on since it was thought out.

        wanted_of: says what is wanted of the orders as they are, or raises why nothing is; called anew where something
        moved on meanwhile. What changes nothing makes no entry. Raises ConflictError where it never stands still. After
        StoreUnavailableError it may have been done; to repeat it is safe.
        """
        for _ in range(_TRIES):
            book = await self.read(venue)
            made = _Made.of(book, wanted_of(book))
            if made.empty:
                return Decided(book.last, book)
            keys = VenueKeys(venue)
            named = (keys.orders, keys.rules, keys.log, keys.tail, keys.decisions)
            reply = await self._desk.run("put_orders", named, made.arguments())
            if reply[0] == 1:
                return made.decided(as_text(reply[1]))
        raise ConflictError(f"venue {venue!r}: its orders are changed by others all the time: try again")


def _kept(raw: bytes) -> KeptOrder:
    """An order as its hash keeps it. Raises CorruptRecordError for one that is damaged."""
    kept = decode_order(raw)
    return KeptOrder(kept.parsed(), kept.who, kept.entry)


@dataclass(frozen=True, slots=True)
class _Made:
    """What the script is told: what is wanted, less what is so already, with numbers for new rule versions."""

    book: Book
    wanted: Wanted
    put: list[Order]
    versions: list[RuleVersion]

    @classmethod
    def of(cls, book: Book, wanted: Wanted) -> _Made:
        """What is left to do: orders that differ from those kept, and a version for each rule that is new."""
        put: list[Order] = []
        versions: list[RuleVersion] = []
        at_ms = time.time_ns() // 1_000_000

        def version(rule: dict[str, Any], note: str, phase: str = "") -> int:
            """The number of a further rule version."""
            number = book.highest + len(versions) + 1
            versions.append(RuleVersion(number, rule, wanted.author, note, at_ms, FORMULA, phase))
            return number

        if wanted.rule is not None:
            version(wanted.rule.model_dump(mode="json", exclude_none=True), wanted.note)
        for order in wanted.put:
            held = book.kept[order.id].order if order.id in book.kept else None
            made = order
            if isinstance(order, Phase):
                same = isinstance(held, Phase) and held.parsed() == order.parsed()
                number = held.version if same and isinstance(held, Phase) else version(order.rule, order.note, order.id)
                made = order.model_copy(update={"version": number, "formula": FORMULA})
            if held != made:
                put.append(made)
        return cls(book, wanted, put, versions)

    @property
    def empty(self) -> bool:
        """Whether all is as it is wanted."""
        return not (self.put or self.wanted.withdraw or self.wanted.rule)

    def arguments(self) -> list[Any]:
        """The arguments of put_orders."""
        book, wanted = self.book, self.wanted
        rule = self.versions[0] if wanted.rule is not None else None
        kept = [(order.id, _encode({"who": wanted.author, "order": document_of(order)})) for order in self.put]
        return [
            book.last,
            book.current,
            book.highest,
            self._rule_entry(rule),
            self._orders_entry(),
            decisions.encode(self._decision(rule)),
            rule.version if rule else "",
            len(self.versions),
            *(part for version in self.versions for part in (version.version, encode_version(version))),
            len(kept),
            *(part for pair in kept for part in pair),
            *wanted.withdraw,
        ]

    def _rule_entry(self, rule: RuleVersion | None) -> bytes:
        """The log entry for the rule; empty where none is put."""
        if rule is None:
            return b""
        return encode_decision(RuleChange(rule.version, rule.rule, rule.author, rule.note, rule.formula))

    def _orders_entry(self) -> bytes:
        """The log entry for the orders; empty where only a rule is put."""
        wanted = self.wanted
        if not (self.put or wanted.withdraw):
            return b""
        put = [document_of(order) for order in self.put]
        told = (wanted.author, wanted.note, wanted.undoes, wanted.plan)
        return encode_decision(OrdersChange(put, list(wanted.withdraw), *told))

    def _decision(self, rule: RuleVersion | None) -> Decision:
        """The decision as the audit tells it: each thing with what it was before."""
        wanted, book = self.wanted, self.book

        def before(name: str) -> dict[str, Any] | None:
            kept = book.kept.get(name)
            return None if kept is None else document_of(kept.order)

        changes = [Change("rule", book.current, rule.version)] if rule else []
        changes += [Change(order.id, before(order.id), document_of(order)) for order in self.put]
        changes += [Change(name, before(name), None) for name in wanted.withdraw]
        return Decision(wanted.author, "orders", changes, wanted.note, wanted.undoes, wanted.plan)

    def decided(self, entry: str) -> Decided:
        """What was done by this entry."""
        book, wanted = self.book, self.wanted
        kept = {name: each for name, each in book.kept.items() if name not in wanted.withdraw}
        kept |= {order.id: KeptOrder(order, wanted.author, entry) for order in self.put}
        version = self.versions[0].version if wanted.rule is not None else None
        highest = self.versions[-1].version if self.versions else book.highest
        after = Book(kept, entry, version or book.current, highest)
        return Decided(entry, after, [order.id for order in self.put], list(wanted.withdraw), version)
