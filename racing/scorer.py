"""One venue's race and its commits: what was read is folded, committed and published. Time comes in as arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import msgspec
import structlog

from racing.entries import Entry
from racing.metrics import METRICS
from racing.model import START, Frame, Position
from racing.restoring import restore
from racing.settings import Settings
from racing.store.answers import AnswersAge
from racing.store.checkpoints import is_full
from racing.store.client import BLOCK_MAX_MS
from racing.store.commit import Batch, CommitRecord, Committer, frames_kept, last_frame, log_damage
from racing.store.hashes import mend_hashes
from racing.store.held import HeldWriter
from racing.store.keys import VenueKeys
from racing.store.links import lost_link
from racing.store.mend import mark_checked, relog, unchecked_run
from racing.store.past import Past
from racing.store.protocol import SyncClient

log = structlog.get_logger("saima.scorer")

HEARTBEAT_MS = 500
"""A commit is written at least this often, so that readers know how fresh their frame is."""
_CLOCK_MARGIN_MS = 2
"""A tick must not come before its step by the server's clock, which is known to a millisecond or so."""
_BACK_MS = 50
"""A clock that is so far behind the last commit has been set back: reading it anew may show some ms less, not more."""
_PACES_PER_FRAME = 4
"""While entries keep coming they are read so often per frame_ms: more often would show no reader anything sooner, and
a commit costs as much for one event as for thousands. What comes after a pause is read at once."""


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
