"""Whether a server that has loaded its file has all that was appended: each entry names the one before it.

What is committed is told by the checksum in the commit record. What came after it is told by these links: an entry that
is under another key or at another position now is missed by the one that follows, and the last one by the tail. Ticks
that hold nothing but time have none.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain

from racing.entries import AFTER_FIELD
from racing.model import START, Position
from racing.store.client import store_errors
from racing.store.keys import VenueKeys
from racing.store.log import raw_between
from racing.store.protocol import SyncClient


def lost_link(client: SyncClient, keys: VenueKeys, committed: Position) -> str | None:
    """How the log after the commit is other than what was appended; None where nothing says so.

    Entries that were appended by an older Saima have no links and are passed over. Cost: the log after the commit, read
    once.
    """
    with store_errors():
        tail = client.get(keys.tail)
        newest = client.xrevrange(keys.log, count=1)
    last = Position.parse(newest[0][0]) if newest else START
    found = committed
    linked = {committed}
    for name, fields in chain.from_iterable(raw_between(client, keys, committed, last)):
        after = fields.get(AFTER_FIELD)
        if after is None:
            continue
        before = _position(after)
        if after and (before is None or (before > committed if found == committed else before != found)):
            return f"the entry at {name.decode()} comes after {after!r}, and the one found before it is {found}"
        found = Position.parse(name)
        linked.add(found)
    end = START if tail is None else _position(tail)
    if end is None or (end > committed and end not in linked):
        return f"its newest entry was appended at {tail!r}, and the one found is {found}"
    return None


def _position(raw: bytes) -> Position | None:
    """START for none. None for what is no position."""
    with suppress(ValueError):
        return Position.parse(raw) if raw else START
    return None
