"""Plain reads of what a deployment and its venues keep, for the scorer and the tools."""

from __future__ import annotations

from racing.errors import CorruptRecordError, StoreError
from racing.model import Position
from racing.race import Race
from racing.store.checkpoints import Chain, is_full, is_name
from racing.store.client import as_text, store_errors
from racing.store.documents import RuleVersion, decode_version
from racing.store.keys import VENUES, VenueKeys
from racing.store.log import first_position
from racing.store.protocol import SyncClient


def venues(client: SyncClient) -> list[str]:
    """The venues of the deployment, sorted."""
    with store_errors():
        return sorted(as_text(venue) for venue in client.hkeys(VENUES))


def exists(client: SyncClient, keys: VenueKeys) -> bool:
    """Whether there is such a venue: its log begins with its first rule."""
    with store_errors():
        return client.type(keys.log) != b"none"


def checkpoints(client: SyncClient, keys: VenueKeys) -> dict[str, bytes]:
    """Every kept checkpoint record by name; what has a name that is none is left out."""
    with store_errors():
        kept = client.hgetall(keys.checkpoints)
    return {as_text(name): bytes(record) for name, record in kept.items() if is_name(name)}


def checkpoint_names(client: SyncClient, keys: VenueKeys) -> tuple[list[str], list[bytes]]:
    """(names of the kept checkpoint records, oldest first, names beside them that are none)."""
    with store_errors():
        raws = client.hkeys(keys.checkpoints)
    return sorted(as_text(raw) for raw in raws if is_name(raw)), [bytes(raw) for raw in raws if not is_name(raw)]


def oldest_race(client: SyncClient, keys: VenueKeys) -> Race:
    """The race at the oldest full checkpoint that is sound, or at the log's very beginning.

    Raises StoreError where the log no longer reaches back to either.
    """
    return oldest(client, keys)[0]


def oldest(client: SyncClient, keys: VenueKeys) -> tuple[Race, bytes | None]:
    """oldest_race, with the record that it is restored from."""
    return (Race(), None) if reaches_back(client, keys) else oldest_full(client, keys)


def oldest_full(client: SyncClient, keys: VenueKeys) -> tuple[Race, bytes]:
    """(race, record) of the oldest full checkpoint that is sound. Raises StoreError where there is none."""
    kept = checkpoints(client, keys)
    for name in Chain.of(kept).full_names():
        try:
            return Race.restore([kept[name]]), kept[name]
        except CorruptRecordError:
            continue
    raise StoreError(f"venue {keys.venue}: no sound checkpoint, and the log before it is gone")


def reaches_back(client: SyncClient, keys: VenueKeys) -> bool:
    """Whether the log in Redis still begins with its very first entry."""
    return first_position(client, keys) is not None and not _trimmed(client, keys)


def holds_after(client: SyncClient, keys: VenueKeys, after: Position) -> bool:
    """Whether every entry after a position is still in Redis.

    The position itself must be, unless nothing was ever trimmed: trims leave the entry that they are for.
    """
    first = first_position(client, keys)
    return (first is not None and first <= after) or reaches_back(client, keys)


def full_positions(client: SyncClient, keys: VenueKeys) -> dict[Position, str]:
    """The full checkpoints by position, oldest first: position -> name."""
    names, _ = checkpoint_names(client, keys)
    return {Position.parse(name.partition(":")[0]): name for name in names if is_full(name)}


def checkpoint(client: SyncClient, keys: VenueKeys, name: str) -> bytes | None:
    """One record; None where it has gone."""
    with store_errors():
        return client.hget(keys.checkpoints, name)


def _trimmed(client: SyncClient, keys: VenueKeys) -> bool:
    """Whether entries have left the log's beginning."""
    with store_errors():
        info = client.xinfo_stream(keys.log)
    return int(info["entries-added"]) > int(info["length"]) if "entries-added" in info else True


def members(client: SyncClient, key: str) -> dict[int, float]:
    """A sorted set as runner -> value."""
    with store_errors():
        return {int(name): float(value) for name, value in client.zrange(key, 0, -1, withscores=True)}


def current_rule(client: SyncClient, keys: VenueKeys) -> RuleVersion:
    """The newest rule version. Raises StoreError where there is none, CorruptRecordError for a damaged one."""
    with store_errors():
        version = client.hget(keys.rules, "current")
        raw = client.hget(keys.rules, as_text(version)) if version is not None else None
    if raw is None:
        raise StoreError(f"venue {keys.venue} has no rule")
    return decode_version(raw)
