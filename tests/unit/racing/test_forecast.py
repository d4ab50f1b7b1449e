"""Stock at the pace of the last window."""

from __future__ import annotations

from racing.forecast import forecast


def test_pace_lasts_as_long_as_the_stock() -> None:
    """One a second: 600 pieces last ten minutes; an hour's lead time takes 3,600 and 1.28 deviations of 60."""
    found = forecast(sold=300, window_s=300, stock=600, lead_time_s=3_600)
    assert (found.per_hour, found.sold_out_in_s, found.order_in_s) == (3_600.0, 600, 0)
    assert found.restock == 3_600 + 77 - 600


def test_range_holds_the_pace_and_narrows_with_what_was_sold() -> None:
    few, many = (forecast(sold=n, window_s=n, stock=100, lead_time_s=60) for n in (9, 900))
    for found in (few, many):
        assert found.per_hour_low < found.per_hour < found.per_hour_high
        assert found.sold_out_soonest_s is not None
        assert found.sold_out_latest_s is not None
        assert found.sold_out_soonest_s < (found.sold_out_in_s or 0) < found.sold_out_latest_s
    assert few.per_hour_high - few.per_hour_low > 5 * (many.per_hour_high - many.per_hour_low)


def test_slow_seller_is_ordered_later() -> None:
    found = forecast(sold=3, window_s=300, stock=1_000, lead_time_s=3_600)
    assert (found.sold_out_in_s, found.order_in_s, found.restock) == (100_000, 96_400, 0)


def test_what_does_not_sell_never_ends() -> None:
    found = forecast(sold=0, window_s=300, stock=5, lead_time_s=60)
    assert (found.per_hour, found.sold_out_in_s, found.restock, found.order_in_s) == (0.0, None, 0, None)
    assert found.per_hour_high > 0
    assert forecast(sold=-3, window_s=300, stock=5, lead_time_s=60) == found, "refunds are no sales"


def test_what_is_gone_is_gone_now_and_unknown_stock_tells_the_pace_alone() -> None:
    assert forecast(sold=9, window_s=300, stock=0, lead_time_s=60).sold_out_in_s == 0
    unknown = forecast(sold=9, window_s=300, stock=None, lead_time_s=60)
    assert (unknown.per_hour, unknown.sold_out_in_s, unknown.restock) == (108.0, None, None)
