"""One client's live stream: a connection that has left HTTP behind and is only written to."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Protocol

from api import sse

_RETRY_MS = (1_000, 5_000)
"""A client comes again after a time within these: who are told all at once must not come all at once."""
STALL_S = 30.0
"""A client that has not read what it was sent for so long is cut off."""
_UNSENT_BYTES = 32_768
"""What the system takes of a stream before its client has: more would only make what a slow client reads older."""
_FLUSH_S = 1.0
"""A client that is told good-bye reads it within this time, or never."""


class Writer(Protocol):
    """Who writes to a stream. label: as Followed has it."""

    @property
    def label(self) -> str:
        """What its streams are counted by."""

    def leave(self, stream: Stream) -> None:
        """Hear that it has ended."""


class Stream(asyncio.Protocol):
    """The protocol of a connection after the head of its answer. Whatever the client sends is passed over.

    caller: who is held to account for it; key: the id of the key by which it was opened, empty without one. What it has
    been sent stands in version and place, of its group. Bound: the writer sends nothing while something is unsent, so
    it never holds more than one message, shared with the other clients, and a good-bye. waits_s: since when it has held
    one, s of the monotonic clock; 0: it does not.
    """

    __slots__ = ("_connections", "caller", "key", "place", "transport", "version", "waits_s", "writer")

    def __init__(self, writer: Writer, caller: str, key: str) -> None:
        self.writer, self.caller, self.key = writer, caller, key
        self.version = 0
        self.place: Hashable = None
        self.waits_s = 0.0
        self.transport: Any = None
        self._connections: set[Any] = set()

    def take_over(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """Be the protocol of this connection from now on, also for the server that ends all of them."""
        self.transport, self._connections = transport, connections
        connections.add(self)
        transport.set_protocol(self)
        self._bound_system()

    def _bound_system(self) -> None:
        """Have the system hold little, and find out itself that a client has gone without a word (where it can)."""
        held = self.transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):  # no socket, not of TCP, or not of Linux
            held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
            held.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL_S * 1000))

    def begin(self) -> None:
        """Write what a stream opens with."""
        self.transport.write(sse.begin(_retry_ms()))

    def end(self, reason: str) -> None:
        """Say good-bye, and close; a client that does not read is cut off a second later."""
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(sse.bye(reason, _retry_ms()))
        transport.close()
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_FLUSH_S, transport.abort)

    def shutdown(self) -> None:
        """The server ends: as uvicorn asks of each of its connections."""
        self.end("shutdown")

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        self._connections.discard(self)
        self.writer.leave(self)


def _retry_ms() -> int:
    return random.randint(*_RETRY_MS)  # noqa: S311  # spreads load, hides nothing
