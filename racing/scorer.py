"""The loop: lease, read, fold, commit, publish; one thread per venue, one writer per venue at a time.

Light load: a batch is one event. Heavy load: what has arrived while the last commit ran is folded and committed
at once, so batches grow by themselves. After any conflict the race in memory is dropped and restored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog

from racing.entries import Entry
from racing.errors import (
    CorruptRecordError,
    FencedError,
    NewerFormatError,
    RacingError,
    StoreError,
    UnrestorableError,
)
from racing.metrics import METRICS
from racing.model import START, Frame, Position
from racing.race import Race
from racing.settings import Settings
from racing.store import reads
from racing.store.answers import AnswersAge
from racing.store.archive import ArchiveThread
from racing.store.checkpoints import Chain, check_name, is_full, misnamed
from racing.store.client import BLOCK_MAX_MS, connect, server_ms, store_errors
from racing.store.commit import Batch, CommitRecord, Committer, frames_kept, last_frame, log_damage, read_commit
from racing.store.crew import Trouble, VenueReport
from racing.store.hashes import mend_hashes
from racing.store.held import HeldWriter
from racing.store.keys import VenueKeys
from racing.store.links import lost_link
from racing.store.log import append_tick, first_position, read_after
from racing.store.mend import both, mark_checked, mend, relog, unchecked_run
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.relief import MemoryWatch, relieve
from racing.store.scripts import source
from racing.store.sets import SetWriter, everything

log = structlog.get_logger("saima.scorer")

HEARTBEAT_MS = 500
"""A commit is written at least this often, so that readers know how fresh their frame is."""
_CLOCK_MARGIN_MS = 2
"""A tick must not come before its step by the server's clock, which is known to a millisecond or so."""
_BACK_MS = 50
"""A clock that is so far behind the last commit has been set back: reading it anew may show some ms less, not more."""
_RETRY_S = 0.25
_REFUSED_S = 2.0
"""Between two tries at a venue that an operator must mend, or a newer process race: one line of log each."""
_ASK_S = 0.05
"""Between two questions for a lease that another process holds: so late a handed-over venue starts at most."""
_EAGER_S = 5.0
"""Who has not got the lease by then asks less often: somebody races who knows nothing of shares."""
_PACES_PER_FRAME = 4
"""While entries keep coming they are read so often per frame_ms: more often would show no reader anything sooner, and
a commit costs as much for one event as for thousands. What comes after a pause is read at once."""
_LEASES_PER_TERM = 3
_TROUBLE_MAX = 300
"""Characters kept of an error for the operators' view."""


