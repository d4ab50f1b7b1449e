"""The venue's log as read by its owner and by tools: entries in order, and the tick."""

from __future__ import annotations

from collections.abc import Iterator

from racing.entries import TICK_FIELD, Entry, entry_from
from racing.model import Position
from racing.store.client import store_errors
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient

READ_MAX = 512
"""Entries of one read: with at most 1,000 events each, the bound on what a commit folds."""


def entry_of(raw: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """A raw stream entry as the fold takes it; Unreadable rather than an error for an unknown body."""
    return entry_from(*raw)


def read_after(client: SyncClient, keys: VenueKeys, after: Position, *, block_ms: int = 0) -> list[Entry]:
    """Entries after a position, oldest first, at most READ_MAX; waits up to block_ms for the first.

    Raises StoreUnavailableError. An undecodable entry comes as Unreadable.
    """
    with store_errors():
        reply = client.xread({keys.log: str(after)}, count=READ_MAX, block=block_ms or None)
    return [entry_of(raw) for raw in reply[0][1]] if reply else []


def entries_between(client: SyncClient, keys: VenueKeys, after: Position, last: Position) -> Iterator[list[Entry]]:
    """Batches of the entries after one position up to and with another."""
    for raws in raw_between(client, keys, after, last):
        yield [entry_of(raw) for raw in raws]


def raw_between(
    client: SyncClient, keys: VenueKeys, after: Position, last: Position, *, stream: str | None = None
) -> Iterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    """entries_between as Redis gives them: (stream id, fields) pairs. stream: another of the venue's streams."""
    while after < last:
        with store_errors():
            raws = client.xrange(stream or keys.log, min=f"({after}", max=str(last), count=READ_MAX)
        if not raws:
            return
        after = Position.parse(raws[-1][0])
        yield raws


def first_position(client: SyncClient, keys: VenueKeys) -> Position | None:
    """Where the kept log begins; None for an empty log."""
    with store_errors():
        raws = client.xrange(keys.log, count=1)
    return Position.parse(raws[0][0]) if raws else None


def append_tick(client: SyncClient, keys: VenueKeys) -> None:
    """Let log time move. Harmless when it happens twice, or by a process that is no longer the owner."""
    with store_errors():
        client.xadd(keys.log, {TICK_FIELD: b"1"})
