"""A change of a venue's orders from a request to its answer, whichever route it came by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from typing import Annotated

from fastapi import Depends, Response

from api.errors import ProblemError
from api.guard import Caller
from api.schemas.decisions import Visible
from api.schemas.orders import OrderOut, OrdersChanged
from api.service import Service, Serving, Viewed
from api.view import VenueView
from api.visible import frame_from
from racing.errors import NotFoundError
from racing.orders import Order
from racing.refusals import check_change, check_enrolled, products_of
from racing.rule import Rule
from racing.store.orders import Book, KeptOrder, Wanted
from racing.store.undo import Undo

_ID_MAX = 64
Precondition = Callable[[Book], None]
"""Raises what the caller's If-Match refuses."""


def checked_by(service: Service, view: VenueView) -> Callable[[Book, Sequence[Order], Collection[str]], None]:
    """What refuses a change of a venue's orders as they are: the same for every way in."""

    def check(book: Book, put: Sequence[Order], withdraw: Collection[str]) -> None:
        slots = view.rule.board.slots
        check_change(book.orders, put, withdraw, now_ms=service.now_ms(), slots=slots)

    return check


async def enrolled_only(service: Service, view: VenueView, put: Sequence[Order]) -> None:
    """Raise OrderError for an order that names a product which is not enrolled."""
    products = sorted(products_of(put))
    if products:
        check_enrolled(put, await service.desk.runners.numbers(view.venue.venue, products), view.venue.venue)


class Steer:
    """One operator's request to steer one venue: what it does, and the answer that says from when it is visible."""

    def __init__(self, view: Viewed, service: Serving, caller: Caller, response: Response) -> None:
        self.view = view
        self.service = service
        self.caller = caller
        self.response = response

    @property
    def venue(self) -> str:
        """The id of the venue."""
        return self.view.venue.venue

    async def change(
        self,
        *,
        put: Sequence[Order] = (),
        withdraw: Sequence[str] = (),
        rule: Rule | None = None,
        plan: str = "",
        note: str = "",
        precondition: Precondition | None = None,
    ) -> OrdersChanged:
        """Put and withdraw orders as one decision, and wait for the frame from which it is visible: 200, else 202.

        rule: one that is put with them; plan: what they are a part of.

        Raises what check_change and check_enrolled raise, ProblemError (412), StoreError.
        """
        await enrolled_only(self.service, self.view, put)
        check = checked_by(self.service, self.view)

        def wanted(book: Book) -> Wanted:
            if precondition is not None:
                precondition(book)
            check(book, put, withdraw)
            told = {"author": self.caller.name, "note": note, "plan": plan}
            return Wanted(put=put, withdraw=withdraw, rule=rule, **told)

        decided = await self.service.orders.decide(self.venue, wanted)
        now_ms = self.service.now_ms()
        seen = await self.shown(decided.entry)
        return OrdersChanged(
            put=[OrderOut.of(decided.book.kept[order.id], now_ms) for order in put],
            withdrawn=decided.withdrawn,
            rule_version=decided.version,
            **seen.model_dump(),
        )

    async def put(self, order: Order, match: str | None = None) -> OrdersChanged:
        """Put one order; match: what If-Match asks of it."""
        changed = await self.change(put=[order], note=order.note, precondition=if_match(match, order.id))
        self.response.headers["ETag"] = etag_of(changed.put[0].entry)
        return changed

    async def withdraw(self, name: str, note: str, match: str | None = None) -> OrdersChanged:
        """End one order now."""
        return await self.change(withdraw=[name], note=note, precondition=if_match(match, name))

    def undo(self, note: str, *, plan: str = "") -> Undo:
        """What takes decisions back in this caller's name. plan: the one that is withdrawn by it."""
        return Undo(
            desk=self.service.desk,
            orders=self.service.orders,
            audit=self.service.audit,
            venue=self.venue,
            author=self.caller.name,
            note=note,
            check=checked_by(self.service, self.view),
            plan=plan,
        )

    async def shown(self, entry: str) -> Visible:
        """A decision's entry and the frame from which it is visible, if one comes within a second: 200, else 202."""
        frame = await frame_from(self.view, entry, self.service.settings) if entry else self.view.frame
        self.response.status_code = 202 if frame is None else 200
        return Visible(entry=entry, epoch=frame.epoch if frame else None, frame=frame.frame if frame else None)


async def _steer(view: Viewed, service: Serving, caller: Caller, response: Response) -> Steer:
    return Steer(view, service, caller, response)


Steering = Annotated[Steer, Depends(_steer)]


def kept(book: Book, name: str) -> KeptOrder:
    """An order by its id. Raises NotFoundError."""
    found = book.kept.get(name)
    if found is None:
        raise NotFoundError(f"there is no order {name!r}: it was withdrawn, or never put")
    return found


def etag_of(entry: str) -> str:
    """The ETag of what an entry made."""
    return f'"{entry}"'


def if_match(given: str | None, name: str) -> Precondition:
    """What If-Match asks of an order: that it is as the caller knows it."""

    def check(book: Book) -> None:
        """Raise ProblemError (412) where the order is another by now, or none."""
        if given is None:
            return
        found = book.kept.get(name)
        current = None if found is None else etag_of(found.entry)
        wanted = {each.strip() for each in given.split(",")}
        if current is None or wanted.isdisjoint({"*", current}):
            now = "there is no such order" if current is None else f"the order is {current} by now"
            raise ProblemError("precondition_failed", f"If-Match {given[:80]}: {now}; read it again")

    return check


def named(kind: str, document: bytes) -> str:
    """The id of an order that came without one: the same for the same order, so that to repeat it changes nothing."""
    return f"{kind}.{blake2b(document, digest_size=6).hexdigest()}"[:_ID_MAX]