class VenueScorer:
    """One venue's race and its commits, from take-over until it is fenced. Time comes in as arguments."""

    def __init__(
        self,
        client: SyncClient,
        keys: VenueKeys,
        settings: Settings,
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over and restore. meanwhile: called after each read of log and sets, so that the lease can be kept."""
        self._client = client
        self._keys = keys
        self._settings = settings
        self._committer = Committer(client, keys, frames_max=frames_kept(settings.frame_ms))
        record = self._committer.take_over()
        self._unchecked_run = unchecked_run(client, keys)
        self.race, self._chain, self._sets = restore(
            client,
            keys,
            record,
            segments=settings.segments_folder,
            check_sets=record.compare or self._unchecked_run is not None,
            meanwhile=meanwhile,
        )
        self._damaged = log_damage(self.race.position, self.race.log_sum, record) is not None
        if self._unchecked_run is not None and (lost := lost_link(client, keys, self.race.position)):
            log.error("log damaged, going on with what is left of it", venue=keys.venue, reason=lost)
            self._damaged = True
        compare = record.compare or self._unchecked_run is not None
        if compare and not self._damaged:
            hashes = mend_hashes(
                client,
                keys,
                self.race,
                partial(Past(client, keys, settings.segments_folder).decisions, gaps=True),
                meanwhile=meanwhile,
            )
            if hashes.mended or hashes.left:
                log.error("hashes damaged, mended from the log", venue=keys.venue, **asdict(hashes))
        if self._damaged:
            again = relog(client, keys, self.race)
            log.error("decisions that were damaged are logged again", venue=keys.venue, **asdict(again))
        self._held = HeldWriter(keys)
        self._answers = AnswersAge(keys, settings.idempotency_ms, record.answers_ms)
        self._frame = last_frame(client, keys)
        self._published_ms = self._committed_ms = 0
        self._moved = True
        self.archived: Position | None = None
        """Up to where segment files hold the log, which is trimmed no further; None: there are no such files."""
        self.full_checkpoints = 0
        """Full checkpoints that this owner has committed."""
        self.pressed = False
        """Whether the server fills up: then the log keeps two windows, whatever is set."""
        self.tight = False
        """Whether it is so full that events are refused: then the log goes as soon as it is two windows old."""

    @property
    def epoch(self) -> int:
        """The epoch that this owner commits under."""
        return self._committer.last.epoch

    def close(self) -> None:
        """Let go of what is watched; call it when the owner ends, whatever ended it."""
        self._committer.close()

    def step(self, entries: list[Entry], now_ms: int) -> CommitRecord | None:
        """Fold what was read and commit it; None when there was nothing to write.

        Call with entries read after ``race.position``. Raises FencedError or StoreError, after which this
        object is void. What was not committed is not lost: it is in the log, and the next owner folds it.
        """
        if now_ms < self._committed_ms - _BACK_MS:
            self._clock_went_back()
        if not entries and not self._due(now_ms):
            return None
        self._committer.begin()
        self.race.apply(entries)
        if entries:
            self._moved = True
        METRICS.set("saima_commit_entries", self._keys.venue, len(entries))
        batch = self._batch(now_ms, caught_up=not entries)
        record = self._committer.commit(batch)
        self._committed_ms = now_ms
        self._damaged = False
        self.full_checkpoints += batch.checkpoint is not None and is_full(batch.checkpoint[0])
        if self._unchecked_run is not None and batch.compared:
            mark_checked(self._client, self._keys, self._unchecked_run)
            self._unchecked_run = None
        if batch.frame is not None:
            self._frame, self._published_ms, self._moved = batch.frame, now_ms, False
            METRICS.count("saima_frames_total", self._keys.venue)
        return record

    def wait_ms(self, now_ms: int) -> int:
        """How long nothing is due: the reader may block so long for the next entry."""
        due_ms = self._committed_ms + HEARTBEAT_MS
        sets_ms = self._sets.due_ms()
        if sets_ms is not None:
            due_ms = min(due_ms, sets_ms)
        if self._moved:
            due_ms = min(due_ms, self._published_ms + self._settings.frame_ms)
        if (step_ms := self._step_ms()) is not None:
            due_ms = min(due_ms, step_ms + _CLOCK_MARGIN_MS)
        return max(0, min(due_ms - now_ms, BLOCK_MAX_MS))

    def pause_ms(self, now_ms: int) -> int:
        """How long to let entries gather after a step that had some; not beyond the next frame or step of time."""
        pace_ms = self._settings.frame_ms // _PACES_PER_FRAME
        due_ms = min(self._committed_ms + pace_ms, self.race.next_step_ms())
        if self._moved:
            due_ms = min(due_ms, self._published_ms + self._settings.frame_ms)
        return max(0, min(due_ms - now_ms, pace_ms))  # at most, also when the server's clock has just gone back

    def tick_due(self, now_ms: int) -> bool:
        """Whether a step is due that no entry has brought: then a tick must be appended.

        A race without live cells moves by events and what is scheduled, and needs no other ticks; but only a checkpoint
        lets the log go, so time moves on where room is wanted.
        """
        step_ms = self._step_ms()
        return step_ms is not None and now_ms >= step_ms + _CLOCK_MARGIN_MS

    def _step_ms(self) -> int | None:
        """The moment of the next tick, if no entry comes before; None for none."""
        return self.race.next_step_ms() if self.pressed else self.race.due_ms()

    def _clock_went_back(self) -> None:
        """Make everything due at once: moments that the server's clock has yet to reach again pace nothing."""
        self._published_ms = self._committed_ms = 0
        self._sets.clock_went_back()

    def _due(self, now_ms: int) -> bool:
        frame_due = self._moved and now_ms - self._published_ms >= self._settings.frame_ms
        sets_ms = self._sets.due_ms()
        sets_due = sets_ms is not None and now_ms >= sets_ms
        return frame_due or sets_due or now_ms - self._committed_ms >= HEARTBEAT_MS

    def _batch(self, now_ms: int, *, caught_up: bool) -> Batch:
        race = self.race
        batch = Batch(
            position=race.position,
            sets_position=race.position,
            as_of_ms=now_ms if caught_up else race.moment_ms,
            damaged=self._damaged,
            counts=msgspec.structs.asdict(race.counts),
            frame=self._next_frame(now_ms),
        )
        if race.checkpoint_due:
            apart_ms = 2 * race.rule.window_ms
            wanted = self._chain.full_wanted(race.moment_ms, apart_ms, pressed=self.pressed, tight=self.tight)
            record, full = race.checkpoint(full=wanted)
            name, batch.gone = self._chain.add(race.position, len(record), full=full, archived=self.archived)
            batch.checkpoint = (name, record)
            batch.trim_ms = self._trim_ms() if full else None
        if self.pressed:
            batch.gone = [*batch.gone, *self._chain.prune(self.archived)]
            batch.trim_ms = self._trim_ms()
        batch.log_sum = race.log_sum
        batch.answers_ms, aside = self._answers.take()
        batch.set_commands = [*aside, *self._held.take(race), *self._sets.take(race, now_ms)]
        batch.sets_position = self._sets.complete
        batch.compared = self._sets.whole
        METRICS.set("saima_sets_pending_members", self._keys.venue, self._sets.pending(race))
        METRICS.set("saima_remembered_ids", self._keys.venue, race.remembered_ids)
        self._tell_board(batch.frame)
        return batch

    def _tell_board(self, frame: Frame | None) -> None:
        if frame is None:
            return
        venue, churn = self._keys.venue, self.race.churn
        METRICS.set("saima_board_conflicts", venue, frame.conflicts)
        METRICS.set("saima_board_moved_slots", venue, churn.moved)
        METRICS.set("saima_board_moved_slots_without", venue, churn.moved_without)
        METRICS.set("saima_board_given_up_score", venue, churn.given_up)

    def _trim_ms(self) -> int | None:
        """The log before this moment may go: no record needs it, it is old enough, and segment files hold it."""
        trim_ms, race = self._chain.trim_ms(), self.race
        if trim_ms is None or self.archived == START:
            return None
        kept_ms = max(0 if self.pressed else 1000 * self._settings.log_keep_s, 2 * race.rule.window_ms)
        trim_ms = min(trim_ms, race.moment_ms - kept_ms)
        return trim_ms if self.archived is None else min(trim_ms, self.archived.ms)

    def _next_frame(self, now_ms: int) -> Frame | None:
        """The frame to publish now, if one is due and the board shows something else than the last one."""
        if not self._moved or now_ms - self._published_ms < self._settings.frame_ms:
            return None
        race, before = self.race, self._frame
        frame = Frame(
            venue=self._keys.venue,
            frame=self._committer.last.frame + 1,
            epoch=self._committer.last.epoch,
            position=str(race.position),
            at_ms=race.moment_ms,
            rule_version=race.rule_version,
            runners=len(race.products),
            roster=race.roster.entries,
            **race.shown()._asdict(),
        )
        self._moved = False
        if before is not None and before.shows() == frame.shows():
            return None
        return frame


def restore(
    client: SyncClient,
    keys: VenueKeys,
    record: CommitRecord,
    *,
    segments: Path | None = None,
    check_sets: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Race, Chain, SetWriter]:
    """The race as the commit record left it: last full checkpoint, its parts, and the log after them.

    A damaged checkpoint is passed over for the oldest sound one, the log making up for it, or for segment files. The
    log is told from what was committed by its checksum: segment files make up for damaged entries that they hold, the
    others are passed over and counted. Raises StoreError where neither suffices. check_sets: compare the sorted sets,
    and write them anew where one is wrong; FencedError where that cannot be told, for another owner has taken over.
    """
    past = Past(client, keys, segments)
    race, chain = begun(client, keys, past)
    begun_at = race.position
    sets = SetWriter(keys, Position.parse(record.sets_position))
    stale = race.position > sets.complete
    lost = record.position == str(START)  # the commit record is new, or was lost: then files may hold more
    last = past.archived_until if lost else Position.parse(record.position)
    _fold_up(race, past.between(race.position, last, owner=True), sets, meanwhile)
    damage = log_damage(race.position, race.log_sum, record)
    if damage and past.archived_until > begun_at:
        log.error("log damaged, reading segment files instead", venue=keys.venue, reason=damage)
        race, chain = begun(client, keys, past)
        _fold_up(race, past.between(race.position, last), sets, meanwhile)
        damage = log_damage(race.position, race.log_sum, record)
    pending = race.take_changes()
    if damage:
        log.error("log damaged, going on with what is sound of it", venue=keys.venue, reason=damage)
    if stale or damage:
        pending = everything(race)
    check = check_sets or damage
    wrong, removals = mend(client, keys, race, pending, meanwhile=meanwhile) if check else (0, ())
    if wrong:
        if read_commit(client, keys) != record:  # then the next owner has written to them while they were read
            raise FencedError(f"venue {keys.venue}: another owner has taken over")
        log.error("sorted sets damaged, writing them anew", venue=keys.venue, members=wrong)
        pending = both(pending, everything(race))
    sets.begin(pending, race, removals)
    return race, chain, sets


def _fold_up(race: Race, past: Iterable[list[Entry]], sets: SetWriter, meanwhile: Callable[[], None]) -> None:
    """Fold batches of entries; changes up to where the sets are complete are not to be written again."""
    for entries in past:
        written = [entry for entry in entries if entry.position <= sets.complete]
        race.apply(written)
        if written:
            race.take_changes()
        race.apply(entries[len(written) :])
        meanwhile()


def begun(client: SyncClient, keys: VenueKeys, past: Past) -> tuple[Race, Chain]:
    """The race at the newest sound checkpoint that leads on to the present, and the chain that goes on from it."""
    kept = reads.checkpoints(client, keys)
    chain = Chain.of(kept, reads.checkpoint_names(client, keys)[1])
    try:
        if names := chain.latest():
            race = Race.restore([kept[name] for name in names])
            check_name(names[-1], race.position)
            return race, chain
        if not past.segments and first_position(client, keys) is None:
            return Race(), chain
    except CorruptRecordError as exc:
        log.error("checkpoint damaged, going back to a sound one", venue=keys.venue, reason=str(exc))  # noqa: TRY400  # said whole
    return past.sound_race(), Chain(strays=[*chain.strays, *misnamed(kept)])


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
