"""Redis clients as Saima needs them: none retries a write, every wait is bounded.

redis-py's own retry repeats a command whose reply was lost, which doubles what is not idempotent; so all
clients here have no retry, and those who write know how to ask whether a write has happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from racing.errors import StoreError, StoreUnavailableError
from racing.store.cluster import is_cluster, node_urls, said, slot_client, slot_client_async
from racing.store.protocol import AsyncClient, SyncClient
from racing.store.routed import RoutedClient

SOCKET_TIMEOUT_S = 0.8
"""Writers must hear of trouble within 1 s."""
BLOCK_MAX_MS = 1000
"""Longest blocking read; the reader's socket waits 2 s more than that."""
POOL_MAX = 64
POOL_WAIT_S = 0.2

AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
_LOADING = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "OOM")


_CLOSED = "the handler is closed"
"""uvloop's RuntimeError for a write to a connection that was closed a moment before; redis-py lets it through."""


class _Packer:
    """Commands as bytes by hiredis alone: redis-py's own packer first looks at every argument in Python.

    A ZADD of a commit has thousands of them. Arguments are str, bytes, int or float; none is a memoryview.
    """

    def pack(self, *args: Any) -> list[bytes]:
        """One command; its name may be of several words."""
        words = args[0].split() if isinstance(args[0], (str, bytes)) else args[:1]
        return [hiredis.pack_command((*words, *args[1:]) if len(words) > 1 else args)]


def connect(url: str, *, venue: str | None = None, block_ms: int = 0) -> SyncClient:
    """A client of one process's scorer or tool; with block_ms one for blocking reads. Does not connect yet.

    On a cluster it speaks to the node that holds the keys of the venue, or the deployment-wide ones where none is
    named, whichever node that is when it connects; elsewhere the venue makes no difference.
    """
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S if not block_ms else block_ms / 1000 + 2,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "protocol": 2,
        "command_packer": _Packer(),
    }
    if is_cluster(url):
        return cast("SyncClient", slot_client(url, venue, **options))
    return cast("SyncClient", redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options))


def connect_async(url: str, *, block_ms: int = 0) -> AsyncClient:
    """A client of the API with a bounded pool: waits POOL_WAIT_S for a connection, then StoreUnavailableError.

    On a cluster it has such a pool for each venue, to the node that holds its keys.
    """
    options: dict[str, Any] = {
        "max_connections": POOL_MAX,
        "timeout": POOL_WAIT_S,
        "socket_timeout": SOCKET_TIMEOUT_S if not block_ms else block_ms / 1000 + 2,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "protocol": 2,
    }
    if is_cluster(url):
        return RoutedClient(
            lambda venue: cast("AsyncClient", slot_client_async(url, venue, **options)),
            lambda: dict(node_urls(url)),
            connect_async,
        )
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)
    return cast("AsyncClient", redis.asyncio.Redis.from_pool(pool))


def away(exc: Exception) -> bool:
    """Whether an error says that the server did not answer: while keys are watched, that comes as a WatchError."""
    if isinstance(exc, redis.exceptions.WatchError):
        return isinstance(exc.__cause__ or exc.__context__, AWAY)
    return isinstance(exc, AWAY)


def wrapped(exc: Exception) -> StoreError:
    """An error of redis-py's as ours."""
    text = said(exc) or type(exc).__name__
    if away(exc) or text.startswith(_LOADING):
        return StoreUnavailableError(f"Redis is away: {text}")
    return StoreError(f"Redis refused: {text}")


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise redis-py's errors as StoreUnavailableError (retryable) or StoreError."""
    try:
        yield
    except (redis.exceptions.RedisError, OSError) as exc:
        raise wrapped(exc) from exc
    except RuntimeError as exc:
        if not str(exc).endswith(_CLOSED):
            raise
        raise StoreUnavailableError(f"Redis is away: {exc}") from exc


@asynccontextmanager
async def store_errors_async() -> AsyncIterator[None]:
    """store_errors for ``async with``."""
    with store_errors():
        yield


def server_ms(client: SyncClient) -> int:
    """The server's clock, ms."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def as_text(value: Any) -> str:  # whatever a reply holds
    """A bytes or str reply as str."""
    return value.decode() if isinstance(value, bytes) else str(value)
