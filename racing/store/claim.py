"""A venue held by a tool: while it is, no scorer takes it, and no other tool changes it whole."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from racing.errors import ConflictError, StoreError
from racing.store.client import as_text, store_errors
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.store.scripts import source

_HELD_MS = 30_000
_RENEW_S = 5.0
_PAUSE_S = 0.05


class Claim:
    """The lease of a venue in the hands of a tool, which renews it as it works."""

    def __init__(self, client: SyncClient, keys: VenueKeys, work: str) -> None:
        self._client = client
        self._keys = keys
        self._name = f"{work}-{os.getpid()}-{secrets.token_hex(4)}"
        self._renewed_s = 0.0

    def take(self, *, within_s: float = 0.0) -> None:
        """Hold the lease. Raises ConflictError, which names the holder, where it is not free in time."""
        until_s = time.monotonic() + within_s
        while not self._hold():
            if time.monotonic() >= until_s:
                with store_errors():
                    holder = as_text(self._client.get(self._keys.lease) or b"another")
                raise ConflictError(f"venue {self._keys.venue!r} is in the hands of {holder}: try again later")
            time.sleep(_PAUSE_S)

    def renew(self) -> None:
        """Keep it; to be called every few seconds. Raises ConflictError where another has it now."""
        if time.monotonic() - self._renewed_s > _RENEW_S and not self._hold():
            raise ConflictError(f"venue {self._keys.venue!r} was taken from this process, which must have been paused")

    def drop(self) -> None:
        """Give it up; it expires by itself where Redis is away."""
        with suppress(StoreError), store_errors():
            self._client.eval(source("drop_lease"), 1, self._keys.lease, self._name)

    def _hold(self) -> bool:
        with store_errors():
            held = self._client.eval(source("hold_lease"), 1, self._keys.lease, self._name, _HELD_MS)
        self._renewed_s = time.monotonic()
        return bool(held == 1)


@contextmanager
def claimed(client: SyncClient, keys: VenueKeys, work: str, *, within_s: float = 0.0) -> Iterator[Claim]:
    """A venue's claim for as long as the block runs. Raises ConflictError."""
    claim = Claim(client, keys, work)
    claim.take(within_s=within_s)
    try:
        yield claim
    finally:
        claim.drop()
