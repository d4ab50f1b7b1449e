"""The API's client of a cluster: each command goes to a plain client of the node that holds its key.

It has the methods of AsyncClient alone. Commands without a key go to the node of the deployment-wide keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from racing.store.cluster import venue_of
from racing.store.protocol import AsyncClient, AsyncPipeline, AsyncScript

Plain = Callable[[str], AsyncClient]


class RoutedClient:
    """One plain client for each venue, made when it is first needed. Bound: as many as there are venues."""

    def __init__(
        self, make: Callable[[str | None], AsyncClient], primaries: Callable[[], Mapping[str, str]], plain: Plain
    ) -> None:
        """make: the client of a venue's node. primaries: the nodes now, name -> URL. plain: the client of a URL."""
        self._make = make
        self._primaries = primaries
        self._plain = plain
        self._clients: dict[str, AsyncClient] = {}
        self._nodes: dict[str, AsyncClient] = {}

    def at(self, key: str) -> AsyncClient:
        """The client of the node that holds a key."""
        venue = venue_of(key) or "saima"
        found = self._clients.get(venue)
        if found is None:
            found = self._clients[venue] = self._make(None if venue == "saima" else venue)
        return found

    async def nodes(self) -> dict[str, AsyncClient]:
        """A client of each primary as it is now, by name. Raises StoreUnavailableError where no node tells."""
        urls = await asyncio.to_thread(self._primaries)
        for name in urls.keys() - self._nodes.keys():
            self._nodes[name] = self._plain(urls[name])
        return {name: self._nodes[name] for name in urls}

    @property
    def connection_pool(self) -> Any:
        """The pool of the deployment-wide keys."""
        return self.at("").connection_pool

    async def ping(self) -> Any:
        """As redis-py has it, and so are all of these."""
        return await self.at("").ping()

    async def info(self, *sections: str) -> Any:
        """Of the node of the deployment-wide keys."""
        client: Any = self.at("")
        return await client.info(*sections)

    async def config_get(self, *names: str) -> Any:
        """Of the node of the deployment-wide keys."""
        client: Any = self.at("")
        return await client.config_get(*names)

    async def get(self, name: str) -> bytes | None:
        """One key."""
        return await self.at(name).get(name)

    async def set(self, name: str, value: bytes, *, nx: bool) -> Any:
        """One key."""
        return await self.at(name).set(name, value, nx=nx)

    async def hget(self, name: str, key: str) -> bytes | None:
        """One key."""
        return await self.at(name).hget(name, key)

    async def hmget(self, name: str, keys: list[str]) -> list[bytes | None]:
        """One key."""
        return await self.at(name).hmget(name, keys)

    async def hscan(self, name: str, cursor: int, *, count: int) -> tuple[int, dict[bytes, bytes]]:
        """One key."""
        return await self.at(name).hscan(name, cursor, count=count)

    async def hgetall(self, name: str) -> dict[bytes, bytes]:
        """One key."""
        return await self.at(name).hgetall(name)

    async def execute_command(self, *args: Any) -> Any:
        """A command whose first argument is its one key."""
        return await self.at(args[1]).execute_command(*args)

    async def hkeys(self, name: str) -> list[bytes]:
        """One key."""
        return await self.at(name).hkeys(name)

    async def hvals(self, name: str) -> list[bytes]:
        """One key."""
        return await self.at(name).hvals(name)

    async def hlen(self, name: str) -> int:
        """One key."""
        return await self.at(name).hlen(name)

    async def hsetnx(self, name: str, key: str, value: bytes) -> Any:
        """One key."""
        return await self.at(name).hsetnx(name, key, value)

    async def xadd(self, name: str, fields: dict[bytes, bytes]) -> bytes:
        """One key."""
        return await self.at(name).xadd(name, fields)

    async def xrange(self, name: str, *, min: str, count: int) -> list[Any]:  # noqa: A002  # redis-py's own names
        """One key."""
        return await self.at(name).xrange(name, min=min, count=count)

    async def xrevrange(self, name: str, *, max: str, count: int) -> list[Any]:  # noqa: A002  # as above
        """One key."""
        return await self.at(name).xrevrange(name, max=max, count=count)

    async def xread(self, streams: dict[str, str], *, block: int) -> list[Any]:
        """Streams of one venue: those of several are in several slots."""
        return await self.at(next(iter(streams))).xread(streams, block=block)

    def register_script(self, script: str) -> AsyncScript:
        """A script that runs where its first key is."""
        return _RoutedScript(self, script)

    def pipeline(self, *, transaction: bool) -> AsyncPipeline:
        """A pipeline to the node of the deployment-wide keys."""
        return self.at("").pipeline(transaction=transaction)

    async def aclose(self) -> None:
        """Close them all."""
        await asyncio.gather(*(client.aclose() for client in (*self._clients.values(), *self._nodes.values())))


def client_at(client: AsyncClient, key: str) -> AsyncClient:
    """The client of the node that holds a key: where there is but one server, the client itself."""
    return client.at(key) if isinstance(client, RoutedClient) else client


class _RoutedScript:
    def __init__(self, routed: RoutedClient, script: str) -> None:
        self._routed = routed
        self._text = script
        self._scripts: dict[int, AsyncScript] = {}

    async def __call__(self, *, keys: list[str], args: list[Any]) -> Any:
        client = self._routed.at(keys[0])
        script = self._scripts.get(id(client))  # clients live as long as the one that routes
        if script is None:
            script = self._scripts[id(client)] = client.register_script(self._text)
        return await script(keys=keys, args=args)
