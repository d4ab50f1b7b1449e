"""Fixtures of tests that follow frames of a store without Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.frames import Frames
from tests.unit.api.fake_store import FakeStore


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def frames(store: FakeStore) -> AsyncIterator[Frames]:
    fake: Any = store
    made = Frames(fake, fake, fake)
    yield made
    await made.stop()
