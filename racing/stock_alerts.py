"""Stock alerts: which products of a race sell out before new goods can come, the first to sell out first."""

from __future__ import annotations

from math import inf

import msgspec
import numpy as np

from racing.race import Race
from racing.stated import UNKNOWN
from racing.stock import outlook, reorder_point


class StockAlert(msgspec.Struct, frozen=True):
    """A product with stock <= threshold = safety stock + velocity x lead time; None: it does not sell."""

    product: str
    runner: int
    stock: int
    per_hour: float
    threshold: float
    sells_out_in_s: float | None
    sells_out_at_ms: int | None


class StockAlerts(msgspec.Struct, frozen=True):
    """The first alerts, and how many more there are. watched: products of known stock that are not excluded."""

    safety_stock: int
    lead_time_s: int
    window_s: int
    watched: int
    alerts: tuple[StockAlert, ...]
    more: int


def stock_alerts(race: Race, *, safety_stock: int, lead_time_s: int, limit: int) -> StockAlerts:
    """The alerts of a race as it stands. Who is excluded sells nothing here and alerts nobody.

    Velocity is the window's payments over the window, each taken for one piece, as merchants are told it; stock is what
    was last stated. Cost: one pass over the field, and a sort of those that alert.
    """
    sight = race.sight()
    stock, excluded = sight.stated.stock[: len(race.roster)], sight.field.excluded
    known = np.flatnonzero((stock != UNKNOWN) if excluded is None else (stock != UNKNOWN) & ~excluded)
    sold, _, _ = race.windows.column(known, 2 * race.kinds["pay"])
    velocity = np.maximum(sold, 0) / race.rule.window_s
    due = stock[known] <= reorder_point(velocity, safety_stock, lead_time_s)
    found = [
        _alert(race, runner, left, per_s, safety_stock, lead_time_s)
        for runner, left, per_s in zip(
            known[due].tolist(), stock[known[due]].tolist(), velocity[due].tolist(), strict=True
        )
    ]
    found.sort(key=lambda each: (inf if each.sells_out_in_s is None else each.sells_out_in_s, each.stock, each.runner))
    shown = tuple(found[:limit])
    return StockAlerts(safety_stock, lead_time_s, race.rule.window_s, len(known), shown, len(found) - len(shown))


def _alert(race: Race, runner: int, stock: int, per_s: float, safety_stock: int, lead_time_s: int) -> StockAlert:
    found = outlook(stock, per_s, safety_stock=safety_stock, lead_time_s=lead_time_s)
    lasts_s = found.sells_out_in_s
    at_ms = None if lasts_s is None else race.moment_ms + round(1000 * lasts_s)
    return StockAlert(race.products[runner], runner, stock, 3600 * per_s, found.threshold, lasts_s, at_ms)
