"""Processes that die at a chosen point of their talk with the server: before a command is sent, or after its reply.

Every write to the server passes a Fate. What a write carries is counted command by command, so the points of a run
can be told off one by one; at the chosen one the server gets the commands before it, answers them to nobody, and
Died goes up through the code as a kill would end it: nothing catches it, and nothing more is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from racing.store.client import connect, connect_async
from racing.store.embedded import server_binary
from racing.store.line import Asking, Command, Line
from racing.store.protocol import AsyncClient, SyncClient
from tests.contract.lossy import Requests
from tests.waiting import until

_IDLE_TALK = {"CLIENT", "HELLO", "SELECT", "UNWATCH"}
"""What connections say at their beginning, and when they are given back: nothing is at stake."""
_DEAD = "a dead process sends nothing"


class Died(BaseException):
    """The process ended here; no code of its own may catch this."""


@dataclass
class Fate:
    """At which point a process dies; None: at none. Points are counted from 0, over all processes of a run."""

    at: int | None = None
    passed: int = 0
    names: list[str] = field(default_factory=list)
    armed: bool = False

    def delivered(self, commands: Sequence[str]) -> int | None:
        """How many of the commands of one write reach the server before the process dies; None: it lives."""
        if not self.armed or not commands:
            return None
        first = self.passed
        self.passed += len(commands) + 1
        self.names += [f"before {commands[0]}", *(f"before {name} of {commands[0]}" for name in commands[1:])]
        self.names.append(f"after {commands[-1]}")
        if self.at is None or not first <= self.at < self.passed:
            return None
        return self.at - first


def _cut(data: Any) -> list[tuple[str, bytes]]:
    """The commands of one write, idle talk left out."""
    raw = b"".join(data) if isinstance(data, list) else bytes(data)
    return [(name, each) for name, each in Requests().add(raw) if name not in _IDLE_TALK]


def mortal_client(url: str, fate: Fate) -> SyncClient:
    """A client as the scorer has it, on connections that die."""

    class Mortal(redis.UnixDomainSocketConnection):
        dead = False  # of all connections of this process

        def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            untyped: Any = super()
            if Mortal.dead:
                raise redis.exceptions.ConnectionError(_DEAD)
            commands = _cut(command)
            delivered = fate.delivered([name for name, _ in commands])
            if delivered is None:
                untyped.send_packed_command(command, check_health)
                return
            if delivered:
                untyped.send_packed_command([raw for _, raw in commands[:delivered]], check_health)
            for _ in range(delivered):
                with contextlib.suppress(redis.exceptions.RedisError):
                    untyped.read_response()
            Mortal.dead = True
            untyped.disconnect()
            raise Died

    client: Any = connect(url)
    client.connection_pool.connection_class = Mortal
    return client  # type: ignore[no-any-return]  # connect() gave it


def mortal_async_client(url: str, fate: Fate) -> AsyncClient:
    """A client as the API has it, on connections that die."""

    class Mortal(redis.asyncio.UnixDomainSocketConnection):
        dead = False  # of all connections of this process

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            if Mortal.dead:
                raise redis.exceptions.ConnectionError(_DEAD)
            commands = _cut(command)
            delivered = fate.delivered([name for name, _ in commands])
            if delivered is None:
                await super().send_packed_command(command, check_health)
                return
            if delivered:
                await super().send_packed_command([raw for _, raw in commands[:delivered]], check_health)
            for _ in range(delivered):
                with contextlib.suppress(redis.exceptions.RedisError):
                    await super().read_response()
            Mortal.dead = True
            await self.disconnect()
            raise Died

    client: Any = connect_async(url)
    client.connection_pool.connection_class = Mortal
    return client  # type: ignore[no-any-return]  # connect_async() gave it


class MortalLine(Asking):
    """The API's own connection for appends, which dies; its wire is written without redis-py."""

    def __init__(self, client: AsyncClient, fate: Fate) -> None:
        self._line = Line(client)
        self._fate = fate
        self.dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As the line has it, or Died."""
        delivered = self._fate.delivered([str(command[0]) for command in commands])
        if delivered is None:
            return await self._line.ask(commands)
        if delivered:
            await self._line.ask(commands[:delivered])
        self.dead.set_result(None)
        raise Died

    def close(self) -> None:
        """Hang up."""
        self._line.close()


@contextlib.contextmanager
def memory_server() -> Iterator[str]:
    """The URL of a real server that keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        folder = Path(name)
        options = {"port": "0", "unixsocket": str(folder / "s.sock"), "dir": name, "save": "", "appendonly": "no"}
        arguments = [part for option, value in options.items() for part in (f"--{option}", value)]
        process = subprocess.Popen([server_binary(), *arguments], stdout=subprocess.DEVNULL)
        url = f"unix://{options['unixsocket']}"
        client = connect(url)
        try:
            until(lambda: _answers(client), within_s=20, what="the server answers")
            yield url
        finally:
            client.close()
            process.terminate()
            process.wait(timeout=20)


def _answers(client: SyncClient) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
