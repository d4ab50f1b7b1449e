"""The archive: takes what Redis is about to lose to files, in a thread of its own.

That is log entries, a frame a second, and the standings once a minute.

A segment goes from one full checkpoint to the next. The owner trims the log, and drops full checkpoints, only up to
where segments have been written, so a full disk makes both wait and never stops a race. Whoever writes reads the log
alone: several owners in turn, or a paused one, write equal or overlapping stretches, and no gap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from racing.errors import CorruptRecordError, RacingError, StoreError, StoreUnavailableError
from racing.metrics import METRICS
from racing.model import START, Position
from racing.store import reads
from racing.store.checkpoints import position_of
from racing.store.client import connect, server_ms, store_errors
from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from racing.store.log import raw_between
from racing.store.minutes import BY_TENS, MINUTE_MS, MinuteBook
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.reel import Reel
from racing.store.segment_files import FORMAT, Header, RawEntry, archived_until, write_segment

log = structlog.get_logger("saima.archive")

_RETRY_S = 5.0
_WAIT_S = 60.0
"""Looks by itself so often; a new full checkpoint wakes it at once, and once more when it is there to stay."""
SETTLED_MS, SETTLED_ALONE_MS = 10_000, 3_000
"""A failover may take back the last seconds: what is younger goes to no file, which would remember them. A server
without replicas takes back no more than it had not yet synced to its own file."""
_FOUND_AGAIN_S = 10
"""A server that began later than that may have replicas that have not found it again."""
_LOOK_MIN_S = 0.25
"""Between two looks, however soon something is due."""


def settled_after_ms(client: SyncClient) -> int:
    """How old what a server holds must be to be there to stay, ms; the longer time of one that does not tell.

    The backlog for replicas is there from the first replica on until an hour after the last, so one that is cut off
    from its replicas is not taken for one without any.
    """
    try:
        with store_errors():
            info = client.info()
    except StoreUnavailableError:
        raise
    except StoreError:
        return SETTLED_MS
    alone = info.get("role") == "master" and not info.get("connected_slaves") and info.get("repl_backlog_active") == 0
    synced = info.get("aof_enabled") == 1 and int(info.get("uptime_in_seconds", 0)) >= _FOUND_AGAIN_S
    return SETTLED_ALONE_MS if alone and synced else SETTLED_MS


def archive(client: SyncClient, keys: VenueKeys, folder: Path, epoch: int) -> list[Path]:
    """Write the segments that are due: from where segments end to each later full checkpoint that is there to stay.

    Raises StoreError where Redis or the folder cannot be read, OSError where the disk takes no more. What was
    written by then stays and counts.
    """
    written: list[Path] = []
    fulls = reads.full_positions(client, keys)
    after = archived_until(folder, keys.venue)
    settled_ms = read_commit(client, keys).as_of_ms - settled_after_ms(client)
    due = [position for position in fulls if position > after and position.ms <= settled_ms]
    if due and not reads.holds_after(client, keys, after):
        log.warning("segments begin anew: what was before has left Redis", venue=keys.venue, position=str(due[0]))
        after = due.pop(0)
    for last in due:
        header = Header(format=FORMAT, venue=keys.venue, after=str(after), last=str(last), epoch=epoch)
        record = _state_at(client, keys, folder, after, fulls.get(after)) if after != START else None
        written.append(write_segment(folder, header, record, _stretch(client, keys, after, last)))
        after = last
    return written


def _state_at(client: SyncClient, keys: VenueKeys, folder: Path, after: Position, name: str | None) -> bytes:
    """The checkpoint at a position: the one in Redis under this name, else refolded from the segment before.

    Raises StoreError where neither is there and sound.
    """
    record = reads.checkpoint(client, keys, name) if name is not None else None
    if record is not None:
        try:
            position_of(record)
            return record
        except CorruptRecordError as exc:
            log.warning("checkpoint damaged, refolding it from segments", venue=keys.venue, reason=str(exc))
    return Past(client, keys, folder).state_at(after)


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
        self._reel = Reel(self._client, self._keys, folder)
        self._minutes = MinuteBook(self._client, self._keys, folder)
        self._tens = MinuteBook(self._client, self._keys, folder, BY_TENS)
        self._epoch: int | None = None
        self._seen = 0
        self._wake = threading.Event()
        self._halt = False
        self.until = START
        self.failures = 0

    def owned(self, epoch: int) -> None:
        """From now on write under this epoch; look at once."""
        self._epoch = epoch
        self._wake.set()

    def seen(self, full_checkpoints: int) -> None:
        """Look at once where a full checkpoint has been committed since: so many were, of this owner's."""
        if full_checkpoints != self._seen:
            self._seen = full_checkpoints
            self._wake.set()

    def stop(self) -> None:
        """End after the segment that is being written."""
        self._halt = True
        self._epoch = None
        self._wake.set()

    def run(self) -> None:
        """Look when woken, when something is due, and once a minute; after trouble again in 5 s."""
        wait_s, look_s = _WAIT_S, 0.0
        while not self._halt:
            woken = self._wake.wait(wait_s)
            self._wake.clear()
            epoch, wait_s = self._epoch, _WAIT_S
            if epoch is None:
                continue
            if woken or time.monotonic() >= look_s:
                look_s = time.monotonic() + self._look(epoch)
            wait_s = max(0.0, min(self._keep_tens(epoch), look_s - time.monotonic()))
        self._client.close()

    def _keep_tens(self, epoch: int) -> float:
        """Keep the standings of these ten seconds; returns in how many seconds the next ones are due.

        Trouble is told once a minute, by _look: these are kept for an hour only.
        """
        step_ms = BY_TENS.step_ms
        try:
            with store_errors():
                now_ms = server_ms(self._client)
            self._tens.keep(epoch, now_ms)
        except (RacingError, OSError) as exc:
            log.debug("standings of ten seconds not written", venue=self._keys.venue, reason=str(exc))
            return step_ms / 1000
        return (step_ms - now_ms % step_ms) / 1000 + _LOOK_MIN_S

    def _look(self, epoch: int) -> float:
        """Look once; returns in how many seconds to look again by itself."""
        venue = self._keys.venue
        try:
            for path in archive(self._client, self._keys, self._folder, epoch):
                METRICS.count("saima_segments_total", venue)
                log.info("segment written", venue=venue, file=path.name, size_bytes=path.stat().st_size)
            self.until = archived_until(self._folder, venue)
            with store_errors():
                now_ms = server_ms(self._client)
            METRICS.count("saima_kept_frames_total", venue, self._reel.keep(epoch, now_ms))
            self._minutes.keep(epoch, now_ms)
            return min(self._due_s(now_ms), (MINUTE_MS - now_ms % MINUTE_MS) / 1000 + _LOOK_MIN_S)
        except (RacingError, OSError) as exc:
            log.warning("segment or frames not written, the log is not trimmed meanwhile", venue=venue, reason=str(exc))
        except Exception:
            log.exception("unexpected error, the log is not trimmed meanwhile", venue=venue)
        self.failures += 1
        METRICS.count("saima_segment_failures_total", venue)
        return _RETRY_S

    def _due_s(self, now_ms: int) -> float:
        """How long until the next full checkpoint is there to stay."""
        fulls = reads.full_positions(self._client, self._keys)
        waiting = [position.ms for position in fulls if position > self.until]
        if not waiting:
            return _WAIT_S
        due_s = (min(waiting) + settled_after_ms(self._client) - now_ms) / 1000
        return min(max(due_s, 0.0) + _LOOK_MIN_S, _WAIT_S)
