"""The owner of a venue: one thread that holds its lease, reads its log, and has it folded and committed.

Light load: a batch is one event. Heavy load: what has arrived while the last commit ran is folded and committed
at once, so batches grow by themselves. After any conflict the race in memory is dropped and restored.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass

import structlog

from racing.errors import FencedError, NewerFormatError, RacingError, StoreError, UnrestorableError
from racing.metrics import METRICS
from racing.scorer import VenueScorer
from racing.settings import Settings
from racing.store.archive import ArchiveThread
from racing.store.client import BLOCK_MAX_MS, connect, server_ms, store_errors
from racing.store.commit import CommitRecord
from racing.store.crew import Trouble, VenueReport
from racing.store.keys import VenueKeys
from racing.store.log import append_tick, read_after
from racing.store.protocol import SyncClient
from racing.store.relief import MemoryWatch, relieve
from racing.store.scripts import source

log = structlog.get_logger("saima.scorer")

_RETRY_S = 0.25
_REFUSED_S = 2.0
"""Between two tries at a venue that an operator must mend, or a newer process race: one line of log each."""
_ASK_S = 0.05
"""Between two questions for a lease that another process holds: so late a handed-over venue starts at most."""
_EAGER_S = 5.0
"""Who has not got the lease by then asks less often: somebody races who knows nothing of shares."""
_LEASES_PER_TERM = 3
_TROUBLE_MAX = 300
"""Characters kept of an error for the operators' view."""


@dataclass
class _Clock:
    """The server's clock as this process sees it: its own monotonic one plus an offset, read now and then."""

    offset_ms: float = 0.0

    def set(self, client: SyncClient) -> None:
        before = time.monotonic()
        with store_errors():
            at_ms = server_ms(client)
        self.offset_ms = at_ms - (before + time.monotonic()) / 2 * 1000

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000 + self.offset_ms)


class _LetGoError(RacingError):
    """The venue is no longer ours: we give it up, or have lost its lease."""


