"""A naive board: the published order of operations in plain lists and loops, sharing no code with racing/.

It follows a log entry by entry, keeps orders and stock, and is told the scores; stability, newcomers and phases are not
its matter. A log must have a tick at each moment at which an order begins or ends, and before each change of orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.laws.oracle import Body

Order = dict[str, Any]
_KINDS = {"pin", "boost", "exclude", "freeze", "emergency"}


class NaiveBoard:
    """The desk of a venue and its board."""

    def __init__(self) -> None:
        self.rule: dict[str, Any] = {}
        self.orders: list[Order] = []  # the oldest first
        self.stock: dict[int, tuple[int, int]] = {}  # when and how much
        self.runners: set[int] = set()
        self.frozen: dict[str, list[int]] = {}
        self.moment_ms = 0

    # -- the log -------------------------------------------------------------------------------------

    def fold(self, moment_ms: int, body: Body, scores: Sequence[float]) -> None:
        """Take one entry; scores: as they stand when time has come to its moment, before the entry itself."""
        self._freeze_anew(self.board_at(self.moment_ms, scores), moment_ms)
        self.moment_ms = moment_ms
        if "rule" in body:
            self.rule = body["rule"]
        elif "enrol" in body:
            self.runners |= set(body["enrol"])
        elif "events" in body:
            for event in body["events"]:
                self._state(event)
        elif "orders" in body:
            before = self.board_at(moment_ms, scores)
            for order in body["orders"]:
                self.frozen.pop(order["id"], None)  # put again, it looks anew
            names = {*body["withdraw"], *(order["id"] for order in body["orders"] if order["kind"] in _KINDS)}
            kept = [order for order in self.orders if order["id"] not in names]
            put: list[Order] = []
            for order in body["orders"]:
                if order["kind"] in _KINDS:
                    put = [*[other for other in put if other["id"] != order["id"]], order]
            self.orders = [*kept, *put]
            self._freeze_anew(before, moment_ms)

    def _state(self, event: dict[str, Any]) -> None:
        at_ms = self.moment_ms if event.get("ts_ms") is None else event["ts_ms"]
        ahead_ms = 1000 * self.rule.get("clock_skew_s", 300)
        if event["type"] != "stock" or event["runner"] not in self.runners or at_ms > self.moment_ms + ahead_ms:
            return
        if at_ms >= self.stock.get(event["runner"], (0, 0))[0]:
            self.stock[event["runner"]] = (at_ms, event["amount"])

    def _held(self, kind: str, moment_ms: int) -> list[Order]:
        return [
            order
            for order in self.orders
            if order["kind"] == kind
            and order.get("active", True)
            and order.get("start_ms", 0) <= moment_ms < order.get("end_ms", math.inf)
        ]

    def _freeze_anew(self, board: list[int], moment_ms: int) -> None:
        names = [order["id"] for order in self._held("freeze", moment_ms)]
        self.frozen = {name: runners for name, runners in self.frozen.items() if name in names}
        for name in names:
            self.frozen.setdefault(name, board)

    # -- facts ---------------------------------------------------------------------------------------

    @staticmethod
    def _word(runner: int, by: str) -> str | None:
        words = {
            "merchant": f"m{runner % 2}",
            "category": f"c{runner % 3}",
            "tier": "hero" if runner % 3 == 1 else None,
        }
        return words.get(by)

    def _means(self, order: Order, runner: int) -> bool:
        if "product" in order:
            return bool(order["product"] == f"product-{runner}")
        return any(by in order and order[by] == self._word(runner, by) for by in ("merchant", "category"))

    def factor(self, runner: int) -> float:
        """What boosts make of a runner's score now."""
        found = [order["factor"] for order in self._held("boost", self.moment_ms) if self._means(order, runner)]
        bounds = self.rule["board"].get("boosts", {"floor": 0.01, "cap": 100})
        return min(max(*found, bounds["floor"]), bounds["cap"]) if found else 1.0

    def _excluded(self, runner: int, moment_ms: int) -> bool:
        return any(self._means(order, runner) for order in self._held("exclude", moment_ms))

    def _sold_out(self, runner: int) -> bool:
        return runner in self.stock and self.stock[runner][1] == 0

    # -- the board -----------------------------------------------------------------------------------

    def board(self, scores: Sequence[float]) -> list[int]:
        """The runners on the board, slot by slot."""
        return self.board_at(self.moment_ms, scores)

    def board_at(self, moment_ms: int, scores: Sequence[float]) -> list[int]:
        """The board by what is in force at a moment."""
        if not self.rule:
            return []
        settings = self.rule["board"]
        slots = settings["slots"]
        order = sorted(range(len(scores)), key=lambda runner: (-scores[runner], runner))
        order = [runner for runner in order if not self._excluded(runner, moment_ms)]
        policy = settings.get("stock", {}).get("policy", "keep")
        gone = {runner for runner in order if self._sold_out(runner)} if policy != "keep" else set()
        sunk = [runner for runner in order if runner in gone] if policy == "sink" else []
        order = [runner for runner in order if runner not in gone] + sunk
        if "caps" in settings or "shares" in settings:
            order = self._arranged(order, slots, settings.get("caps", []), settings.get("shares", []))
        for tier in settings.get("tiers", []):
            order = self._tiered(order, slots, tier)
        free = set(order) - gone
        order = self._soft(order, free, slots, moment_ms)
        order = self._hard(order, free, slots, moment_ms)
        order = self._frozen_slots(order, free, slots, moment_ms)
        return self._emergency(order, free, slots, moment_ms)[:slots]

    def _arranged(self, order: list[int], slots: int, caps: list[Any], shares: list[Any]) -> list[int]:
        board: list[int] = []
        rest = list(order)
        count = min(slots, len(order))
        while len(board) < count:
            left = count - len(board)

            def capped(cap: Any, runner: int, board: list[int] = board) -> bool:
                stretch = board[-(cap["within"] - 1) :] if "within" in cap else board
                word = self._word(runner, cap["by"])
                return word is None or sum(self._word(o, cap["by"]) == word for o in stretch) < cap["most"]

            def members(share: Any, board: list[int] = board) -> int:
                return sum(self._word(other, share["by"]) == share["value"] for other in board)

            def below(share: Any, runner: int) -> bool:
                most = math.floor(share.get("max", 1) * slots + 1e-9)
                return bool(self._word(runner, share["by"]) != share["value"] or members(share) < most)

            lacking = {
                index: min(
                    max(0, math.ceil(share.get("min", 0) * slots - 1e-9) - members(share)),
                    sum(self._word(other, share["by"]) == share["value"] for other in rest),
                )
                for index, share in enumerate(shares)
            }

            def needed(runner: int, lacking: dict[int, int] = lacking, left: int = left) -> bool:
                if sum(lacking.values()) < left or not any(lacking.values()):
                    return True
                return any(
                    lack and self._word(runner, shares[index]["by"]) == shares[index]["value"]
                    for index, lack in lacking.items()
                )

            demands: list[Callable[[int], bool]] = [
                *[partial(capped, cap) for cap in caps],
                *[partial(below, share) for share in shares],
                needed,
            ]
            for keep in range(len(demands), -1, -1):
                fitting = [runner for runner in rest if all(demand(runner) for demand in demands[:keep])]
                if fitting:
                    board.append(fitting[0])
                    rest.remove(fitting[0])
                    break
        return board + rest

    def _tiered(self, order: list[int], slots: int, tier: Any) -> list[int]:
        first, _, last = tier["slots"].partition("-")
        kept = set(range(int(first), int(last or first) + 1))
        rest, board = list(order), []
        for slot in range(1, min(slots, len(order)) + 1):
            mine = [runner for runner in rest if self._word(runner, "tier") == tier["tier"]]
            others = [runner for runner in rest if runner not in mine]
            if slot in kept:
                chosen = (mine or rest)[0]
            else:
                to_come = len([each for each in kept if slot < each <= len(order)])
                chosen = others[0] if mine and others and len(mine) <= to_come else rest[0]
            board.append(chosen)
            rest.remove(chosen)
        return board + rest

    def _pins(self, hard: bool, free: set[int], slots: int, moment_ms: int) -> list[tuple[int, int]]:
        """(slot, runner) of the pins that count, the newest first: one a product."""
        found: list[tuple[int, int]] = []
        for order in reversed(self._held("pin", moment_ms)):
            runner = int(order["product"].partition("-")[2])
            if order["hard"] == hard and runner in free and order["slot"] <= slots:
                found += [] if runner in [other for _, other in found] else [(order["slot"], runner)]
        return found

    def _soft(self, order: list[int], free: set[int], slots: int, moment_ms: int) -> list[int]:
        pins = self._pins(False, free, slots, moment_ms)
        board: list[int] = []
        rest = list(order)
        while rest:
            open_pins = sorted([pin for pin in pins if pin[1] in rest], key=lambda pin: pin[0])
            # were the next of the order taken, would each stretch of slots still hold all its pins?
            after = [pin for pin in open_pins if pin[1] != rest[0]]
            fits = all(
                len([pin for pin in after if pin[0] <= slot]) <= max(0, slot - len(board) - 1)
                for slot in range(1, slots + 1)
            )
            chosen = rest[0] if fits or not open_pins else open_pins[0][1]
            board.append(chosen)
            rest.remove(chosen)
        return board

    def _hard(self, order: list[int], free: set[int], slots: int, moment_ms: int) -> list[int]:
        fixed: dict[int, int] = {}
        for slot, runner in self._pins(True, free, slots, moment_ms):
            fixed.setdefault(slot, runner)
        return _fixed(order, fixed)

    def _frozen_slots(self, order: list[int], free: set[int], slots: int, moment_ms: int) -> list[int]:
        fixed: dict[int, int] = {}
        for freeze in reversed(self._held("freeze", moment_ms)):
            for slot, runner in enumerate(self.frozen.get(freeze["id"], [])[: min(slots, freeze.get("slots", 99))], 1):
                if slot not in fixed and runner not in fixed.values() and runner in free:
                    fixed[slot] = runner
        return _fixed(order, fixed)

    def _emergency(self, order: list[int], free: set[int], slots: int, moment_ms: int) -> list[int]:
        held = self._held("emergency", moment_ms)
        products = held[-1]["products"][:slots] if held else []
        named = {slot: int(product.partition("-")[2]) for slot, product in enumerate(products, 1)}
        return _fixed(order, {slot: runner for slot, runner in named.items() if runner in free})


def _fixed(order: list[int], fixed: dict[int, int]) -> list[int]:
    """The others flow round those who have a slot."""
    flow = [runner for runner in order if runner not in fixed.values()]
    board: list[int] = []
    while flow or fixed:
        slot = len(board) + 1
        if slot in fixed or not flow:
            board.append(fixed.pop(slot if slot in fixed else min(fixed)))
        else:
            board.append(flow.pop(0))
    return board
