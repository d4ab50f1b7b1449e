"""Ways into the logs are shut while too much waits behind them, and opened again; a request looks at one word."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from api import admission
from api.admission import Admission, too_far, too_full
from api.service import Service
from racing.errors import StoreUnavailableError
from racing.settings import load_settings
from racing.store.load import Load, Memory

ROOM, FULL = Memory(79, 100), Memory(80, 100)


class Way:
    """Stands for an Appender."""

    def __init__(self) -> None:
        self.shut: str | None = None
        self.used = True


class Looked:
    """An admission over ways that are told their load."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *venues: str) -> None:
        self.ways = {venue: Way() for venue in venues}
        commit = SimpleNamespace(position="5-0")
        frames = SimpleNamespace(views={venue: SimpleNamespace(commit=commit) for venue in venues})
        given: Any = SimpleNamespace(
            settings=load_settings(log_ahead_max_ms=2_000), appenders=self.ways, frames=frames, full=None
        )
        self.service = cast("Service", given)
        self.asked: list[list[str]] = []
        self.loads: dict[str | None, Load] | Exception = {}
        monkeypatch.setattr(admission, "read_loads", self._read)
        self._admission = Admission(self.service, cast("Any", None))

    async def _read(self, _client: object, folded: list[tuple[str, object]], _mb: int) -> dict[str | None, Load]:
        self.asked.append([venue for venue, _ in folded])
        if isinstance(self.loads, Exception):
            raise self.loads
        return dict(self.loads)

    async def look(self, loads: dict[str | None, Load] | Exception) -> float:
        self.loads = loads
        return await self._admission.look()

    @property
    def shut(self) -> set[str]:
        return {venue for venue, way in self.ways.items() if way.shut is not None}


async def test_a_venue_far_ahead_is_shut_alone_and_opened_when_it_is_worked_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Looked(monkeypatch, "hall-1", "hall-2")
    await looked.look({None: Load(ROOM), "hall-1": Load(ROOM, 2_001), "hall-2": Load(ROOM, 2_000)})
    assert looked.shut == {"hall-1"}
    await looked.look({None: Load(ROOM), "hall-1": Load(ROOM, 1_999)})
    assert looked.shut == set()


async def test_a_full_server_shuts_every_way_also_those_not_yet_made(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, "hall-1", "hall-2")
    assert await looked.look({None: Load(FULL), "hall-1": Load(FULL), "hall-2": Load(FULL)}) == pytest.approx(0.8)
    assert looked.shut == {"hall-1", "hall-2"}
    assert looked.service.full is not None
    await looked.look({None: Load(ROOM)})
    assert looked.shut == set()
    assert looked.service.full is None


async def test_a_full_node_of_a_cluster_shuts_its_own_venues(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, "hall-1", "hall-2")
    await looked.look({"hall-1": Load(FULL), "hall-2": Load(ROOM)})
    assert looked.shut == {"hall-1"}
    assert looked.service.full is None


async def test_a_server_that_is_away_leaves_the_ways_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, "hall-1", "hall-2")
    await looked.look({None: Load(ROOM), "hall-1": Load(ROOM, 9_000), "hall-2": Load(ROOM)})
    with pytest.raises(StoreUnavailableError):
        await looked.look(StoreUnavailableError("Redis is away"))
    assert looked.shut == {"hall-1"}


async def test_only_venues_that_something_was_sent_to_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """But one that is behind stays in sight until it has caught up."""
    looked = Looked(monkeypatch, "hall-1", "hall-2")
    await looked.look({None: Load(ROOM), "hall-1": Load(ROOM, 10), "hall-2": Load(ROOM)})
    await looked.look({None: Load(ROOM), "hall-1": Load(ROOM)})
    await looked.look({None: Load(ROOM)})
    assert looked.asked == [["hall-1", "hall-2"], ["hall-1"], []]


def test_reasons_say_what_is_and_what_would_be_right() -> None:
    assert too_far(2_000, 2_000) is None
    assert too_far(3_400, 2_000) == (
        "events of 3.4 s ago are not yet counted: more are taken once those are 2 s old at most"
    )
    assert too_full(ROOM) is None
    assert too_full(Memory(800_000_000, 1_000_000_000)) == (
        "Redis holds 800 of 1000 MB (80%): events are taken below 80%"
    )
