"""The servers that the contract is held against: a fake one, embedded Valkey, Redis, and a cluster of one node."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any, cast

import fakeredis
import fakeredis.aioredis
import pytest
import redis

from racing.store.client import connect, connect_async
from racing.store.embedded import EmbeddedServer, server_binary
from racing.store.protocol import AsyncClient, SyncClient
from racing.store.scripts import Script, source
from tests.contract.lossy import FakeFault, Fault, LossyProxy
from tests.waiting import free_port, until

START_S = 20.0


class RealStore:
    """A running server. Each test finds it empty."""

    fake = False

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.raw: Any = connect(url)
        self._proxy: LossyProxy | None = None

    def empty(self) -> None:
        """Forget all data, and the scripts too: each must be sent again."""
        self.raw.flushall()
        self.raw.script_flush()

    def client(self) -> SyncClient:
        """A client of its own."""
        return connect(self.url)

    def async_client(self) -> AsyncClient:
        """An asynchronous client of its own."""
        return connect_async(self.url)

    def script(self, name: Script) -> str:
        """The text of a script as it is sent."""
        return source(name)

    @contextlib.contextmanager
    def lossy(self) -> Iterator[LossyStore]:
        """The same server behind connections that lose what they are told to."""
        parse: Any = redis.connection.parse_url
        parts = parse(self.url)
        with tempfile.TemporaryDirectory(prefix="saima-") as folder:
            if "path" in parts:
                proxy = LossyProxy(Path(folder), socket.AF_UNIX, parts["path"])
            else:
                proxy = LossyProxy(Path(folder), socket.AF_INET, (parts["host"], parts["port"]))
            try:
                yield LossyStore(
                    proxy.fault,
                    lambda: connect(proxy.url),
                    lambda: connect_async(proxy.url),
                    proxy.go_away,
                    proxy.come_back,
                )
            finally:
                proxy.close()


def _sha1hex(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).hexdigest().encode()


class FakeStore:
    """fakeredis: a new one for each test."""

    fake = True
    name = "fakeredis"

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer(server_type="valkey")
        self.raw: Any = self.client()
        self.raw.eval("return 1", 0)  # makes its Lua, which has no sha1hex
        cast("Any", self._server)._lua_runtime.globals()[b"redis"][b"sha1hex"] = _sha1hex  # as above

    def client(self, **options: Any) -> SyncClient:
        """A client of its own."""
        return cast("SyncClient", fakeredis.FakeRedis(server=self._server, protocol=2, **options))

    def async_client(self, **options: Any) -> AsyncClient:
        """An asynchronous client of its own."""
        return cast("AsyncClient", fakeredis.aioredis.FakeRedis(server=self._server, protocol=2, **options))

    def script(self, name: Script) -> str:
        """The text of a script as it is sent: fakeredis knows no shebang."""
        return source(name).partition("\n")[2]

    @contextlib.contextmanager
    def lossy(self) -> Iterator[LossyStore]:
        """The same server behind connections that lose what they are told to."""
        fault = FakeFault()
        yield LossyStore(
            fault,
            lambda: self.client(connection_class=fault.sync_connection()),
            lambda: self.async_client(connection_class=fault.async_connection()),
            lambda: setattr(fault, "away", True),
            lambda: setattr(fault, "away", False),
        )


class LossyStore:
    """Clients whose connections lose what the fault says."""

    def __init__(
        self,
        fault: Fault,
        client: Callable[[], SyncClient],
        async_client: Callable[[], AsyncClient],
        go_away: Callable[[], None],
        come_back: Callable[[], None],
    ) -> None:
        self.fault = fault
        self.client = client
        self.async_client = async_client
        self.go_away = go_away
        self.come_back = come_back


Store = RealStore | FakeStore


class Servers:
    """Starts each server when it is first asked for, and ends them all."""

    def __init__(self) -> None:
        self._ends = contextlib.ExitStack()
        self._running: dict[str, RealStore] = {}

    def store(self, name: str) -> Store:
        """The store of a name, empty."""
        if name == "fakeredis":
            return FakeStore()
        if name not in self._running:
            self._running[name] = getattr(self, f"_{name}")()
        store = self._running[name]
        store.empty()
        return store

    def close(self) -> None:
        """End every server."""
        for store in self._running.values():
            store.raw.close()
        self._ends.close()

    def _folder(self) -> Path:
        return Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="saima-")))

    def _embedded(self) -> RealStore:
        server = EmbeddedServer(self._folder())
        server.start()
        self._ends.callback(server.stop)
        return RealStore("embedded", server.url)

    def _redis(self) -> RealStore:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("needs redis-server on the PATH")
        return self._started("redis", [binary])

    def _cluster(self) -> RealStore:
        bus = free_port()
        store = self._started("cluster", [server_binary(), "--cluster-enabled", "yes", "--cluster-port", str(bus)])
        store.raw.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        until(lambda: _state(store) == "ok", within_s=START_S, what="the cluster covers its slots")
        return store

    def _started(self, name: str, command: list[str]) -> RealStore:
        folder, port = self._folder(), free_port()
        options = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "no"}
        arguments = [part for option, value in options.items() for part in (f"--{option}", value)]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        self._ends.callback(_end, process)
        store = RealStore(name, f"redis://127.0.0.1:{port}")
        until(lambda: _answers(store), within_s=START_S, what=f"{name} answers")
        return store


def _state(store: RealStore) -> str:
    info: dict[str, str] = store.raw.execute_command("CLUSTER INFO")
    return info["cluster_state"]


def _answers(store: RealStore) -> bool:
    try:
        return bool(store.raw.ping())
    except redis.exceptions.ConnectionError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=START_S)
