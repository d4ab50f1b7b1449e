"""When a stock is told of, and when it is gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.stock import Outlook, outlook


@pytest.mark.parametrize(
    ("stock", "velocity", "safety", "lead_s", "found"),
    [
        (100, 0.5, 20, 60, Outlook(alert=False, threshold=50.0, sells_out_in_s=200.0)),
        (50, 0.5, 20, 60, Outlook(alert=True, threshold=50.0, sells_out_in_s=100.0)),
        (51, 0.5, 20, 60, Outlook(alert=False, threshold=50.0, sells_out_in_s=102.0)),
        (20, 0.0, 20, 60, Outlook(alert=True, threshold=20.0, sells_out_in_s=None)),
        (21, 0.0, 20, 60, Outlook(alert=False, threshold=20.0, sells_out_in_s=None)),
        (0, 0.0, 0, 0, Outlook(alert=True, threshold=0.0, sells_out_in_s=0.0)),
        (0, 2.0, 0, 0, Outlook(alert=True, threshold=0.0, sells_out_in_s=0.0)),
    ],
)
def test_numbers_worked_by_hand(stock: int, velocity: float, safety: int, lead_s: float, found: Outlook) -> None:
    assert outlook(stock, velocity, safety_stock=safety, lead_time_s=lead_s) == found


@given(st.integers(0, 10**6), st.floats(0, 1e3), st.integers(0, 10**5), st.floats(0, 1e5))
def test_faster_sales_never_take_an_alert_back(stock: int, velocity: float, safety: int, lead_s: float) -> None:
    slow = outlook(stock, velocity, safety_stock=safety, lead_time_s=lead_s)
    fast = outlook(stock, velocity * 2 + 1, safety_stock=safety, lead_time_s=lead_s)
    assert fast.alert >= slow.alert
    assert fast.sells_out_in_s is not None
    assert slow.sells_out_in_s is None or fast.sells_out_in_s <= slow.sells_out_in_s
