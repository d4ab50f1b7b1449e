"""How old what a server holds must be to be there to stay."""

from __future__ import annotations

from typing import Any, cast

import pytest
import redis

from racing.store.archive import SETTLED_ALONE_MS, SETTLED_MS, settled_after_ms

ALONE = {
    "role": "master",
    "connected_slaves": 0,
    "repl_backlog_active": 0,
    "aof_enabled": 1,
    "uptime_in_seconds": 60,
}


@pytest.mark.parametrize(
    ("told", "after_ms"),
    [
        ({}, SETTLED_ALONE_MS),
        ({"connected_slaves": 1, "repl_backlog_active": 1}, SETTLED_MS),
        ({"repl_backlog_active": 1}, SETTLED_MS),
        ({"role": "slave"}, SETTLED_MS),
        ({"aof_enabled": 0}, SETTLED_MS),
        ({"uptime_in_seconds": 9}, SETTLED_MS),
        (None, SETTLED_MS),
    ],
    ids=["alone", "replicas", "cut off from replicas", "no longer primary", "no file", "just begun", "not told"],
)
def test_only_a_server_that_never_had_replicas_keeps_what_it_has_synced(
    told: dict[str, Any] | None, after_ms: int
) -> None:
    assert settled_after_ms(cast("Any", Telling(told))) == after_ms


class Telling:
    """A client that tells this beside ALONE, or is not let to ask."""

    def __init__(self, told: dict[str, Any] | None) -> None:
        self.told = told

    def info(self) -> dict[str, Any]:
        if self.told is None:
            raise redis.exceptions.ResponseError("NOPERM")
        return ALONE | self.told
