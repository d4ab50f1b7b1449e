"""Boards as readers get them, and what changes make of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class Slot(TypedDict, total=False):
    """A slot of a board; what says nothing is left out, and there may be more."""

    slot: int
    product: str
    merchant: str
    title: str
    category: str
    tier: str
    price: int
    list_price: int
    price_after_coupon: int
    image: str
    url: str
    moved: int
    badges: list[str]
    gone: bool
    score: float
    token: str


class Board(TypedDict, total=False):
    """A board, or a page of one. next: cursor of the page after it, None at the end."""

    venue: str
    frame: int
    epoch: int
    at_ms: int
    phase: str
    phase_ends_ms: int | None
    stale: bool
    evolved: bool
    next: str | None
    slots: list[Slot]


def name_of(board: Board) -> str:
    """The name of a board's frame."""
    return f"{board['epoch']}-{board['frame']}"


def applied(board: Board, changes: Mapping[str, Any]) -> Board:
    """The board that changes make of the one that they are since. Inputs are read only."""
    slots: dict[str, dict[str, Any]] = {slot["product"]: {**slot} for slot in board["slots"]}
    for product in changes["left"]:
        slots.pop(product, None)
    for fields in (*changes["moves"], *changes["changed"]):
        slot = {**slots[fields["product"]], **fields}
        slots[fields["product"]] = {name: value for name, value in slot.items() if value is not None and name != "was"}
    slots.update({slot["product"]: slot for slot in changes["entered"]})
    made: Any = {**changes["head"], "slots": sorted(slots.values(), key=lambda slot: int(slot["slot"]))}
    board_of: Board = made
    return board_of
