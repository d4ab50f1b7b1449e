"""One batch at a time into the log: what most tests of the store want of an append."""

from __future__ import annotations

from racing.errors import RacingError
from racing.store.desk import Appended, Desk, KeyedBatch


async def append(desk: Desk, venue: str, packed: bytes) -> str:
    """Append one event batch; returns its entry id."""
    return (await _appended(desk, venue, packed)).entry


async def append_once(desk: Desk, venue: str, packed: bytes, *, key: str, digest: str, answer: bytes) -> Appended:
    """Append one event batch unless this key was used before; then the answer of that time.

    Raises IdempotencyMismatchError when the key came with another body.
    """
    return await _appended(desk, venue, KeyedBatch(packed, key, digest, answer))


async def _appended(desk: Desk, venue: str, batch: bytes | KeyedBatch) -> Appended:
    (appended,) = await desk.append_all(venue, [batch])
    if isinstance(appended, RacingError):
        raise appended
    return appended
