"""How long a stock lasts: when it runs out at the pace at which it sells, and whether that is to be told now."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from racing.model import FloatArray


class Outlook(NamedTuple):
    """What becomes of a stock. alert: it is to be told now; sells_out_in_s: None while nothing sells."""

    alert: bool
    threshold: float
    sells_out_in_s: float | None


_Velocity = TypeVar("_Velocity", float, FloatArray)


def reorder_point(velocity_per_s: _Velocity, safety_stock: int, lead_time_s: float) -> _Velocity:
    """The stock at which new goods are to be ordered: of one velocity, or of each of many."""
    return safety_stock + velocity_per_s * lead_time_s


def outlook(stock: int, velocity_per_s: float, *, safety_stock: int = 0, lead_time_s: float = 0.0) -> Outlook:
    """The outlook of a stock that sells at a velocity, units a second, >= 0.

    It alerts at stock <= safety_stock + velocity x lead_time_s: new goods that were ordered now would find no more
    than the safety stock left (the reorder point of inventory control). It sells out, at an even pace, after
    stock / velocity.
    """
    threshold = reorder_point(velocity_per_s, safety_stock, lead_time_s)
    lasts_s = stock / velocity_per_s if velocity_per_s > 0 else None
    return Outlook(stock <= threshold, threshold, 0.0 if stock <= 0 else lasts_s)
