"""The archive: takes what the log is about to lose to segment files, in a thread of its own.

A segment goes from one full checkpoint to the next. The owner trims the log, and drops full checkpoints, only up to
where segments have been written, so a full disk makes both wait and never stops a race. Whoever writes reads the log
alone: several owners in turn, or a paused one, write equal or overlapping stretches, and no gap.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

from racing.errors import RacingError, StoreError
from racing.metrics import METRICS
from racing.model import START, Position
from racing.store import reads
from racing.store.checkpoints import position_of
from racing.store.client import connect
from racing.store.keys import VenueKeys
from racing.store.log import raw_between
from racing.store.protocol import SyncClient
from racing.store.segments import FORMAT, Header, RawEntry, archived_until, write_segment

log = structlog.get_logger("saima.archive")

_RETRY_S = 5.0
_WAIT_S = 60.0
"""Looks by itself so often; a new full checkpoint wakes it at once."""


def archive(client: SyncClient, keys: VenueKeys, folder: Path, epoch: int) -> list[Path]:
    """Write the segments that are due: from where segments end to each later full checkpoint.

    Raises StoreError where Redis or the folder cannot be read, OSError where the disk takes no more. What was
    written by then stays and counts.
    """
    written: list[Path] = []
    fulls = reads.full_positions(client, keys)
    after = archived_until(folder, keys.venue)
    due = [position for position in fulls if position > after]
    if due and not (after in fulls or (after == START and reads.reaches_back(client, keys))):
        log.warning("segments begin anew: what was before has left Redis", venue=keys.venue, position=str(due[0]))
        after = due.pop(0)
    for last in due:
        header = Header(format=FORMAT, venue=keys.venue, after=str(after), last=str(last), epoch=epoch)
        record = _record(client, keys, fulls[after]) if after in fulls else None
        written.append(write_segment(folder, header, record, _stretch(client, keys, after, last)))
        after = last
    return written


def _record(client: SyncClient, keys: VenueKeys, name: str) -> bytes:
    """A checkpoint, found sound. Raises StoreError where it has gone, CorruptRecordError where it is damaged."""
    record = reads.checkpoint(client, keys, name)
    if record is None:
        raise StoreError(f"venue {keys.venue}: checkpoint {name} has gone while it was to be archived")
    position_of(record)
    return record


def _stretch(client: SyncClient, keys: VenueKeys, after: Position, last: Position) -> Iterator[list[RawEntry]]:
    """Raw entries of a stretch. Raises StoreError where some have gone: then the log was trimmed under us."""
    found = after
    for batch in raw_between(client, keys, after, last):
        found = Position.parse(batch[-1][0])
        yield batch
    if found != last or not reads.holds_after(client, keys, after):
        raise StoreError(
            f"venue {keys.venue}: not all entries from {after} to {last} are in Redis, found up to {found}"
        )


class ArchiveThread(threading.Thread):
    """Keeps the segments of one venue up to date while this process owns it; never raises."""

    def __init__(self, url: str, venue: str, folder: Path) -> None:
        super().__init__(name=f"archive-{venue}", daemon=True)
        self._client = connect(url, venue=venue)
        self._keys = VenueKeys(venue)
        self._folder = folder
        self._epoch: int | None = None
        self._wake = threading.Event()
        self._halt = False
        self.until = START
        self.failures = 0

    def owned(self, epoch: int) -> None:
        """From now on write under this epoch; look at once."""
        self._epoch = epoch
        self._wake.set()

    def stop(self) -> None:
        """End after the segment that is being written."""
        self._halt = True
        self._epoch = None
        self._wake.set()

    def run(self) -> None:
        """Look when woken and once a minute; after trouble again in 5 s."""
        wait_s = _WAIT_S
        while not self._halt:
            self._wake.wait(wait_s)
            self._wake.clear()
            wait_s = _WAIT_S if self._epoch is None or self._look(self._epoch) else _RETRY_S
        self._client.close()

    def _look(self, epoch: int) -> bool:
        venue = self._keys.venue
        try:
            for path in archive(self._client, self._keys, self._folder, epoch):
                METRICS.count("saima_segments_total", venue)
                log.info("segment written", venue=venue, file=path.name, size_bytes=path.stat().st_size)
            self.until = archived_until(self._folder, venue)
            return True
        except (RacingError, OSError) as exc:
            log.warning("segment not written, the log is not trimmed meanwhile", venue=venue, reason=str(exc))
        except Exception:
            log.exception("unexpected error, the log is not trimmed meanwhile", venue=venue)
        self.failures += 1
        METRICS.count("saima_segment_failures_total", venue)
        return False
