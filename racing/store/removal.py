"""Removal: everything that a venue keeps, in Redis and in files, is gone for good."""

from __future__ import annotations

import shutil
import time
from itertools import islice
from pathlib import Path

from racing.errors import ConflictError, NotFoundError, StoreError
from racing.store.claim import claimed
from racing.store.client import store_errors
from racing.store.keys import VENUES, VenueKeys
from racing.store.protocol import SyncClient
from racing.store.segment_files import venue_folder

_AT_ONCE = 500
_HANDED_OVER_S = 10.0
"""A scorer gives up a venue that is no longer listed within half a second; the lease of a dead one expires."""
_QUIET_S = 1.5
"""API processes look once a second which venues there are: what one has written by then is removed too."""
_SWEEPS_MAX = 20


def remove_venue(root: SyncClient, client: SyncClient, venue: str, *, folder: Path | None) -> int:
    """Remove a venue, or what is left of one: all its keys and its files; how many keys there were.

    root, client: of the node of the deployment-wide keys, and of the venue's. First it is no longer listed, so that
    scorers and API processes let go of it; who sends to it gets 404 within a second. When this returns, none of its
    keys has come back for 1.5 s. Raises NotFoundError, and ConflictError where a venue of this id is made meanwhile.
    Safe to repeat after a fault. Cost: a pass over all keys of the server, twice or more.
    """
    keys = VenueKeys(venue)
    with store_errors():
        listed = bool(root.hdel(VENUES, venue))
    with claimed(client, keys, "delete", within_s=_HANDED_OVER_S) as claim:
        removed = remove_keys(client, keys)
        found = folder is not None and venue_folder(folder, venue).exists()
        if not (listed or removed or found):
            raise NotFoundError(f"there is no venue {venue!r}")
        for _ in range(_SWEEPS_MAX):
            time.sleep(_QUIET_S)
            claim.renew()
            with store_errors():
                if root.hexists(VENUES, venue):
                    raise ConflictError(f"venue {venue!r} was made anew while it was deleted: delete it again")
            again = remove_keys(client, keys)
            removed += again
            if not again:
                break
        else:
            raise StoreError(f"venue {venue!r}: its keys keep coming back: which process still writes to it?")
        if folder is not None:
            remove_files(folder, venue)
    return removed


def remove_keys(client: SyncClient, keys: VenueKeys) -> int:
    """Remove every key of a venue but its lease; how many there were. Memory is freed beside the server's work.

    Cost: one pass over all keys of the server, in pieces.
    """
    removed = 0
    with store_errors():
        found = (name for name in client.scan_iter(match=f"{keys.prefix}*", count=1000) if name != keys.lease.encode())
        while names := list(islice(found, _AT_ONCE)):
            removed += int(client.unlink(*names))
    return removed


def remove_files(folder: Path, venue: str) -> None:
    """Remove a venue's folder. Raises StoreError."""
    try:
        shutil.rmtree(venue_folder(folder, venue))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StoreError(f"folder {str(venue_folder(folder, venue))!r} cannot be removed: {exc.strerror}") from exc
