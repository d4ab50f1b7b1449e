"""Badges: what is worth telling a merchant of a product at a glance."""

from __future__ import annotations

FIRST_PAGE = 10
"""Slots that a shopper sees without scrolling. A guess at a phone's first screen, or two."""
LOW_STOCK = 10
"""Pieces. A guess: at the pace of a promotion it is minutes."""
RISING = 10
"""Places won or lost in five minutes that are worth a badge."""


def badges(*, slot: int | None, stock: int | None, moved_5m: int | None, labels: tuple[str, ...] = ()) -> list[str]:
    """The badges of a product: what its slot tells shoppers, its place on the board, rising or falling, its stock.

    moved_5m: places won within five minutes, negative for lost; None where it is not known.
    """
    found = list(labels)
    if slot is not None:
        found.append("leader" if slot == 1 else "first_page" if slot <= FIRST_PAGE else "board")
    if moved_5m is not None and abs(moved_5m) >= RISING:
        found.append("rising" if moved_5m > 0 else "falling")
    if stock is not None and stock <= LOW_STOCK and "sold_out" not in found:
        found.append("low_stock" if stock > 0 else "sold_out")
    return found
