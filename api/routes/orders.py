"""Operators: the orders of the desk (运营指令) that steer a board while it races."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Response

from api.guard import GuardedRoute, needs
from api.schemas.fields import header
from api.schemas.orders import (
    BoostIn,
    EmergencyIn,
    ExclusionIn,
    MaybeFreeze,
    OrderIn,
    OrderList,
    OrderOut,
    OrdersChanged,
    OrdersIn,
    PhaseIn,
    PinnedIn,
    Sent,
)
from api.service import Serving, Viewed
from api.steering import Steering, etag_of, kept, named
from racing.board_settings import SLOTS_MAX
from racing.documents import shown
from racing.errors import OrderError
from racing.model import ID_PATTERN
from racing.orders import Order

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

OrderName = Annotated[
    str, Path(description="id of the order", examples=["hero"], json_schema_extra={"pattern": ID_PATTERN})
]
IfMatch = Annotated[str | None, Header(description="ETag of the order as it was read", examples=['"1763740800123-0"'])]
Note = Annotated[str, Query(max_length=500, description="why, for the audit")]
Kind = Literal["pin", "boost", "exclude", "freeze", "emergency", "phase"]
State = Literal["scheduled", "in force", "ended", "inactive"]
_EXAMPLE = {"kind": "pin", "product": "p-1001", "slot": 1, "end": "2036-11-12T00:00:00+08:00", "note": "sold"}
_ETAG = {"ETag": header("entry that put the order, for If-Match")}


def accepted(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    """The answer to a decision that no frame holds within a second."""
    return {202: {"model": model, "description": "logged; no frame holds it within 1 s"}}


CHANGED = accepted(OrdersChanged)


def order_of(sent: OrderIn, name: str | None = None) -> Order:
    """The order that was sent, under the id of its address, else its own, else one made of what it says.

    Raises OrderError where it has another id than its address.
    """
    if name is not None and sent.id not in {"", name}:
        raise OrderError(
            f"id: must be {name!r} as in the address, or left out, not {shown(sent.id)}",
            [("id", f"must be {name!r} as in the address, or left out", shown(sent.id))],
        )
    given = name or sent.id or named(sent.kind, sent.model_dump_json(exclude={"note", "id"}).encode())
    return sent.order(given)


# -- all of them ----------------------------------------------------------------------------------------------


@router.get("/{venue}/orders", operation_id="listOrders")
@needs("operate")
async def list_orders(
    view: Viewed,
    service: Serving,
    *,
    kind: Annotated[Kind | None, Query(description="only of this kind")] = None,
    state: Annotated[State | None, Query(description="only in this state now")] = None,
    product: Annotated[str | None, Query(pattern=ID_PATTERN, description="only those that name this product")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="at most this many")] = 100,
    cursor: Annotated[str | None, Query(pattern=ID_PATTERN, description="next_cursor of the page before")] = None,
) -> OrderList:
    """Orders that are kept, whether they hold or not, in order of id."""
    book, now_ms = await service.orders.read(view.venue.venue), service.now_ms()
    shown_orders = [OrderOut.of(each, now_ms) for _, each in sorted(book.kept.items())]
    found = [
        each
        for each in shown_orders
        if (cursor is None or each.id > cursor)
        and kind in {None, each.kind}
        and state in {None, each.state}
        and (product is None or _names(each, product))
    ]
    return OrderList(orders=found[:limit], next_cursor=found[limit - 1].id if len(found) > limit else None)


def _names(order: OrderOut, product: str) -> bool:
    told = order.model_extra or {}
    return product == told.get("product") or product in (told.get("products") or ())


@router.post("/{venue}/orders", operation_id="changeOrders", responses=CHANGED)
@needs("operate")
async def post_orders(orders: OrdersIn, steer: Steering) -> OrdersChanged:
    """Put and withdraw orders, all or none, as one decision. Safe to repeat: what is so already is left as it is.

    409 names the other order where hard pins cannot both be kept, or a phase has begun. Answers with the frame from
    which it is visible, or 202 if none comes within 1 s.
    """
    put = [order_of(sent) for sent in orders.put]
    return await steer.change(put=put, withdraw=orders.withdraw, note=orders.note)


@router.get("/{venue}/orders/{order}", operation_id="readOrder", responses={200: {"headers": _ETAG}})
@needs("operate")
async def read_order(view: Viewed, order: OrderName, service: Serving, response: Response) -> OrderOut:
    """One order as it is kept."""
    found = kept(await service.orders.read(view.venue.venue), order)
    response.headers["ETag"] = etag_of(found.entry)
    response.headers["Cache-Control"] = "no-cache"
    return OrderOut.of(found, service.now_ms())


@router.put("/{venue}/orders/{order}", operation_id="putOrder", responses=CHANGED)
@needs("operate")
async def put_order(
    order: OrderName, sent: Annotated[Sent, Body(examples=[_EXAMPLE])], steer: Steering, *, if_match: IfMatch = None
) -> OrdersChanged:
    """Make this document the order under its id, new or in place of the one there is. Safe to repeat."""
    return await steer.put(order_of(sent, order), if_match)


@router.delete("/{venue}/orders/{order}", operation_id="withdrawOrder", responses=CHANGED)
@needs("operate")
async def withdraw_order(
    order: OrderName, steer: Steering, *, note: Note = "", if_match: IfMatch = None
) -> OrdersChanged:
    """End an order now."""
    return await steer.withdraw(order, note, if_match)


# -- the frequent ones under their own names ------------------------------------------------------------------


SlotNumber = Annotated[int, Path(ge=1, le=SLOTS_MAX, description="the slot, from 1", examples=[1])]


@router.put("/{venue}/pins/{slot}", operation_id="pinSlot", responses=CHANGED)
@needs("operate")
async def pin_slot(slot: SlotNumber, pin: PinnedIn, steer: Steering) -> OrdersChanged:
    """Hold a product at a slot (坑位锁定); the order's id is pin.<slot>."""
    return await steer.put(pin.at(slot))


