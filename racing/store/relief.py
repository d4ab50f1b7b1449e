"""Room in a server that fills up: the log that is kept for looking back gives way before events are refused."""

from __future__ import annotations

import time

from racing.errors import StoreError, StoreUnavailableError
from racing.model import START, Position
from racing.store.checkpoints import Chain
from racing.store.client import store_errors
from racing.store.keys import VenueKeys
from racing.store.load import read_memory
from racing.store.protocol import SyncClient

PRESSED_SHARE = 0.6
"""From this part of the memory bound on, the log is trimmed to the two windows that a recount needs."""
_EVERY_S = 1.0


class MemoryWatch:
    """How full a venue's server is: read at most once a second."""

    def __init__(self, given_mb: int) -> None:
        self._given_mb = given_mb
        self._share = 0.0
        self._read_s = 0.0

    def pressed(self, client: SyncClient) -> bool:
        """Whether room is wanted; no, on a server that tells no INFO. Raises StoreUnavailableError."""
        now_s = time.monotonic()
        if now_s - self._read_s > _EVERY_S:
            self._share, self._read_s = self._read(client), now_s
        return self._share >= PRESSED_SHARE

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
    longer owns the venue: no record, no later owner and no segment file needs what is before it.
    """
    with store_errors():
        names = [name.decode() for name in client.hkeys(keys.checkpoints)]
        trim_ms = Chain(sorted((name, 0) for name in names)).trim_ms()
        if trim_ms is None or archived == START:
            return 0
        if archived is not None:
            trim_ms = min(trim_ms, archived.ms)
        return int(client.xtrim(keys.log, minid=trim_ms, approximate=True))
