"""What the orders of a venue come to for its runners: who is boosted, who is out, which slots are held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from racing.board_settings import Boosts
from racing.entries import OrdersChange
from racing.model import FloatArray
from racing.orderbook import OrderBook, Placed
from racing.orders import Boost, Emergency, Exclusion, Freeze, Order, Phase, Pin
from racing.roster import TRUE, Roster

Mask = npt.NDArray[np.bool_]
_Kind = TypeVar("_Kind", bound=Order)
_NO_BOUNDS = Boosts()


@dataclass(frozen=True, slots=True)
class InForce:
    """The orders in force at a moment, by kind, the oldest first."""

    placed: tuple[Placed, ...] = ()
    pins: tuple[Pin, ...] = ()
    boosts: tuple[Boost, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    emergencies: tuple[Emergency, ...] = ()
    phases: tuple[Placed, ...] = ()


def in_force(placed: list[Placed]) -> InForce:
    """These orders by kind."""

    def of(kind: type[_Kind]) -> tuple[_Kind, ...]:
        return tuple(order for order, _ in placed if isinstance(order, kind))

    phases = tuple(each for each in placed if isinstance(each.order, Phase))
    return InForce(tuple(placed), of(Pin), of(Boost), of(Exclusion), of(Freeze), of(Emergency), phases)


@dataclass(slots=True)
class Frozen:
    """The runners of a board's slots as a freeze found them; turn tells the order that did."""

    turn: int
    runners: list[int] = field(default_factory=list)


class Steering:
    """The orders of one venue, those in force, and what freezes remember. Time comes in as arguments."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.now = InForce()
        self.frozen: dict[str, Frozen] = {}

    def change(self, change: OrdersChange) -> int:
        """Take a change into the book; look() brings it into force. Returns how many orders could not be read."""
        return self.book.change(change)

    def look(self, moment_ms: int) -> InForce:
        """Bring into force what holds at a moment; returns what held before."""
        before, self.now = self.now, in_force(self.book.holding(moment_ms))
        self.book.drop_ended(moment_ms)
        return before

    def freezes_anew(self, moment_ms: int) -> bool:
        """Whether a freeze that holds at a moment has not yet noted the board."""
        return any(self._unnoted(placed) for placed in self.book.holding(moment_ms))

    def _unnoted(self, placed: Placed) -> bool:
        known = self.frozen.get(placed.order.id)
        return isinstance(placed.order, Freeze) and (known is None or known.turn != placed.turn)

    def freeze(self, runners: list[int]) -> None:
        """Note the board for freezes that have just come into force; forget those that have gone."""
        kept = {placed.order.id: placed for placed in self.now.placed if isinstance(placed.order, Freeze)}
        self.frozen = {name: frozen for name, frozen in self.frozen.items() if name in kept}
        for name, placed in kept.items():
            if self._unnoted(placed):
                self.frozen[name] = Frozen(placed.turn, list(runners))

    def factors(self, roster: Roster, bounds: Boosts | None) -> FloatArray | None:
        """The factor of every runner's score, float64 (n,), 1 where no boost means it; None without boosts.

        Of boosts that overlap the greatest factor counts, within the rule's bounds.
        """
        if not self.now.boosts:
            return None
        bounds = bounds or _NO_BOUNDS
        factors, meant = np.zeros(len(roster)), np.zeros(len(roster), np.bool_)
        for boost in self.now.boosts:
            aim = aimed_at(boost, roster)
            meant |= aim
            factors[aim] = np.maximum(factors[aim], boost.factor)
        return np.where(meant, np.clip(factors, bounds.floor, bounds.cap), 1.0)

    def excluded(self, roster: Roster) -> Mask | None:
        """Who is off the board, bool (n,); None where nobody is."""
        if not self.now.exclusions:
            return None
        out = np.zeros(len(roster), np.bool_)
        for exclusion in self.now.exclusions:
            out |= aimed_at(exclusion, roster)
        return out

    def excluded_by(self, runner: int, roster: Roster) -> str:
        """The newest exclusion that means a runner, as its id and reason; empty where none does."""
        for exclusion in reversed(self.now.exclusions):
            if aimed_at(exclusion, roster)[runner]:
                return f"{exclusion.id}: {exclusion.reason}"
        return ""

    def save(self) -> dict[str, Any]:
        """All of it, for a checkpoint; what is in force follows from it and the moment."""
        frozen = {name: [each.turn, each.runners] for name, each in self.frozen.items()}
        return {"book": self.book.save(), "frozen": frozen}

    def load(self, saved: dict[str, Any], moment_ms: int) -> None:
        """Take what save gave at that moment."""
        self.book.load(saved["book"])
        self.frozen = {name: Frozen(turn, list(runners)) for name, (turn, runners) in saved["frozen"].items()}
        self.now = in_force(self.book.holding(moment_ms))


def aimed_at(order: Boost | Exclusion, roster: Roster) -> Mask:
    """Whom an order means, bool (n,). Cost: one pass over the field."""
    if order.product is not None:
        number = roster.number_of(order.product)
        meant = np.zeros(len(roster), np.bool_)
        if number is not None:
            meant[number] = True
        return meant
    if order.merchant is not None:
        return roster.having("merchant", order.merchant)
    if isinstance(order, Boost) and order.category is not None:
        return roster.having("category", order.category)
    return roster.having(order.tag or "", TRUE) if isinstance(order, Boost) else np.zeros(len(roster), np.bool_)
