"""Badge settings of a rule (标签): from where on shoppers are told that a product is hot or rising, and the like."""

from __future__ import annotations

from pydantic import Field

from racing.documents import Strict


class BadgeSettings(Strict):
    """From where on a product has a badge. What it is lately it stays for at least 30 s: hot, rising and new."""

    hot_slots: int = Field(3, ge=0, le=1000, description="hot: on one of the first so many slots; 0: nobody is")
    rising_slots: int = Field(
        5, ge=0, le=1000, description="rising: up by so many slots within about a minute; 0: nobody is"
    )
    new: bool = Field(default=True, description="new: on the board now, and not about a minute ago")
    low_stock: int = Field(10, ge=0, le=10**9, description="low_stock: at most so many left, and some; 0: never told")


DEFAULT_BADGES = BadgeSettings()
"""Guesses: three is a podium, five slots are more than noise moves a product on a board of 50 in a minute."""
