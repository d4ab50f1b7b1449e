"""The line of appends where a connection ends at an awkward moment."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from racing.errors import NotDurableError, StoreUnavailableError
from racing.store.client import store_errors
from racing.store.cluster import Address, Cluster, Seeking
from racing.store.line import Asking, Command, Line, RoutedLine
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient
from tests.contract.servers import RealStore, Store

CLOSED = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
"""What uvloop raises."""


class ClosedTransport:
    """One that the server has closed, and whose owner does not know yet."""

    def write(self, _: bytes) -> None:
        raise RuntimeError(CLOSED)

    def abort(self) -> None:
        """Nothing is left to end."""


def replying(text: str) -> Any:
    """What hiredis makes of an error reply."""
    return redis.exceptions.ResponseError(text)


async def made(store: Store) -> tuple[Line, AsyncClient, Any]:
    assert isinstance(store, RealStore)
    client = store.async_client()
    line = Line(client)
    assert await line.ask([("ECHO", "here")]) == [b"here"]
    wire: Any = line._wire
    return line, client, wire


async def test_write_to_a_connection_that_has_just_closed_is_an_absent_server(real_store: Store) -> None:
    """And the next one has a connection of its own."""
    line, client, wire = await made(real_store)
    wire._transport.abort()
    wire._transport = ClosedTransport()
    with pytest.raises(StoreUnavailableError, match="the handler is closed"):
        await line.ask([("ECHO", "gone")])
    assert await line.ask([("ECHO", "again")]) == [b"again"]
    line.close()
    await client.aclose()


def test_only_that_runtime_error_is_an_absent_server() -> None:
    with pytest.raises(StoreUnavailableError), store_errors():
        raise RuntimeError(CLOSED)
    with pytest.raises(RuntimeError, match="a bug of ours"), store_errors():
        raise RuntimeError("a bug of ours")


async def test_reply_of_a_replica_ends_the_connection(real_store: Store) -> None:
    """Behind an address that moves the next one finds the new primary."""
    line, client, wire = await made(real_store)
    told = wire._told(replying("READONLY You can't write against a read only replica."))
    assert isinstance(told, StoreUnavailableError)
    assert await line.ask([("ECHO", "again")]) == [b"again"]
    assert line._wire is not wire
    line.close()
    await client.aclose()


class Unproved:
    """A line that proves nothing."""

    def __init__(self, line: Asking) -> None:
        self._line = line

    async def ask(self, commands: Any) -> list[Any]:
        """Ask, and say that no replica has it."""
        await self._line.ask(commands)
        raise NotDurableError("no replica has it")


async def test_node_that_proves_nothing_is_looked_up_anew(real_store: Store) -> None:
    """It may have been replaced by its own replica, and not know."""
    assert isinstance(real_store, RealStore)
    client = real_store.async_client()
    routed = RoutedClient(lambda _: client, dict, lambda _: client)
    line = RoutedLine(routed, Unproved)
    command: Command = ("EXISTS", "saima:{hall-1}:log")
    with pytest.raises(NotDurableError):
        await line.ask([command])
    first: Any = line._lines["hall-1"][0]._wire
    assert first.broken is not None
    node = Seeking()
    node.cluster, node.host, node.port = Cluster("redis+cluster://h:1", lambda _: []), "h", 1
    node.cluster._owners[5] = Address("h", 1)
    first._seeking = node
    first.doubt()
    assert node.cluster.known(5) is None
    line.close()
    await client.aclose()
