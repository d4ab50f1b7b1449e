"""Stock alerts of a race: who sells out before new goods can come, in the order in which they do."""

from __future__ import annotations

from racing.stock_alerts import StockAlerts, stock_alerts
from tests.laws.logs import START_MS, batch_of
from tests.unit.racing.venues import BoardVenue, exclude


def alerts(venue: BoardVenue, *, safety_stock: int = 0, lead_time_s: int = 10, limit: int = 50) -> StockAlerts:
    return stock_alerts(venue.race, safety_stock=safety_stock, lead_time_s=lead_time_s, limit=limit)


def sold(**pieces: int) -> BoardVenue:
    """Six products, five pieces of each; so many payments of some within the window of 4 s."""
    venue = BoardVenue(size=6)
    pays = [{"runner": int(name[1:]), "type": "pay"} for name, count in pieces.items() for _ in range(count)]
    venue.entry(batch_of(pays), at_ms=10)
    return venue


def test_nobody_alerts_while_nothing_sells_and_stocks_are_above_the_safety_stock() -> None:
    found = alerts(sold(), safety_stock=4)
    assert (found.watched, found.alerts, found.more, found.window_s) == (6, (), 0, 4)


def test_the_first_to_sell_out_comes_first_and_what_does_not_fit_is_counted() -> None:
    """p1 sells 1 a second and p2 half of it: 5 pieces <= 10 s of that, and last 5 and 10 s; p3 sold out."""
    venue = sold(p1=4, p2=2, p4=1)
    venue.stock(3, 0, at_ms=20)
    found = alerts(venue, limit=2)
    assert [
        (each.product, each.stock, each.per_hour, each.threshold, each.sells_out_in_s) for each in found.alerts
    ] == [
        ("p3", 0, 0.0, 0.0, 0.0),
        ("p1", 5, 3600.0, 10.0, 5.0),
    ]
    assert found.more == 1
    assert [each.sells_out_at_ms for each in found.alerts] == [START_MS + 20, START_MS + 5_020]
    assert [each.product for each in alerts(venue).alerts] == ["p3", "p1", "p2"]


def test_what_does_not_sell_comes_last_the_least_stock_first() -> None:
    venue = sold(p1=4)
    venue.stock(5, 3, at_ms=20)
    found = alerts(venue, safety_stock=5)
    assert [each.product for each in found.alerts] == ["p1", "p5", "p0", "p2", "p3", "p4"]
    assert [each.sells_out_at_ms for each in found.alerts[1:]] == [None] * 5


def test_neither_an_excluded_product_nor_one_of_unknown_stock_alerts() -> None:
    venue = sold(p1=4, p2=4)
    venue.put(exclude("away", product="p1"), at_ms=20)
    venue.enrol(2, at_ms=30, stock=None)
    found = alerts(venue)
    assert (found.watched, found.alerts) == (4, ())
