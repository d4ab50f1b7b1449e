"""Connections that lose a command or its reply: a proxy before a real server, and the same for the fake one."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fakeredis
import redis
from fakeredis.aioredis import FakeAsyncRedisConnection


@dataclass
class Fault:
    """The next command of this name is lost: its reply only, or all of it before it reached the server."""

    command: str = ""
    executed: bool = True
    silent: bool = False
    left: int = 0
    lost: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lose(self, command: str, *, executed: bool, silent: bool = False) -> None:
        """Lose the next command of a name; executed: the server still carries it out.

        silent: the connection stays open, so that the client waits in vain until its timeout.
        """
        self.command, self.executed, self.silent, self.left = command, executed, silent, 1

    def meets(self, command: str) -> bool:
        """Whether this command is lost; counts it."""
        with self._lock:
            if not self.left or command != self.command:
                return False
            self.left -= 1
            self.lost += 1
            return True


# -- before a real server ------------------------------------------------------------------------------------


class Requests:
    """What a client sends, cut into commands (RESP arrays of bulk strings)."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, data: bytes) -> list[tuple[str, bytes]]:
        """(upper-case name, raw bytes) of every command that is complete now."""
        self._bytes += data
        commands = []
        while (end := _end_of_command(self._bytes)) is not None:
            raw, self._bytes = self._bytes[:end], self._bytes[end:]
            commands.append((raw.split(b"\r\n", 3)[2].decode().upper(), raw))
        return commands


def _end_of_command(data: bytes) -> int | None:
    at = data.find(b"\r\n")
    if at < 0:
        return None
    count, at = int(data[1:at]), at + 2
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        at = end + 2 + int(data[at + 1 : end]) + 2
    return at if at <= len(data) else None


class LossyProxy:
    """A unix socket before a server, which loses what its fault says. One thread per connection."""

    def __init__(self, folder: Path, family: int, address: Any) -> None:
        self.fault = Fault()
        self._upstream = (family, address)
        self._path = folder / "lossy.sock"
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self.away = False
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{self._path}"

    def close(self) -> None:
        """Cut every connection and stop listening."""
        self.go_away()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def go_away(self) -> None:
        """Cut every connection, and each new one at once: the server is away."""
        self.away = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Serve new connections again."""
        self.away = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.away:
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        family, address = self._upstream
        with client, socket.socket(family) as server, contextlib.suppress(OSError):
            server.connect(address)
            self._open |= {client, server}
            try:
                self._pass_on(client, server)
            finally:
                self._open -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        requests = Requests()
        while True:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(1 << 18)
                if not data:
                    return
                if ready is server:
                    client.sendall(data)
                    continue
                for name, raw in requests.add(data):
                    if not self.fault.meets(name):
                        server.sendall(raw)
                        continue
                    if self.fault.executed:
                        server.sendall(raw)
                        server.shutdown(socket.SHUT_WR)
                        while server.recv(1 << 18):  # the server ends the connection when it has done all
                            pass
                    if self.fault.silent:
                        client.recv(1)  # ends when the client gives up
                    return


# -- of the fake one -----------------------------------------------------------------------------------------


@dataclass
class FakeFault(Fault):
    """The fault of a fake server's connections, and whether that server is away."""

    away: bool = False

    def sync_connection(self) -> type[fakeredis.FakeRedisConnection]:
        """A class of connections that have this fault."""
        fault = self

        class Lossy(fakeredis.FakeRedisConnection):
            def send_packed_command(self, command: Any, check_health: bool = True) -> None:
                untyped: Any = super()
                if fault.away:
                    untyped.disconnect()
                    raise redis.exceptions.ConnectionError("away")
                sent, lost = _cut(fault, command)
                untyped.send_packed_command([sent], check_health)
                if lost:
                    untyped.disconnect()
                    raise (redis.exceptions.TimeoutError if fault.silent else redis.exceptions.ConnectionError)("lost")

        return Lossy

    def async_connection(self) -> type[FakeAsyncRedisConnection]:
        """The same for asynchronous clients."""
        fault = self

        class Lossy(FakeAsyncRedisConnection):
            async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
                sent, lost = _cut(fault, command)
                await super().send_packed_command([sent], check_health)
                if lost:
                    await self.disconnect()
                    raise redis.exceptions.ConnectionError("lost")

        return Lossy


def _cut(fault: Fault, command: Any) -> tuple[bytes, bool]:
    """(what reaches the server of commands sent together, whether the connection is lost on the way)."""
    data = b"".join(command) if isinstance(command, list) else bytes(command)
    sent = b""
    for name, raw in Requests().add(data):
        if fault.meets(name):
            return (sent + raw if fault.executed else sent), True
        sent += raw
    return sent, False
