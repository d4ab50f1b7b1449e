"""When a product sells out, and what to restock (补货): its pace of the last window, taken on into the future."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

_Z = 1.2816
"""Of the normal distribution: 80 % lie within so many deviations."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of a product's stock at the pace of the last window; times in seconds from now, None for never.

    per_hour: pieces sold in an hour, with the range that chance allows in 80 of 100 cases. restock: pieces that last
    through the lead time, less the stock; order_in_s: until they must be ordered, 0 for at once.
    """

    per_hour: float
    per_hour_low: float
    per_hour_high: float
    sold_out_in_s: int | None
    sold_out_soonest_s: int | None
    sold_out_latest_s: int | None
    lead_time_s: int
    restock: int | None
    order_in_s: int | None


def forecast(*, sold: int, window_s: float, stock: int | None, lead_time_s: int) -> Forecast:
    """The forecast of a product of which so many pieces were sold in the window; stock None: not known.

    Sales are taken for a Poisson process that goes on at its pace; the range of the pace is that of the count by
    Anscombe's transform, sqrt(sold + 3/8) +- z/2 (Anscombe 1948). The restock covers the lead time's sales and z of
    their deviations (the usual order point of stock keeping).
    """
    sold = max(sold, 0)
    middle = sqrt(sold + 0.375)
    low, high = max(middle - _Z / 2, 0.0) ** 2 - 0.375, (middle + _Z / 2) ** 2 - 0.375
    low, pace = max(low, 0.0) / window_s, sold / window_s
    high /= window_s
    out = _lasts(stock, pace)
    needed = ceil(pace * lead_time_s + _Z * sqrt(pace * lead_time_s))
    return Forecast(
        per_hour=round(3600 * pace, 1),
        per_hour_low=round(3600 * low, 1),
        per_hour_high=round(3600 * high, 1),
        sold_out_in_s=out,
        sold_out_soonest_s=_lasts(stock, high) if out is not None else None,
        sold_out_latest_s=_lasts(stock, low) if out is not None else None,
        lead_time_s=lead_time_s,
        restock=None if stock is None else max(needed - stock, 0),
        order_in_s=None if out is None else max(out - lead_time_s, 0),
    )


def _lasts(stock: int | None, per_s: float) -> int | None:
    if stock is None:
        return None
    if stock <= 0:
        return 0
    return int(stock / per_s) if per_s > 0 else None