class VenueThread(threading.Thread):
    """Runs one venue for as long as this process holds its lease; restores after every conflict.

    report: how the venue stands here. trouble: the last error met. Both are replaced or written field by field,
    and may be read by any thread.
    """

    def __init__(self, url: str, venue: str, name: str, settings: Settings) -> None:
        super().__init__(name=f"venue-{venue}", daemon=True)
        self._keys = VenueKeys(venue)
        self._owner = name
        self._settings = settings
        self._memory = MemoryWatch(settings.memory_mb)
        self._client = connect(url, venue=venue)
        self._reader = connect(url, venue=venue, block_ms=BLOCK_MAX_MS)
        self._clock = _Clock()
        self._leased_ms = 0
        self._halt = threading.Event()
        self.report = VenueReport()
        self.trouble: Trouble | None = None
        self.conflicts = 0
        folder = settings.segments_folder
        self._archive = ArchiveThread(url, venue, folder) if folder is not None else None

    def stop(self) -> None:
        """Ask the thread to end after its present step and to give up the lease; join() waits for it."""
        self._halt.set()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._halt.is_set()

    def run(self) -> None:
        """Hold, restore, step, and again, until stopped."""
        if self._archive is not None:
            self._archive.start()
        eager_s = time.monotonic() + _EAGER_S
        while not self._halt.is_set():
            well = self._turn()
            self._halt.wait(_ASK_S if well and time.monotonic() < eager_s else _RETRY_S)
        self._drop()

    def _turn(self) -> bool:
        """Race once if the lease is free; returns whether all went as it should."""
        venue = self._keys.venue
        try:
            self._clock.set(self._client)
            if self._hold():
                self._race()
            return True
        except _LetGoError as exc:
            log.info("venue let go", venue=venue, reason=str(exc))
            return True
        except FencedError as exc:
            METRICS.count("saima_conflicts_total", venue)
            self.conflicts += 1
            log.warning("fenced, restoring", venue=venue, reason=str(exc))
            self._note(exc)
        except NewerFormatError as exc:
            log.error("left to a newer scorer", venue=venue, reason=str(exc))  # noqa: TRY400  # said whole
            self._note(exc)
            self._give_up()
            self._halt.wait(_REFUSED_S)
        except UnrestorableError as exc:
            log.error("race cannot be restored, retrying", venue=venue, reason=str(exc))  # noqa: TRY400  # said whole
            self._note(exc)
            self._halt.wait(_REFUSED_S)
        except StoreError as exc:
            log.warning("store trouble, retrying", venue=venue, reason=str(exc))
            self._note(exc)
            self._relieve(str(exc))
        except RacingError as exc:
            log.error("race cannot be restored, retrying", venue=venue, reason=str(exc))  # noqa: TRY400  # said whole
            self._note(exc)
            self._halt.wait(_REFUSED_S)
        except Exception as exc:
            log.exception("unexpected error, restoring", venue=venue)
            self._note(exc)
        finally:
            self.report.state = "waiting"
        return False

    def _note(self, exc: Exception) -> None:
        self.trouble = Trouble(f"{type(exc).__name__}: {exc}"[:_TROUBLE_MAX], self._clock.now_ms())

    def _race(self) -> None:
        self.report.state = "restoring"
        scorer = VenueScorer(self._client, self._keys, self._settings, meanwhile=self._keep)
        with closing(scorer):
            self._race_on(scorer)

    def _race_on(self, scorer: VenueScorer) -> None:
        """Step until an error ends it."""
        venue = self._keys.venue
        METRICS.count("saima_takeovers_total", venue)
        if self._archive is not None:
            self._archive.owned(scorer.epoch)
        log.info("racing", venue=venue, position=str(scorer.race.position), runners=len(scorer.race.products))
        self.report.state, self.report.epoch = "racing", scorer.epoch
        while True:
            self._keep()
            now_ms = self._clock.now_ms()
            block_ms = min(scorer.wait_ms(now_ms), self._settings.lease_ms // _LEASES_PER_TERM)
            entries = read_after(self._reader, self._keys, scorer.race.position, block_ms=block_ms)
            begun_ms = self._clock.now_ms()
            if not entries and scorer.tick_due(begun_ms):
                append_tick(self._client, self._keys)
                continue
            if self._archive is not None:
                scorer.archived = self._archive.until
            scorer.pressed, scorer.tight = self._memory.pressed(self._client), self._memory.tight
            record = scorer.step(entries, begun_ms)
            if record is not None:
                self._tell(record, begun_ms)
                if self._archive is not None:
                    self._archive.seen(scorer.full_checkpoints)
            if entries:
                self._halt.wait(scorer.pause_ms(self._clock.now_ms()) / 1000)

    def _relieve(self, reason: str) -> None:
        """Where the server is too full for a commit, trim without one."""
        if "OOM" not in reason and "discarded" not in reason:
            return
        with suppress(RacingError):  # also where the rule that says what must stay is damaged
            gone = relieve(self._client, self._keys, None if self._archive is None else self._archive.until)
            log.warning("server full, log trimmed", venue=self._keys.venue, entries=gone)

    def _tell(self, record: CommitRecord, begun_ms: int) -> None:
        venue, now_ms = self._keys.venue, self._clock.now_ms()
        METRICS.count("saima_commits_total", venue)
        METRICS.observe("saima_commit_seconds", venue, (now_ms - begun_ms) / 1000)
        METRICS.set("saima_fold_lag_ms", venue, now_ms - record.as_of_ms)
        report = self.report
        report.commits, report.lag_ms, report.commit_ms = record.number, now_ms - record.as_of_ms, now_ms - begun_ms

    # -- lease ---------------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Whether this process holds the lease for certain: it asked less than a term ago, and the venue is on."""
        return self.report.state != "waiting" and self._clock.now_ms() - self._leased_ms < self._settings.lease_ms

    def _keep(self) -> None:
        """Renew the lease when it is due. Raises _LetGoError when it is lost, or the venue is to be given up."""
        if self._halt.is_set():
            raise _LetGoError("asked to stop")
        if self._clock.now_ms() - self._leased_ms > self._settings.lease_ms // _LEASES_PER_TERM:
            self._clock.set(self._client)
            if not self._hold():
                raise _LetGoError("another process holds the lease")

    def _hold(self) -> bool:
        asked_ms = self._clock.now_ms()
        with store_errors():
            held = self._client.eval(source("hold_lease"), 1, self._keys.lease, self._owner, self._settings.lease_ms)
        self._leased_ms = asked_ms
        return bool(held == 1)

    def _give_up(self) -> None:
        """Let another process have the venue; where Redis is away, the lease expires by itself."""
        with suppress(StoreError), store_errors():
            self._client.eval(source("drop_lease"), 1, self._keys.lease, self._owner)

    def _drop(self) -> None:
        if self._archive is not None:
            self._archive.stop()
        self._give_up()
        self._client.close()
        self._reader.close()
