"""A relay before a server that can hold replication up: what the primary sends on is kept back, all else passes.

So a replica falls behind while its own words (its offset, its pings) still reach the primary, as on a network that
loses packets one way. A replica that is merely stopped does not: what it was sent lies in its socket, and it reads
that when it goes on.
"""

from __future__ import annotations

import asyncio
import threading
from typing import cast

_HANDSHAKE_BYTES = 4_096
"""A replica says PSYNC within so many bytes of its first."""
_SOON_S = 5.0


class Relay:
    """Listens on a port of its own and passes everything on to another of this machine; runs in a thread."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.stalled = False
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()
        assert self._ready.wait(_SOON_S), "the relay does not listen"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Link(self._loop, self, self._links), "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        server.close()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    async def _end(self) -> None:
        """Cut every link; returns when their sockets are closed, also of one that is being accepted."""
        while True:
            links, tasks = list(self._links), asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())}
            if not links and not tasks:
                break
            for link in links:
                link.abort()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def stall(self) -> None:
        """From now on keep back what the primary sends to its replicas; returns when it is so."""
        self._do(lambda: setattr(self, "stalled", True))

    def flow(self) -> None:
        """Pass on what was kept back, and all that comes."""

        def release() -> None:
            self.stalled = False
            for link in self._links:
                link.release()

        self._do(release)

    def _do(self, work: object) -> None:
        done = threading.Event()

        def run() -> None:
            work()  # type: ignore[operator]  # a callable of no arguments
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(_SOON_S), "the relay does not answer"

    def close(self) -> None:
        """Cut everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SOON_S)


class _Link(asyncio.Protocol):
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, relay: Relay, links: set[_Link]) -> None:
        self._loop = loop
        self._relay = relay
        self._links = links
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._held: list[bytes] = []
        self._said = b""
        self._replicates = False
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast("asyncio.Transport", transport)
        self._links.add(self)
        self.connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            transport, _ = await self._loop.create_connection(
                lambda: _Upstream(self), "127.0.0.1", self._relay.upstream_port
            )
        except OSError:
            self.close()
            return
        self._server = transport
        if self._client is None or self._client.is_closing():
            transport.abort()
        for data in self._waiting:
            transport.write(data)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if len(self._said) < _HANDSHAKE_BYTES:
            self._said += data
            self._replicates = self._replicates or b"PSYNC" in self._said
        if self._server is None:
            self._waiting.append(data)
        else:
            self._server.write(data)

    def from_server(self, data: bytes) -> None:
        """Pass on, or keep back, what the server sent."""
        if self._replicates and self._relay.stalled:
            self._held.append(data)
        elif self._client is not None:
            self._client.write(data)

    def release(self) -> None:
        """Pass on what was kept back."""
        if self._client is not None:
            self._client.writelines(self._held)
        self._held.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    def abort(self) -> None:
        """End both at once, whatever is still to be written."""
        self._links.discard(self)
        if self.connecting is not None:
            self.connecting.cancel()
        for transport in (self._client, self._server):
            if transport is not None:
                transport.abort()

    def close(self) -> None:
        """End both; what is kept back is lost."""
        self._links.discard(self)
        for transport in (self._client, self._server):
            if transport is not None:
                transport.close()


class _Upstream(asyncio.Protocol):
    def __init__(self, link: _Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.from_server(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.close()
