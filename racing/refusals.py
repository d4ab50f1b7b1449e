"""What a change of orders may be: the refusals that only the other orders, the board and the time can tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

from racing.documents import shown
from racing.errors import ConflictError, NotFoundError, OrderError
from racing.orders import ORDERS_MAX, Boost, Emergency, Exclusion, Order, Phase, Pin


def products_of(orders: Iterable[Order]) -> set[str]:
    """The products that orders name."""
    found: set[str] = set()
    for order in orders:
        if isinstance(order, Emergency):
            found.update(order.products)
        elif isinstance(order, (Pin, Boost, Exclusion)) and order.product is not None:
            found.add(order.product)
    return found


def check_enrolled(orders: Sequence[Order], enrolled: Collection[str], venue: str) -> None:
    """Raise OrderError for the first order that names a product which is not enrolled."""
    for order in orders:
        for product in sorted(products_of([order]) - set(enrolled)):
            field = "products" if isinstance(order, Emergency) else "product"
            raise _wrong(order, field, f"must be enrolled in venue {venue!r}", product)


def check_present(held: Mapping[str, Order], put: Sequence[Order], now_ms: int) -> None:
    """Raise ConflictError for an order whose product was withdrawn from the race meanwhile."""
    withdrawn = {
        order.product: order
        for order in held.values()
        if isinstance(order, Exclusion) and order.withdrawn and order.holds(now_ms) and order.product is not None
    }
    for order in put:
        for product in sorted(products_of([order]) & withdrawn.keys()):
            if not isinstance(order, Exclusion):
                by = withdrawn[product]
                raise ConflictError(
                    f"{order.kind} {order.id!r}: product {product!r} was withdrawn by order {by.id!r} ({by.reason})"
                )


def check_change(
    held: Mapping[str, Order], put: Sequence[Order], withdraw: Collection[str], *, now_ms: int, slots: int
) -> None:
    """Raise what refuses a change of the orders that are held.

    slots: of the venue's board; a phase may bring more. OrderError: a slot beyond the board, a phase in the past, an id
    that comes twice. ConflictError: hard pins of which one cannot be kept, a phase that has begun or begins with
    another, too many orders; it names the other order. NotFoundError: an order to withdraw that there is not.
    """
    _check_ids(held, put, withdraw)
    changed = [order for order in put if held.get(order.id) != order]
    for name in (*withdraw, *(order.id for order in changed)):
        _check_not_begun(held.get(name), now_ms)
    after = {name: order for name, order in held.items() if name not in withdraw} | {order.id: order for order in put}
    if len(after) > ORDERS_MAX:
        raise ConflictError(f"{len(after)} orders: a venue keeps at most {ORDERS_MAX}; withdraw those that have ended")
    room = max([slots, *(phase.parsed().board.slots for phase in after.values() if isinstance(phase, Phase))])
    others = [order for order in after.values() if order.active]
    for order in changed:
        _check_alone(order, now_ms=now_ms, slots=room)
        for other in others:
            if other.id != order.id and order.active:
                _check_pair(order, other, now_ms)


def _check_ids(held: Mapping[str, Order], put: Sequence[Order], withdraw: Collection[str]) -> None:
    names = [order.id for order in put]
    for order, other in combinations(put, 2):
        if order.id == other.id:
            raise _wrong(other, "id", "each order once in a change", order.id)
    for name in withdraw:
        if name in names:
            raise OrderError(f"order {name!r} is both put and withdrawn: do one of them")
        if name not in held:
            raise NotFoundError(f"there is no order {name!r}: it was withdrawn, or never put")


def _check_not_begun(order: Order | None, now_ms: int) -> None:
    if isinstance(order, Phase) and order.active and order.holds(now_ms):
        raise ConflictError(
            f"phase {order.id!r} began at {order.start_ms} and is no longer to be changed:"
            " put a phase that follows it, or change the rule"
        )


def _check_alone(order: Order, *, now_ms: int, slots: int) -> None:
    if isinstance(order, Phase) and order.active and (order.start_ms or 0) <= now_ms:
        raise _wrong(order, "start_ms", f"must be after now, {now_ms}: a phase begins in the future", order.start_ms)
    if isinstance(order, Pin) and order.slot > slots:
        raise _wrong(order, "slot", f"must be at most {slots}, the slots of the board", order.slot)


def _check_pair(order: Order, other: Order, now_ms: int) -> None:
    """Refuse what two orders cannot both have: a slot or product pinned twice at a time, phases that begin together."""
    if isinstance(order, Phase) and isinstance(other, Phase) and order.start_ms == other.start_ms:
        raise ConflictError(f"phase {other.id!r} begins at the same moment, {order.start_ms}: one follows the other")
    if not (
        isinstance(order, Pin) and isinstance(other, Pin) and order.hard and other.hard and _meet(order, other, now_ms)
    ):
        return
    if order.slot == other.slot:
        raise ConflictError(
            f"pin {order.id!r}: slot {order.slot} is held for {other.product!r} by pin {other.id!r} at the same time"
        )
    if order.product == other.product:
        raise ConflictError(
            f"pin {order.id!r}: product {order.product!r} is held at slot {other.slot} by pin {other.id!r}"
            " at the same time"
        )


def _meet(order: Order, other: Order, now_ms: int) -> bool:
    """Whether there is a moment to come at which both hold."""
    begins_ms = max(order.start_ms or 0, other.start_ms or 0, now_ms)
    return all(each.end_ms is None or begins_ms < each.end_ms for each in (order, other))


def _wrong(order: Order, field: str, expected: str, value: object) -> OrderError:
    text = shown(value)
    return OrderError(f"{order.kind} {order.id!r}: {field}: {expected}, not {text}", [(field, expected, text)])
