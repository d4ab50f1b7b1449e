"""redis-py without what it tells about itself, for exercises that send millions of commands through it.

Its telemetry is asked for by nobody here, no pool is carried over a fork, and no deprecated argument is looked for.
What it sends, reads and raises is as ever.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest import mock

import redis.asyncio.client
import redis.asyncio.connection
import redis.client
import redis.connection
import redis.utils

_TELLING = (redis.client, redis.connection, redis.asyncio.client, redis.asyncio.connection)


def _nothing(*_: Any, **__: Any) -> None:
    """Tell nobody."""


async def _nothing_async(*_: Any, **__: Any) -> None:
    """Tell nobody, for who waits for it."""


def _no_arguments(*_: Any, **__: Any) -> dict[str, Any]:
    """There is nothing to look through."""
    return {}


@cache
def _replacements() -> list[tuple[Any, str, Any]]:
    """(module or class, name, what stands there instead)."""
    found: list[tuple[Any, str, Any]] = [
        (redis.utils, "_get_filterable_args", _no_arguments),
        (redis.connection.ConnectionPool, "_checkpid", _nothing),
    ]
    for module in _TELLING:
        for name, told in vars(module).items():
            if name.startswith("record_"):
                found.append((module, name, _nothing_async if inspect.iscoroutinefunction(told) else _nothing))
            elif name == "get_pool_name":
                found.append((module, name, _nothing))
    return found


@contextlib.contextmanager
def untold() -> Iterator[None]:
    """While this holds, redis-py keeps no account of itself."""
    with contextlib.ExitStack() as stack:
        for holder, name, replacement in _replacements():
            stack.enter_context(mock.patch.object(holder, name, replacement))
        yield
