"""Redis Cluster: which node holds a slot, and connections that find it each time they connect.

Saima speaks to a cluster by plain connections, one venue to a connection: all keys of a venue share a slot, and
redis-py's cluster client has traps where it matters most (a MULTI that runs and then raises, repeats of its own). What
a node says about a slot that is not its own, or not just now, ends the connection; the next one looks the node up anew.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.retry import Retry

from racing.errors import StoreError, StoreUnavailableError

SCHEMES = ("redis+cluster", "rediss+cluster")
SLOTS = 16_384
_ASK_S = 0.2
"""How long one node may take to tell the map."""
_LOCATE_S = 0.4
"""How long all of them together may take: half of what a writer may wait."""
_PACE_S = 0.05
"""The map is not asked for more often than this, however many venues wait for it."""
_REPLICA = "ERR WAIT cannot be used with replica"
_MOVING = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "UNBLOCKED", _REPLICA)
"""What a node answers that does not hold the slot, or not all of it, or not now. Nothing was done then."""


_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


def is_cluster(url: str) -> bool:
    """Whether a URL names a Redis Cluster."""
    return url.partition("://")[0] in SCHEMES


def slot_of(venue: str | None) -> int:
    """The slot of a venue's keys; of the deployment-wide ones for None."""
    return int(key_slot(f"{{{venue or 'saima'}}}".encode()))


