"""The book of a venue's orders: what the log has put and withdrawn, and which of it holds at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from racing.entries import OrdersChange
from racing.errors import OrderError
from racing.orders import ORDERS_MAX, Order, Phase, parse_order

NEVER_MS = 2**62
"""Later than every moment."""


class Placed(NamedTuple):
    """An order and the number of the change that put it: of two at odds the higher number is the newer order."""

    order: Order
    turn: int


class OrderBook:
    """Orders by id, in the order in which they were put. Nothing is scheduled here: who asks says the moment."""

    def __init__(self) -> None:
        self._placed: dict[str, Placed] = {}
        self.turn = 0
        """Changes of anything that a newer decision of its kind replaces: rules, and orders put."""

    def __len__(self) -> int:
        return len(self._placed)

    def next_turn(self) -> int:
        """A number higher than all before."""
        self.turn += 1
        return self.turn

    def change(self, change: OrdersChange) -> int:
        """Withdraw and put, all of it as one; returns how many documents could not be read, and were passed over.

        They are refused at the door, so that only a damaged log, or more than ORDERS_MAX of them, brings one here.
        """
        for name in change.withdraw:
            self._placed.pop(name, None)
        turn, unread = self.next_turn(), 0
        for document in change.put:
            try:
                order = parse_order(document)
            except OrderError:
                unread += 1
                continue
            self._placed.pop(order.id, None)  # the newest stands last
            if len(self._placed) < ORDERS_MAX:
                self._placed[order.id] = Placed(order, turn)
            else:
                unread += 1
        return unread

    def holding(self, moment_ms: int) -> list[Placed]:
        """The orders in force at a moment, the oldest first."""
        return [placed for placed in self._placed.values() if placed.order.holds(moment_ms)]

    def next_ms(self, after_ms: int) -> int:
        """The first moment after this one at which an order begins or ends; NEVER_MS if none does."""
        moments = (
            at_ms
            for placed in self._placed.values()
            if placed.order.active
            for at_ms in (placed.order.start_ms, placed.order.end_ms)
            if at_ms is not None and at_ms > after_ms
        )
        return min(moments, default=NEVER_MS)

    def next_phase_ms(self, after_ms: int) -> int:
        """When the first phase after this moment begins; NEVER_MS if none does."""
        phases = (order for order, _ in self._placed.values() if isinstance(order, Phase) and order.active)
        return min((p.start_ms for p in phases if p.start_ms is not None and p.start_ms > after_ms), default=NEVER_MS)

    def drop_ended(self, moment_ms: int) -> None:
        """Forget orders that will never hold again."""
        ended = [
            name for name, (order, _) in self._placed.items() if order.end_ms is not None and order.end_ms <= moment_ms
        ]
        for name in ended:
            del self._placed[name]

    def placed(self) -> list[Placed]:
        """The orders that hold or may come to hold, the oldest first."""
        return list(self._placed.values())

    def documents(self) -> list[dict[str, Any]]:
        """The orders that hold or may come to hold, as they were put, the oldest first."""
        return [placed.order.model_dump(mode="json", exclude_none=True) for placed in self._placed.values()]

    def save(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            "turn": self.turn,
            "orders": [[p.turn, p.order.model_dump(mode="json", exclude_none=True)] for p in self._placed.values()],
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take what save gave, in place of what is here. Raises OrderError, KeyError, ValueError on anything else."""
        rows: Iterable[tuple[int, Any]] = saved["orders"]
        placed = [Placed(parse_order(document), turn) for turn, document in rows]
        self._placed = {each.order.id: each for each in placed}
        self.turn = saved["turn"]
