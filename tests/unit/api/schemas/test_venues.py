"""A venue to create is checked field by field, its rule as a rule."""

from __future__ import annotations

import pytest

from api.schemas.venues import VenueIn
from tests.unit.api.schemas.wrong import fault


@pytest.mark.parametrize("name", ["a", "...", ".a", "-", "_", "A-1_b.C", "x" * 64])
def test_other_names_are_taken(name: str) -> None:
    assert VenueIn.model_validate({"venue": name}).venue == name


def test_an_unknown_field_is_told_those_that_there_are() -> None:
    told = "slots: no such field; there are venue, title, rule, access, state, parent"
    assert fault(VenueIn, {"venue": "h", "slots": 3}) == told


def test_a_rule_within_a_venue_is_checked_as_a_rule() -> None:
    assert fault(VenueIn, {"venue": "h", "rule": {"metrics": {}}}) == (
        "rule.metrics: must have 1 or more entries, not an object; rule.terms: is required"
    )