def said(error: Exception) -> str:
    """An error reply as the server sent it: redis-py takes its first word off."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def elsewhere(error: Exception) -> bool:
    """Whether a reply says that the slot is not, or not now, to be had from this node."""
    return isinstance(error, redis.exceptions.ResponseError) and said(error).startswith(_MOVING)


class Cluster:
    """The map of one cluster as this process knows it, shared by all its threads.

    Learnt from the nodes when it is first needed, from each MOVED, and anew where a node is in doubt: then the other
    nodes are asked first, for the one in doubt may not know that it was replaced.
    """

    def __init__(self, url: str, ask: Callable[[Address], list[Any]] | None = None) -> None:
        """ask: what a node replies to CLUSTER SLOTS; raises as redis-py does. Default: ask it."""
        self._ask = ask or self._ask_node
        parts = urlsplit(url)
        scheme = parts.scheme.removesuffix("+cluster")
        login, _, hosts = parts.netloc.rpartition("@")
        at = f"{login}@" if login else ""
        if parts.path.strip("/") not in {"", "0"}:
            raise StoreError(f"SAIMA_REDIS_URL: a cluster has database 0 alone, not {parts.path.strip('/')!r}")
        self.node_url = f"{scheme}://{at}{{address}}" + (f"?{parts.query}" if parts.query else "")
        self._seeds = [_address(host) for host in hosts.split(",")]
        self._lock = threading.Lock()
        self._owners: list[Address | None] = [None] * SLOTS
        self._nodes: list[Address] = []
        self._doubted: set[Address] = set()
        self._asked_s = -1.0
        self._trouble = ""

    def known(self, slot: int) -> Address | None:
        """The node of a slot, if it is known and not in doubt; asks nobody."""
        owner = self._owners[slot]
        return None if owner in self._doubted else owner

    def locate(self, slot: int) -> Address:
        """The node of a slot; asks the nodes where it is not known or in doubt, _LOCATE_S at most.

        A doubted node is still the answer while no other has its place. Raises ConnectionError where nobody knows.
        """
        found = self.known(slot)
        if found is not None:
            return found
        with self._lock:
            found = self.known(slot)
            if found is None and time.monotonic() - self._asked_s > _PACE_S:
                self._learn(slot)
                self._asked_s = time.monotonic()
            found = found or self._owners[slot]
        if found is None:
            raise redis.exceptions.ConnectionError(f"no node of the cluster holds slot {slot}{self._trouble}")
        return found

    def doubt(self, node: Address) -> None:
        """Take note that a node does not answer, or not as the owner of its slots."""
        self._doubted.add(node)

    def trust(self, node: Address) -> None:
        """Take note that a node takes connections: no doubt, until it fails or says that a slot is elsewhere."""
        self._doubted.discard(node)

    def heard(self, node: Address, error: Exception) -> None:
        """Take note of what a node answered about a slot that is not to be had from it."""
        words = said(error).split()
        if words[0] == "MOVED" and len(words) >= 3:  # noqa: PLR2004  # MOVED slot host:port
            moved = _address(words[2], node.host)
            self._owners[int(words[1])] = moved
            self._doubted.discard(moved)
        elif words[0] not in {"ASK", "TRYAGAIN"}:  # those say that the slot moves: it is still this node's
            self.doubt(node)

    def primaries(self) -> list[Address]:
        """Every node that holds slots, in a fixed order. Raises ConnectionError where nobody tells."""
        self.locate(slot_of(None))
        return sorted({owner for owner in self._owners if owner is not None})

    def _learn(self, slot: int) -> None:
        """Ask node after node until one names an owner of the slot that is not in doubt.

        Doubted nodes are asked only where no other tells.
        """
        until = time.monotonic() + _LOCATE_S
        doubted = set(self._doubted)
        told = False
        for node in sorted(dict.fromkeys([*self._nodes, *self._seeds]), key=lambda each: each in doubted):
            if time.monotonic() > until or (told and node in doubted):
                return
            try:
                self._take(node)
            except (redis.exceptions.RedisError, OSError) as exc:
                self._trouble = f": {_shown(node)}: {exc}"
                continue
            told, self._trouble = True, ""
            if self._owners[slot] is not None and self._owners[slot] not in doubted:
                self._doubted -= doubted
                return

    def _take(self, node: Address) -> None:
        """The map as one node has it."""
        owners: list[Address | None] = [None] * SLOTS
        nodes: list[Address] = []
        for first, last, *held in self._ask(node):  # the primary comes first; a node without a name is this one
            primary, *replicas = (Address((each[0] or b"").decode() or node.host, int(each[1])) for each in held)
            owners[first : last + 1] = [primary] * (last + 1 - first)
            nodes += [primary, *replicas]
        self._owners, self._nodes = owners, list(dict.fromkeys(nodes))

    def _ask_node(self, node: Address) -> list[Any]:
        client: Any = redis.Redis.from_url(
            self.node_url.format(address=_shown(node)),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_ASK_S,
            socket_connect_timeout=_ASK_S,
            protocol=2,
        )
        try:
            ranges: list[Any] = client.execute_command("CLUSTER SLOTS")
            return ranges
        finally:
            client.close()


def node_urls(url: str) -> list[tuple[str, str]]:
    """(host:port, URL) of every primary of a cluster. Raises StoreUnavailableError where no node tells."""
    cluster = cluster_at(url)
    try:
        return [(_shown(node), cluster.node_url.format(address=_shown(node))) for node in cluster.primaries()]
    except redis.exceptions.ConnectionError as exc:
        raise StoreUnavailableError(f"Redis is away: {exc}") from exc


@cache
def cluster_at(url: str) -> Cluster:
    """The process's one map of a cluster."""
    return Cluster(url)


def _address(text: str, default_host: str = "") -> Address:
    """host:port, [v6]:port or host; the port of Redis where there is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        host, port = text, "6379"
    return Address(host.strip("[]") or default_host, int(port))


def _shown(node: Address) -> str:
    return f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}"


# -- connections -----------------------------------------------------------------------------------------------


class Seeking:
    """What connections of either kind share: the slot they are for, and what they tell the map."""

    cluster: Cluster
    slot: int
    host: str
    port: int

    def elsewhere(self, error: Exception) -> redis.exceptions.ConnectionError:
        """Tell the map what this node said; returns what callers hear: that Redis is away, for now."""
        self.cluster.heard(Address(self.host, self.port), error)
        return redis.exceptions.ConnectionError(f"slot {self.slot} is on its way to another node ({said(error)})")

    def doubt(self) -> None:
        """Have the node looked up anew."""
        self.cluster.doubt(Address(self.host, self.port))

    def _trust(self) -> None:
        self.cluster.trust(Address(self.host, self.port))

    def _at(self, node: Address) -> None:
        self.host, self.port = node


class _Sync(Seeking):
    def __init__(self, *, cluster: Cluster, slot: int, **options: Any) -> None:
        self.cluster, self.slot = cluster, slot
        super().__init__(**options)

    def _connect(self) -> Any:
        self._at(self.cluster.locate(self.slot))
        try:
            sock = super()._connect()  # type: ignore[misc]  # of the class that this is mixed into
        except OSError:
            self.doubt()
            raise
        self._trust()
        return sock

    def read_response(self, *args: Any, **options: Any) -> Any:
        """As the client has it; a reply that the slot is elsewhere ends the connection."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]  # as above
        except _AWAY:
            self.doubt()
            raise
        except redis.exceptions.ResponseError as exc:
            if not elsewhere(exc):
                raise
            self.disconnect()  # type: ignore[attr-defined]  # as above
            raise self.elsewhere(exc) from exc


