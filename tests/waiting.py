"""Waiting for a state with a bound: the only way in which a test of live processes lets time pass."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.01


def until(look: Callable[[], T | None], *, within_s: float, what: str) -> T:
    """The first true answer of look. Raises AssertionError, naming what was waited for, when none comes in time."""
    give_up_s = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > give_up_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(_POLL_S)


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
