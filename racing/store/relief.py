"""Room in a server that fills up: the log that is kept for looking back gives way before events are refused."""

from __future__ import annotations

import time

from racing.errors import StoreError, StoreUnavailableError
from racing.model import START, Position
from racing.rule import parse_rule
from racing.store.checkpoints import Chain
from racing.store.client import server_ms, store_errors
from racing.store.keys import VenueKeys
from racing.store.load import MEMORY_SHARE_MAX, read_memory
from racing.store.protocol import SyncClient
from racing.store.reads import checkpoint_names, current_rule

PRESSED_SHARE = 0.6
"""From this part of the memory bound on, the log is trimmed to the two windows that a recount needs."""
_EVERY_S, _EVERY_PRESSED_S = 1.0, 0.25


class MemoryWatch:
    """How full a venue's server is: read at most once a second, four times where room is wanted."""

    def __init__(self, given_mb: int) -> None:
        self._given_mb = given_mb
        self._share = 0.0
        self._read_s = 0.0

    def pressed(self, client: SyncClient) -> bool:
        """Whether room is wanted; no, on a server that tells no INFO. Raises StoreUnavailableError."""
        now_s = time.monotonic()
        if now_s - self._read_s > (_EVERY_PRESSED_S if self._share >= PRESSED_SHARE else _EVERY_S):
            self._share, self._read_s = self._read(client), now_s
        return self._share >= PRESSED_SHARE

    @property
    def tight(self) -> bool:
        """Whether it was so full when it was last read that events are refused until there is room."""
        return self._share >= MEMORY_SHARE_MAX

    def _read(self, client: SyncClient) -> float:
        try:
            return read_memory(client, self._given_mb).share
        except StoreUnavailableError:
            raise
        except StoreError:  # no INFO on this server, or not for us: the race goes on all the same
            return 0.0


def relieve(client: SyncClient, keys: VenueKeys, archived: Position | None) -> int:
    """Trim the log before the oldest of at least two full checkpoints, outside of any commit; returns entries gone.

    For a server so full that it takes no commit: a trim is still taken. Safe for whoever does it, also one who no
    longer owns the venue: no record, no later owner and no segment file needs what is before it. Two windows stay.
    """
    kept_ms = 2 * parse_rule(current_rule(client, keys).rule).window_ms
    names, _ = checkpoint_names(client, keys)
    with store_errors():
        trim_ms = Chain([(name, 0) for name in names]).trim_ms()
        if trim_ms is None or archived == START:
            return 0
        trim_ms = min(trim_ms, server_ms(client) - kept_ms)
        if archived is not None:
            trim_ms = min(trim_ms, archived.ms)
        return int(client.xtrim(keys.log, minid=trim_ms, approximate=True))
