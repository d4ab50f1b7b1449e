"""One suite, held against every kind of server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from racing.store.desk import Desk
from racing.store.protocol import SyncClient
from tests.contract.servers import FakeStore, LossyStore, Servers, Store

NAMES = ("fakeredis", "embedded", "redis", "cluster")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this test run, each started when it is first wanted."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture(params=NAMES)
def store(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind in turn."""
    found = servers.store(request.param)
    if isinstance(found, FakeStore):
        monkeypatch.setattr("racing.store.commands.source", found.script)
        monkeypatch.setattr("racing.store.desk.source", found.script)
        monkeypatch.setattr("racing.owner.source", found.script)
        monkeypatch.setattr("racing.store.mend.source", found.script)
        monkeypatch.setattr("racing.store.hashes.source", found.script)
        monkeypatch.setattr("racing.store.standings.source", found.script)
    return found


@pytest.fixture(params=[name for name in NAMES if name != "fakeredis"])
def real_store(request: pytest.FixtureRequest, servers: Servers) -> Store:
    """An empty store of each real kind in turn."""
    return servers.store(request.param)


@pytest.fixture
def client(store: Store) -> Iterator[SyncClient]:
    """A synchronous client, as the scorer has it."""
    made = store.client()
    yield made
    made.close()


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    """The asynchronous side, as the API has it."""
    made = store.async_client()
    yield Desk(made)
    await made.aclose()


@pytest.fixture
async def real_desk(real_store: Store) -> AsyncIterator[Desk]:
    """The asynchronous side, on a real server."""
    made = real_store.async_client()
    yield Desk(made)
    await made.aclose()


@pytest.fixture
def lossy(store: Store) -> Iterator[LossyStore]:
    """The same store behind connections that lose what they are told to."""
    with store.lossy() as made:
        yield made


@pytest.fixture
async def lossy_desk(lossy: LossyStore) -> AsyncIterator[Desk]:
    """The API's side behind connections that lose what they are told to."""
    made = lossy.async_client()
    yield Desk(made)
    await made.aclose()