@router.delete("/{venue}/pins/{slot}", operation_id="unpinSlot", responses=CHANGED)
@needs("operate")
async def unpin_slot(slot: SlotNumber, steer: Steering, *, note: Note = "") -> OrdersChanged:
    """End the pin that was put at this slot's address."""
    return await steer.withdraw(f"pin.{slot}", note)


@router.post("/{venue}/boosts", operation_id="boost", responses=CHANGED)
@needs("operate")
async def boost(boost: BoostIn, steer: Steering) -> OrdersChanged:
    """Boost (factor above 1) or bury (below 1) a product, merchant, category or tag. Overlapping ones: the largest."""
    return await steer.put(order_of(boost))


@router.post("/{venue}/exclusions", operation_id="exclude", responses=CHANGED)
@needs("operate")
async def exclude(exclusion: ExclusionIn, steer: Steering) -> OrdersChanged:
    """Take a product, or all of a merchant's, off the board (下架), with the reason; its counts and standing go on."""
    return await steer.put(order_of(exclusion))


@router.put("/{venue}/freeze", operation_id="freeze", responses=CHANGED)
@needs("operate")
async def freeze(freeze: MaybeFreeze, steer: Steering) -> OrdersChanged:
    """Keep the board, or its first slots, as they stand (冻结); the order's id is freeze."""
    return await steer.put(order_of(freeze, "freeze"))


@router.delete("/{venue}/freeze", operation_id="thaw", responses=CHANGED)
@needs("operate")
async def thaw(steer: Steering, *, note: Note = "") -> OrdersChanged:
    """End the freeze: the board is the race's again."""
    return await steer.withdraw("freeze", note)


@router.put("/{venue}/emergency", operation_id="emergency", responses=CHANGED)
@needs("operate")
async def emergency(order: EmergencyIn, steer: Steering) -> OrdersChanged:
    """Serve the operators' own order (应急榜), the race going on beneath; the order's id is emergency."""
    return await steer.put(order_of(order, "emergency"))


@router.delete("/{venue}/emergency", operation_id="endEmergency", responses=CHANGED)
@needs("operate")
async def end_emergency(steer: Steering, *, note: Note = "") -> OrdersChanged:
    """Serve the race's order again."""
    return await steer.withdraw("emergency", note)


@router.get("/{venue}/phases", operation_id="listPhases")
@needs("operate")
async def list_phases(view: Viewed, service: Serving) -> OrderList:
    """The timetable: phases (预热, 爆发, 返场) in the order in which they begin."""
    book, now_ms = await service.orders.read(view.venue.venue), service.now_ms()
    phases = [OrderOut.of(each, now_ms) for each in book.kept.values() if each.order.kind == "phase"]
    return OrderList(orders=sorted(phases, key=lambda each: (each.start_ms or 0, each.id)))


@router.put("/{venue}/phases/{order}", operation_id="putPhase", responses=CHANGED)
@needs("operate")
async def put_phase(order: OrderName, phase: PhaseIn, steer: Steering) -> OrdersChanged:
    """Put a phase on the timetable, or change one that has not begun."""
    return await steer.put(order_of(phase, order))


@router.delete("/{venue}/phases/{order}", operation_id="withdrawPhase", responses=CHANGED)
@needs("operate")
async def withdraw_phase(order: OrderName, steer: Steering, *, note: Note = "") -> OrdersChanged:
    """Take a phase off the timetable, unless it has begun."""
    return await steer.withdraw(order, note)
