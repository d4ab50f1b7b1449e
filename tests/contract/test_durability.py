"""Safe mode: nothing is acknowledged that the server has not proved to keep, and a repeat is answered right."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from racing.errors import NotDurableError, RacingError
from racing.model import START
from racing.settings import Settings, load_settings
from racing.store.client import connect, connect_async
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.durability import SafeLine, detect
from racing.store.embedded import EmbeddedServer, server_binary
from racing.store.keys import VenueKeys
from racing.store.line import Line
from racing.store.log import read_after
from tests.contract.track import clicks, packed
from tests.waiting import free_port, until

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
SAFE = load_settings(durability="safe")
ON_A_REPLICA = load_settings(durability="safe", safe_replicas=1)


def batch(key: str) -> KeyedBatch:
    return KeyedBatch(packed(clicks([0])), key, "d", b'{"accepted":1}')


async def append(desk: Desk, key: str = "k") -> Appended:
    (found,) = await desk.append_all(VENUE, [batch(key)])
    assert not isinstance(found, RacingError), found
    return found


async def acknowledged(desk: Desk, key: str = "k") -> Appended:
    """As a sender does: again, under the same key, until it is acknowledged; each try waits by itself."""
    for _ in range(20):
        with suppress(NotDurableError):
            return await append(desk, key)
    raise AssertionError(f"{key} was never acknowledged")


class SafeDesks:
    """Desks in safe mode, each over a connection of its own."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Line]] = []

    def __call__(self, url: str, *, replicas: int = 0) -> Desk:
        client = connect_async(url)
        line = Line(client)
        self._made.append((client, line))
        return Desk(client, SafeLine(line, replicas=replicas), safe=True)

    async def close(self) -> None:
        for client, line in self._made:
            line.close()
            await client.aclose()


@pytest.fixture
async def safe_desk() -> AsyncIterator[SafeDesks]:
    made = SafeDesks()
    yield made
    await made.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        yield Path(name)


@pytest.fixture
def synced(folder: Path) -> Iterator[str]:
    """Address of a server that syncs before each answer."""
    server = EmbeddedServer(folder, appendfsync=SAFE.embedded_appendfsync)
    server.start()
    yield server.url
    server.stop()


class Pair:
    """A primary and its replica, which can be kept from following."""

    def __init__(self, folder: Path) -> None:
        ports = free_port(), free_port()
        self.url, replica_url = (f"redis://127.0.0.1:{port}" for port in ports)
        self.primary: Any = connect(self.url)
        self.replica: Any = connect(replica_url)
        self._processes = [
            _server(folder / "primary", ports[0]),
            _server(folder / "replica", ports[1], "--replicaof", "127.0.0.1", str(ports[0])),
        ]

    def wait(self) -> None:
        """Return when the replica follows."""
        until(self._reaches, within_s=20, what="the replica follows")

    def _reaches(self) -> bool:
        with suppress(redis.exceptions.RedisError):
            self.primary.set("written", "1")
            return bool(self.primary.wait(1, 100) == 1)
        return False

    def attached(self) -> bool:
        return detect(self.primary, ON_A_REPLICA).in_force == "safe"

    def stall(self) -> None:
        os.kill(self._processes[1].pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._processes[1].pid, signal.SIGCONT)

    def close(self) -> None:
        self.go_on()
        for client in (self.primary, self.replica):
            client.close()
        for process in self._processes:
            process.terminate()
            process.wait(timeout=10)


