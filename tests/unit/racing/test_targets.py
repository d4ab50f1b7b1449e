"""Targets: what is refused, what was reached of them, and how slots and merchants share in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from racing.entries import Entry
from racing.errors import DocumentError
from racing.events import EventBatch, hash_user
from racing.model import Position
from racing.race import Race
from racing.targets import Targets, parse_targets, report
from tests.laws.logs import START_MS
from tests.unit.racing.venues import BoardVenue

KINDS = ("impression", "click", "pay")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"venues": {}}, "venues: no such field"),
        ({"whole": {"sales": -1}}, "whole.sales: must be at least 0, not -1"),
        ({"whole": {"conversion": 2.5}}, "whole.conversion: must be at most 1, not 2.5"),
        ({"phases": {"burst": {"gmv": 1}}}, "gmv: no such field"),
    ],
)
def test_wrong_targets_are_refused_with_field_and_reason(document: dict[str, Any], told: str) -> None:
    with pytest.raises(DocumentError) as refused:
        parse_targets(document)
    assert told in str(refused.value)


def raced(*events: tuple[str, int, int, str, int]) -> Race:
    """A race of products of three merchants. Events: (kind, product, amount, user, slot), all by the search."""
    venue = BoardVenue(size=6)
    batch = EventBatch(
        kinds=KINDS,
        kind=np.array([KINDS.index(kind) for kind, *_ in events]),
        runner=np.array([product for _, product, *_ in events]),
        amount=np.array([amount for _, _, amount, *_ in events]),
        user_hash=np.array([hash_user(b"k", user) for *_, user, _ in events], np.uint64),
        slot=np.array([slot for *_, slot in events]),
        source=np.ones(len(events), np.int64),
        sources=("search",),
    )
    venue.race.apply([Entry(Position(START_MS + 10, 1), batch)])
    return venue.race


def test_a_race_without_events_has_reached_nothing_and_is_short_of_nothing() -> None:
    found = report(Race(), Targets())
    assert (found.whole.sales.actual, found.whole.sales.delta, found.whole.short) == (0, None, None)
    assert (found.sharing.merchants, found.sharing.paid_gini, found.slots) == (0, None, [])


def test_the_factor_that_is_furthest_below_its_target_is_told() -> None:
    """Four users as wanted, one payer instead of two, who paid a little less than wanted."""
    race = raced(
        ("click", 0, 0, "u1", 0),
        ("click", 0, 0, "u2", 0),
        ("click", 0, 0, "u3", 0),
        ("pay", 1, 90, "u4", 2),
        ("impression", 1, 0, "u4", 2),
    )
    wanted = {"sales": 200, "traffic": 4, "conversion": 0.5, "basket": 100}
    found = report(race, parse_targets({"whole": wanted, "sources": {"search": {"sales": 90}, "live": {"sales": 5}}}))
    assert found.whole.sales.delta == pytest.approx(-0.55)
    assert found.whole.traffic.actual == pytest.approx(4, rel=0.01)
    assert found.whole.conversion.delta == pytest.approx(-0.5, rel=0.01)
    assert found.whole.basket.delta == pytest.approx(-0.1, rel=0.02)
    assert found.whole.short == "conversion"
    assert found.sources["search"].sales.delta == 0.0
    assert found.sources["live"].sales.delta == -1.0
    assert [(each.slot, each.impressions, each.paid) for each in found.slots] == [(2, 1, 90)]
    assert found.slots[0].paid_per_1000_impressions == 90_000


def test_shares_of_merchants_are_told_with_the_largest_first() -> None:
    """Products 0 and 3 are of merchant m0, 1 and 4 of m1, 2 and 5 of m2."""
    race = raced(("pay", 0, 10, "u", 0), ("pay", 3, 20, "u", 0), ("pay", 1, 60, "u", 0), ("impression", 2, 0, "u", 0))
    sharing = report(race, Targets()).sharing
    assert [(each.merchant, each.paid, each.paid_share) for each in sharing.largest] == [
        ("m1", 60, pytest.approx(2 / 3)),
        ("m0", 30, pytest.approx(1 / 3)),
        ("m2", 0, 0.0),
    ]
    assert sharing.largest[2].impressions_share == 1.0
    assert sharing.merchants == 3
    assert sharing.paid_gini == pytest.approx(4 / 9)
