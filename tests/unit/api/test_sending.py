"""Sending a batch: what is left of one that is refused."""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from api.sending import Sent, send
from racing.errors import ConflictError


def refused(sent: Sent) -> None:
    service: Any = SimpleNamespace(appenders={}, full=None)
    view: Any = SimpleNamespace(shut="the venue is closed", venue=SimpleNamespace(venue="hall-1"))
    with pytest.raises(ConflictError):
        send(service, view, sent).send(None)


def test_a_refused_batch_leaves_nothing_for_the_collector() -> None:
    """Bodies of a flood would stay until it runs, which is seldom."""
    body = bytes(1000)
    held = sys.getrefcount(body)
    gc.disable()
    try:
        refused(Sent(body, "application/json", None))
        assert sys.getrefcount(body) == held
    finally:
        gc.enable()
