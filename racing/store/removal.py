"""Removal: everything that a venue keeps, in Redis and in files, is gone for good."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

from racing.errors import StoreError
from racing.store.client import store_errors
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.store.segments import venue_folder

_AT_ONCE = 500


def remove_keys(client: SyncClient, keys: VenueKeys) -> int:
    """Remove every key of a venue; how many there were. Memory is freed beside the server's work.

    Cost: one pass over all keys of the server, in pieces.
    """
    removed = 0
    with store_errors():
        found = iter(client.scan_iter(match=f"{keys.prefix}*", count=1000))
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
