"""A proxy before a server that lets commands through and drops replies, of every kind of command that passes.

The first reply of each kind is dropped. Then there are spells of drops, one in so many commands, of the kinds that had
the fewest, so that rare ones get their share; between them lie calms in which the race gets on. A dropped reply ends
its connection, as a fault of the network would.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import get_args

import hiredis

from racing.store.scripts import Script, bare, source
from tests.contract.lossy import Requests

_SCRIPTS = {
    told: name
    for name in get_args(Script)
    for text in (source(name), bare(source(name)))
    for told in (text, sha1(text.encode()).hexdigest())  # noqa: S324  # Redis names scripts so
}
SPELL_S = 0.7
WRITES = frozenset(("EVAL append_events", "EVAL append_batch", "EVALSHA enrol_runners", "EVALSHA put_rule", "EXEC"))
_SHARE_OF_WRITES = 5
"""Kinds that write may have so many times an equal share of the drops; others one, or no take-over would succeed."""
_LIMIT = 1 << 26


@dataclass
class Drops:
    """Which replies are dropped, and how many were. Off until it is told to begin."""

    every: int
    """Commands from one drop to the next, at least."""
    passed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    on: bool = False
    _since: int = 0

    def wanted(self, kind: str) -> bool:
        """Whether the reply to this command is dropped; counts it."""
        self.passed[kind] += 1
        self._since += 1
        if not self.on:
            return False
        if self.dropped[kind]:
            calm = int(time.monotonic() / SPELL_S) % 2 == 0
            share = _SHARE_OF_WRITES if kind in WRITES else 1
            had_its_share = self.dropped[kind] * len(self.dropped) > share * self.dropped.total()
            if calm or self._since < self.every or had_its_share:
                return False
        self.dropped[kind] += 1
        self._since = 0
        return True

    @property
    def spared(self) -> list[str]:
        """Kinds of which no reply was ever dropped."""
        return sorted(self.passed.keys() - +self.dropped)


class DropProxy:
    """A unix socket before the server's, with an event loop in a thread of its own."""

    def __init__(self, folder: Path, server: Path, drops: Drops) -> None:
        self._path = folder / "drops.sock"
        self._server = server
        self._drops = drops
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="drop-proxy", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{self._path}"

    def close(self) -> None:
        """Cut every connection and end."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        server = await asyncio.start_unix_server(self._serve, str(self._path), limit=_LIMIT)
        self._ready.set()
        await self._end.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            upstream = await asyncio.open_unix_connection(str(self._server), limit=_LIMIT)
            passing = _Passing(self._drops, reader, writer, *upstream)
            ways = [asyncio.ensure_future(way) for way in (passing.commands(), passing.replies())]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                upstream[1].close()
        writer.close()


class _Passing:
    """One connection. After the command whose reply is dropped, nothing more of it reaches the server."""

    def __init__(
        self,
        drops: Drops,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._drops = drops
        self._reader, self._writer = reader, writer
        self._from_server, self._to_server = from_server, to_server
        self._waiting: deque[bool] = deque()
        self._queueing = False

    async def commands(self) -> None:
        """Pass commands on until the client goes, or one is the last."""
        requests = Requests()
        while data := await self._reader.read(1 << 18):
            for name, raw in requests.add(data):
                dropped = self._drops.wanted(self._kind(name, raw))
                self._waiting.append(dropped)
                self._to_server.write(raw)
                if dropped:
                    await self._from_server_done()
                    return
            await self._to_server.drain()

    async def _from_server_done(self) -> None:
        """The reply that is dropped ends replies(), and with it the connection."""
        await asyncio.Event().wait()

    async def replies(self) -> None:
        """Pass replies on until the server goes, or one is dropped: it goes nowhere, nor what came along with it."""
        parsed = hiredis.Reader()
        while data := await self._from_server.read(1 << 18):
            parsed.feed(data)
            while parsed.gets() is not False:
                if self._waiting.popleft():
                    return
            self._writer.write(data)
            await self._writer.drain()

    def _kind(self, name: str, raw: bytes) -> str:
        if name in {"EVAL", "EVALSHA"}:
            told = raw.split(b"\r\n", 5)[4:]
            text = told[0] if name == "EVALSHA" else _argument(raw)
            return f"{name} {_SCRIPTS[text.decode()]}"
        if name == "MULTI":
            self._queueing = True
        elif name == "EXEC":
            self._queueing = False
        elif self._queueing:
            return f"{name} in MULTI"
        return name


def _argument(raw: bytes) -> bytes:
    """The first argument of a command; it may span lines."""
    head, _, rest = raw.split(b"\r\n", 3)[3].partition(b"\r\n")
    return rest[: int(head[1:])]
