"""Orders of the desk as documents: what is refused, and when one holds."""

from __future__ import annotations

from typing import Any

import pytest

from racing.errors import OrderError
from racing.orders import Pin, parse_order
from racing.rule import DEFAULT_RULE

RULE = DEFAULT_RULE.model_dump(mode="json", exclude_none=True)
PIN = {"kind": "pin", "id": "a", "product": "p1", "slot": 3}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({**PIN, "slot": 0}, "slot: must be at least 1, not 0"),
        ({**PIN, "slots": 2}, "slots: no such field"),
        ({**PIN, "start_ms": 10, "end_ms": 10}, "end_ms: must be after start_ms"),
        ({**PIN, "kind": "nail"}, "'pin'"),
        ({"kind": "boost", "id": "a", "factor": 2}, "exactly one of product, merchant, category and tag"),
        ({"kind": "boost", "id": "a", "factor": 0, "product": "p1"}, "factor: must be more than 0, not 0"),
        ({"kind": "exclude", "id": "a", "product": "p1", "merchant": "m1", "reason": "x"}, "exactly one of product"),
        ({"kind": "exclude", "id": "a", "product": "p1"}, "reason: is required"),
        ({"kind": "emergency", "id": "a", "products": ["p1", "p1"]}, "products[1]: each product once"),
        ({"kind": "phase", "id": "a", "title": "t", "rule": RULE, "version": 2}, "start_ms: is required"),
        ({"kind": "phase", "id": "a", "title": "t", "rule": {}, "version": 2, "start_ms": 1}, "rule: is no rule"),
    ],
)
def test_wrong_order_is_refused_with_field_and_reason(document: dict[str, Any], told: str) -> None:
    with pytest.raises(OrderError) as refused:
        parse_order(document)
    assert told in str(refused.value)


def test_order_holds_from_its_start_until_just_before_its_end() -> None:
    order = parse_order({**PIN, "start_ms": 10, "end_ms": 20})
    assert [order.holds(ms) for ms in (9, 10, 19, 20)] == [False, True, True, False]


def test_inactive_order_never_holds() -> None:
    assert not Pin(kind="pin", id="a", product="p1", slot=1, active=False).holds(5)