class _Async(Seeking):
    def __init__(self, *, cluster: Cluster, slot: int, **options: Any) -> None:
        self.cluster, self.slot = cluster, slot
        super().__init__(**options)

    async def _connect(self) -> None:
        node = self.cluster.known(self.slot)
        self._at(node if node is not None else await asyncio.to_thread(self.cluster.locate, self.slot))
        try:
            await super()._connect()  # type: ignore[misc]  # of the class that this is mixed into
        except OSError:
            self.doubt()
            raise
        self._trust()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """As the client has it; a reply that the slot is elsewhere ends the connection."""
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]  # as above
        except _AWAY:
            self.doubt()
            raise
        except redis.exceptions.ResponseError as exc:
            if not elsewhere(exc):
                raise
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # as above
            raise self.elsewhere(exc) from exc


class SlotConnection(_Sync, Connection):
    """A connection to whichever node holds its slot when it connects."""


class SlotSSLConnection(_Sync, SSLConnection):
    """The same over TLS."""


class AsyncSlotConnection(_Async, AsyncConnection):
    """The same for asynchronous clients."""


class AsyncSlotSSLConnection(_Async, AsyncSSLConnection):
    """The same for asynchronous clients, over TLS."""


def slot_client(url: str, venue: str | None, **options: Any) -> redis.Redis:
    """A plain client of the node that holds a venue's keys; of the deployment-wide ones for None."""
    cluster = cluster_at(url)
    seed: Any = redis.ConnectionPool.from_url(cluster.node_url.format(address="seed"), **options)
    over_tls = seed.connection_class is SSLConnection
    pool = redis.ConnectionPool(
        connection_class=SlotSSLConnection if over_tls else SlotConnection,
        cluster=cluster,
        slot=slot_of(venue),
        **{**_of_url(seed), **options, "retry": Retry(NoBackoff(), 0)},
    )
    return redis.Redis.from_pool(pool)


def slot_client_async(url: str, venue: str | None, **options: Any) -> redis.asyncio.Redis:
    """slot_client for the API; options go to its bounded pool."""
    cluster = cluster_at(url)
    seed: Any = redis.asyncio.BlockingConnectionPool.from_url(cluster.node_url.format(address="seed"), **options)
    over_tls = seed.connection_class is AsyncSSLConnection
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=AsyncSlotSSLConnection if over_tls else AsyncSlotConnection,
        cluster=cluster,
        slot=slot_of(venue),
        **{**_of_url(seed), **options, "retry": AsyncRetry(NoBackoff(), 0)},
    )
    return redis.asyncio.Redis.from_pool(pool)


def _of_url(pool: Any) -> dict[str, Any]:
    """What the URL of a pool asks of its connections: login, TLS; not the node."""
    return {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name not in {"host", "port", "db", "retry"} and not name.startswith("maint_")
    }


def venue_of(key: str) -> str:
    """The venue whose key this is, by its hash tag; ``saima`` for deployment-wide ones."""
    return key.partition("{")[2].partition("}")[0]


def key_of(command: Sequence[Any]) -> str:
    """The first key of a command as the store sends them: scripts name theirs after their number."""
    return str(command[3] if command[0] in {"EVAL", "EVALSHA"} else command[1])
