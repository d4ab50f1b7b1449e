"""mend: sets and decisions of one venue written anew on demand, while it races or while nobody runs it.

Only an owner writes a venue's sets. So whoever owns the venue is fenced, and the next owner, here or elsewhere,
restores the race, compares every set with it, and writes all of them anew where a member is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from racing.errors import CorruptRecordError, FencedError, NotFoundError, StoreError
from racing.model import START, Position
from racing.owner import VenueThread
from racing.restoring import restore
from racing.settings import Settings
from racing.store import reads
from racing.store.client import connect, store_errors
from racing.store.commit import NO_COMMIT, CommitRecord, Committer, encode_commit, last_frame, read_commit
from racing.store.keys import VenueKeys
from racing.store.mend import Relogged, relog
from racing.store.protocol import SyncClient

WITHIN_S = 60.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done.

    position: the sets are right up to here. record_dropped: the commit record was damaged, and made anew from the last
    checkpoint and the log. here: this process had to own the venue for it.
    """

    venue: str
    position: str
    record_dropped: bool
    runners_logged: int
    rule_logged: bool
    orders_logged: int
    here: bool


def mend_venue(url: str, venue: str, settings: Settings, *, within_s: float = WITHIN_S) -> Mended:
    """Log again what damaged decisions said, and have every sorted set compared and written anew where it is wrong.

    A commit record that is none any more is dropped first: nothing that is acknowledged hangs on it. Safe at any time,
    and to repeat: a running scorer restores, which readers see as a pause of its frames. Raises NotFoundError, and
    StoreError where that was not done in within_s.
    """
    keys, client = VenueKeys(venue), connect(url, venue=venue)
    if venue not in reads.venues(connect(url)):
        raise NotFoundError(f"there is no venue {venue!r}")
    try:
        dropped = _dropped(client, keys)
        again = _relogged(client, keys, settings)
        fence = _fenced(client, keys, within_s)
        with _stand_by(url, venue, settings) as here:
            done = _waited(client, keys, fence, within_s)
            return Mended(
                venue,
                done.sets_position,
                dropped,
                again.runners,
                again.rule,
                again.orders,
                here.report.epoch == done.epoch,
            )
    finally:
        client.close()


def _dropped(client: SyncClient, keys: VenueKeys) -> bool:
    """Whether the commit record was damaged, and one of before the first commit had to take its place.

    Its owner, if there is one, is fenced by that. Frames go on from the last one.
    """
    try:
        read_commit(client, keys)
    except CorruptRecordError:
        frame = last_frame(client, keys)
        shown = NO_COMMIT if frame is None else replace(NO_COMMIT, epoch=frame.epoch, frame=frame.frame)
        with store_errors():
            client.set(keys.commit, encode_commit(shown).decode())
        return True
    return False


def _relogged(client: SyncClient, keys: VenueKeys, settings: Settings) -> Relogged:
    race, _, _ = restore(client, keys, read_commit(client, keys), segments=settings.segments_folder)
    return relog(client, keys, race)


def _fenced(client: SyncClient, keys: VenueKeys, within_s: float) -> CommitRecord:
    """Void what any owner remembers; one that commits just now is in the way, and it is tried again."""
    until_s = time.monotonic() + within_s
    while True:
        try:
            return Committer(client, keys).take_over(compare=True)
        except FencedError:
            if time.monotonic() > until_s:
                raise


@contextmanager
def _stand_by(url: str, venue: str, settings: Settings) -> Iterator[VenueThread]:
    """A scorer of this one venue, which waits for the lease: it races only where no other does."""
    thread = VenueThread(url, venue, f"mend-{time.time_ns()}", settings)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
        thread.join(timeout=5)


def _waited(client: SyncClient, keys: VenueKeys, fence: CommitRecord, within_s: float) -> CommitRecord:
    """A commit after the fence with which the sets are right up to where the log ended then.

    One that has no member to write left, unless there is none in half the time.
    """
    begun_s, wanted = time.monotonic(), _log_end(client, keys)
    while (waited_s := time.monotonic() - begun_s) < within_s:
        found = read_commit(client, keys)
        done = found.epoch != fence.epoch and found.number and not found.compare
        right = done and Position.parse(found.sets_position) >= wanted
        if right and (found.sets_position == found.position or waited_s > within_s / 2):
            return found
        time.sleep(_LOOK_S)
    raise StoreError(f"venue {keys.venue}: its sets were not written anew within {within_s:.0f} s: saima scorers")


def _log_end(client: SyncClient, keys: VenueKeys) -> Position:
    with store_errors():
        raws = client.xrevrange(keys.log, count=1)
    return Position.parse(raws[0][0]) if raws else START