def _server(folder: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    command = [server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    return subprocess.Popen(
        [*command, "--repl-diskless-sync-delay", "0", *options], stdout=subprocess.DEVNULL
    )  # our own binary


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    made = Pair(folder)
    try:
        made.wait()
        yield made
    finally:
        made.close()


# -- synced on disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("appendfsync", "everysec"), ("appendonly", "no"), ("no-appendfsync-on-rewrite", "yes")]
)
async def test_server_that_does_not_sync_is_sent_nothing(
    synced: str, safe_desk: SafeDesks, name: str, value: str
) -> None:
    """Told with what is wrong; a sender without a key, who repeats, is not counted twice."""
    client: Any = connect(synced)
    client.config_set(name, value)
    with pytest.raises(NotDurableError, match=f"{name} is {value}"):
        await append(safe_desk(synced))
    assert read_after(client, KEYS, START) == []
    assert detect(client, SAFE).in_force == "not reached"
    client.close()


async def test_server_that_syncs_no_more_is_noticed_at_the_next_append(synced: str, safe_desk: SafeDesks) -> None:
    """Without a reconnect. What was appended then is not acknowledged, and its repeat is answered as the first."""
    client: Any = connect(synced)
    desk = safe_desk(synced)
    await append(desk, "one")
    client.config_set("appendfsync", "everysec")
    with pytest.raises(NotDurableError):
        await append(desk, "two")
    with pytest.raises(NotDurableError):
        await append(desk, "three")
    assert len(read_after(client, KEYS, START)) == 2, "three was not sent at all"
    client.config_set("appendfsync", "always")
    assert (await append(desk, "two")).repeated
    assert not (await append(desk, "three")).repeated
    assert len(read_after(client, KEYS, START)) == 3
    client.close()


async def test_answer_of_before_is_not_given_while_the_server_does_not_sync(synced: str, safe_desk: SafeDesks) -> None:
    desk = safe_desk(synced)
    first = await append(desk)
    client: Any = connect(synced)
    client.config_set("appendfsync", "everysec")
    with pytest.raises(NotDurableError):
        await desk.answered(VENUE, key="k", digest="d")
    client.config_set("appendfsync", "always")
    again = await desk.answered(VENUE, key="k", digest="d")
    assert again is not None
    assert (again.entry, again.answer) == (first.entry, first.answer)
    client.close()


def test_adopted_server_syncs_as_it_is_asked_to_now(folder: Path) -> None:
    """One that an earlier start in fast mode left behind."""
    first = EmbeddedServer(folder)
    first.start()
    client = connect(first.url)
    try:
        assert detect(client, SAFE).in_force == "not reached"
        EmbeddedServer(folder, appendfsync=SAFE.embedded_appendfsync).start()
        assert detect(client, SAFE).in_force == "safe"
    finally:
        client.close()
        first.stop()


def test_user_who_may_not_read_the_configuration_is_told_so(synced: str) -> None:
    client: Any = connect(synced)
    client.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">word", "+@all", "-@admin", "-@dangerous", "~*")
    client.execute_command("AUTH", "plain", "word")
    found = detect(client, SAFE)
    assert (found.in_force, found.found.split(";")[0]) == (
        "not reached",
        "appendfsync cannot be read: allow CONFIG GET",
    )
    client.close()


@pytest.mark.parametrize(("settings", "in_force"), [(load_settings(), "fast"), (SAFE, "safe")])
def test_what_is_in_force_is_what_was_asked_for_and_proved(synced: str, settings: Settings, in_force: str) -> None:
    client = connect(synced)
    assert detect(client, settings).in_force == in_force
    client.close()


# -- held by replicas ------------------------------------------------------------------------------------------


async def test_append_that_no_replica_has_is_not_acknowledged_whatever_is_asked_again(
    pair: Pair, safe_desk: SafeDesks
) -> None:
    """Nor on a new connection, whose own WAIT would be answered at once: it has written nothing."""
    desk = safe_desk(pair.url, replicas=1)
    await acknowledged(desk, "before")
    pair.stall()
    with pytest.raises(NotDurableError, match="0 of 1 replicas"):
        await append(desk)
    with pytest.raises(NotDurableError, match="0 of 1 replicas"):
        await append(safe_desk(pair.url, replicas=1))
    with pytest.raises(NotDurableError, match="0 of 1 replicas"):
        await safe_desk(pair.url, replicas=1).answered(VENUE, key="k", digest="d")
    pair.go_on()
    assert (await acknowledged(desk)).repeated
    assert len(read_after(pair.primary, KEYS, START)) == len(read_after(pair.replica, KEYS, START)) == 2


async def test_server_without_its_replica_is_sent_nothing_more(pair: Pair, safe_desk: SafeDesks) -> None:
    desk = safe_desk(pair.url, replicas=1)
    await acknowledged(desk)
    pair.replica.replicaof("NO", "ONE")
    until(lambda: not pair.attached(), within_s=5, what="the replica has left")
    for key in ("one", "two", "three"):
        with pytest.raises(NotDurableError):
            await append(desk, key)
    assert len(read_after(pair.primary, KEYS, START)) <= 2, "only the first of them may have been sent"
    assert detect(pair.primary, ON_A_REPLICA).in_force == "not reached"
