"""Runners that were asked for by product are read once while nothing is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from api.owned import Owned
from racing.entries import Runner
from racing.store.desk import Desk


class Runners:
    """A table of runners that counts what is read of it; p-9 has a number, and damaged data."""

    def __init__(self) -> None:
        self.decided = 1
        self.table = {f"p-{number}": number for number in range(10)}
        self.read: list[str] = []

    async def decisions(self, _venue: str) -> int:
        return self.decided

    async def numbers(self, _venue: str, products: Sequence[str]) -> dict[str, int]:
        self.read += products
        return {product: self.table[product] for product in products if product in self.table}

    async def by_number(self, _venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        return {number: Runner(f"p-{number}", "m-1", "title") for number in numbers if number != 9}


class FakeDesk:
    """A desk that has runners alone."""

    def __init__(self) -> None:
        self.runners: Any = Runners()


async def asked(owned: Owned, desk: FakeDesk, *products: str, epoch: int = 7) -> list[int | None]:
    kept = await owned.named(cast("Desk", desk), "hall-1", products, epoch)
    assert {kept.runners[number].product for number in kept.numbers.values()} == set(kept.numbers)
    return [kept.numbers.get(product) for product in products]


async def test_only_what_is_not_known_is_read_until_something_is_decided() -> None:
    """What is not enrolled, and what is damaged, may be there next time."""
    owned, desk = Owned(), FakeDesk()
    assert await asked(owned, desk, "p-1", "p-9", "nothing") == [1, None, None]
    assert await asked(owned, desk, "p-1", "p-2") == [1, 2]
    assert desk.runners.read == ["p-1", "p-9", "nothing", "p-2"]
    assert await asked(owned, desk, "p-2", "p-9") == [2, None]
    assert desk.runners.read[4:] == ["p-9"]
    del desk.runners.table["p-1"]
    desk.runners.decided += 1
    assert await asked(owned, desk, "p-1", "p-2") == [None, 2]
    assert await asked(owned, desk, "p-2", epoch=8) == [2]
    assert desk.runners.read[5:] == ["p-1", "p-2", "p-2"]


async def test_what_is_kept_begins_anew_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.owned._RUNNERS_MAX", 4)
    owned, desk = Owned(), FakeDesk()
    for products in (("p-0", "p-1", "p-2"), ("p-3", "p-4"), ("p-0", "p-3")):
        assert await asked(owned, desk, *products) == [int(product[2:]) for product in products]
    assert desk.runners.read == ["p-0", "p-1", "p-2", "p-3", "p-4", "p-0"]
