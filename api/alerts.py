"""What a merchant is alerted to: how its own products differ between two moments of a venue, told as plain changes.

A scene is what there is to tell of at one moment. Of each thing that holds or does not (on the board, on the first
page, sold out, low, excluded) there is an alert exactly where it holds at one of two scenes and not at the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec

from racing.badges import LOW_STOCK
from racing.entries import Runner
from racing.model import Frame
from racing.orders import Exclusion, parse_order
from racing.store.audit import Told

Kind = Literal[
    "excluded",
    "restored",
    "left_board",
    "entered_board",
    "left_page",
    "entered_page",
    "sold_out",
    "low_stock",
    "back_in_stock",
]
_ORDER: Final = {kind: place for place, kind in enumerate(Kind.__args__)}  # type: ignore[attr-defined]  # typing's own
WHOLE: Final = ""
"""In place of a product: all of the merchant's."""


class Alert(msgspec.Struct, frozen=True):
    """One change. product: None means all of the merchant's. order, reason, until_ms: of excluded and restored."""

    kind: Kind
    product: str | None
    title: str | None = None
    slot: int | None = None
    was: int | None = None
    stock: int | None = None
    order: str | None = None
    reason: str | None = None
    withdrawn: bool | None = None
    until_ms: int | None = None


class Seen(NamedTuple):
    """A product on the board. stock: as last stated, None where nobody has."""

    slot: int
    title: str
    stock: int | None


@dataclass(frozen=True, slots=True)
class Scene:
    """A merchant's products on a board, and the exclusions that mean them or all it has (WHOLE), by product."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    excluded: Mapping[str, Exclusion] = field(default_factory=dict)


NOTHING: Final = Scene()
"""What is told against it is what holds now."""


def alerts(old: Scene, new: Scene, page: int) -> list[Alert]:
    """What changed from one scene to another, in the order of Kind and then of products.

    page: slots of the first page. Stock is compared of products that are on the new board; of one that was not on the
    old one, what holds of its stock is told. Cost: O(products on either board).
    """
    found = [*_exclusions(old, new)]
    for product in old.seen.keys() | new.seen.keys():
        was, now = old.seen.get(product), new.seen.get(product)
        found += [Alert(kind, product, *_told(was, now)) for kind in (*_places(was, now, page), *_stocks(was, now))]
    return sorted(found, key=lambda alert: (_ORDER[alert.kind], alert.product or WHOLE))


def _exclusions(old: Scene, new: Scene) -> Iterator[Alert]:
    for kind, here, there in (("excluded", new, old), ("restored", old, new)):
        for product, order in here.excluded.items():
            if product not in there.excluded:
                yield Alert(
                    kind,  # type: ignore[arg-type]  # both are kinds
                    product or None,
                    *_told(old.seen.get(product), new.seen.get(product)),
                    order=order.id,
                    reason=order.reason,
                    withdrawn=order.withdrawn,
                    until_ms=order.end_ms,
                )


def _told(was: Seen | None, now: Seen | None) -> tuple[str | None, int | None, int | None, int | None]:
    """Title, slot, the slot that it had, and stock of a product, as an alert has them."""
    shown = now or was
    return (
        None if shown is None else shown.title,
        None if now is None else now.slot,
        None if was is None else was.slot,
        None if now is None else now.stock,
    )


def _places(was: Seen | None, now: Seen | None, page: int) -> Iterator[Kind]:
    if (was is None) != (now is None):
        yield "left_board" if now is None else "entered_board"
    on_page = now is not None and now.slot <= page
    if on_page != (was is not None and was.slot <= page):
        yield "entered_page" if on_page else "left_page"


def _stocks(was: Seen | None, now: Seen | None) -> Iterator[Kind]:
    if now is None or now.stock is None:
        return
    before = None if was is None else was.stock
    if now.stock == 0 and before != 0:
        yield "sold_out"
    if is_low(now.stock) and not is_low(before):
        yield "low_stock"
    if now.stock > 0 and before == 0:
        yield "back_in_stock"


def is_low(stock: int | None) -> bool:
    """Whether there is little left: 1 to LOW_STOCK pieces."""
    return stock is not None and 0 < stock <= LOW_STOCK


# -- as it was ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Before:
    """What decisions had changed, as it was before them; None: it was not there.

    orders: documents by id. runners: data by product.
    """

    orders: dict[str, Any] = field(default_factory=dict)
    runners: dict[str, Runner | None] = field(default_factory=dict)

    @classmethod
    def of(cls, decisions: Iterable[Told]) -> Before:
        """Take back decisions, newest first. Those that cannot be read are passed over."""
        made = cls()
        for told in decisions:
            decision = told.decision
            for change in decision.changes:
                if decision.what == "orders":
                    made.orders[change.of] = change.before
                elif decision.what in {"enrol", "swap"}:
                    made.runners.update(dict.fromkeys(_products(change.after)))
                    made.runners.update(_runners(change.before))
        return made

    def seen(self, frame: Frame, runners: Mapping[int, Runner], merchant: str) -> dict[str, Seen]:
        """The merchant's products on a board. runners: data by number, as it is now."""
        found = {}
        for slot in frame.slots:
            now = runners.get(slot.runner)
            data = self.runners.get(slot.product, now if now is not None and now.product == slot.product else None)
            if data is not None and data.merchant == merchant:
                found[slot.product] = Seen(slot.slot, data.title, data.stock if slot.stock is None else slot.stock)
        return found

    def excluded(self, orders: Mapping[str, Any], moment_ms: int, merchant: str) -> dict[str, Exclusion]:
        """The exclusions that held at a moment, by product, and those of the merchant; of several the last by id.

        orders: as they are now. Products are of any merchant.
        """
        documents = {name: order for name, order in orders.items() if name not in self.orders}
        before = {name: document for name, document in self.orders.items() if document is not None}
        documents |= {name: parse_order(each) for name, each in before.items() if each.get("kind") == "exclude"}
        held = (documents[name] for name in sorted(documents))
        return {
            order.product or WHOLE: order
            for order in held
            if isinstance(order, Exclusion) and order.holds(moment_ms) and order.merchant in {None, merchant}
        }


def _products(document: Any) -> Sequence[str]:
    return [document["product"]] if isinstance(document, dict) and "product" in document else []


def _runners(document: Any) -> dict[str, Runner | None]:
    try:
        runner = msgspec.convert(document, Runner)
    except msgspec.ValidationError:  # there was none
        return {}
    return {runner.product: runner}
