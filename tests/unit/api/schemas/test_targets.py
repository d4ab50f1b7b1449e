"""What OpenAPI says of targets is what a follower tells."""

from __future__ import annotations

import msgspec
import pytest
from pydantic import BaseModel

from api.schemas import targets as documents
from racing import targets

HEAD = {"venue", "epoch", "frame", "position", "at_ms", "rule_version"}


@pytest.mark.parametrize("name", ["Figure", "Reached", "SlotOutput", "MerchantShare", "Sharing", "Report"])
def test_each_part_has_the_fields_that_are_told(name: str) -> None:
    told: type[msgspec.Struct] = getattr(targets, name)
    shown: type[BaseModel] = getattr(documents, f"{name}Out")
    assert set(shown.model_fields) - HEAD == set(told.__struct_fields__)
