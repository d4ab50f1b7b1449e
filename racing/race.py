"""The fold: one venue's whole state, and apply(), the only thing that changes it.

entry -> Race.apply -> windows -> scores -> board. Time moves only by entries; nothing here knows Redis, a
clock or chance, so the same log gives the same bits on any machine, however its entries were batched.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from racing.board import Leaders
from racing.cells import MEASURES_MAX, runners_of
from racing.columns import Array, pack, unpack
from racing.entries import Body, Enrolment, Entry, RuleChange, Unreadable
from racing.errors import CorruptRecordError, RuleError
from racing.events import EventBatch
from racing.formula import FORMULA, Formula, Held, Sums, formula_of
from racing.intake import Arrived, Counts, Intake, Span, counts_of
from racing.marks import Collected, Distinct
from racing.model import KINDS_MAX, START, FloatArray, IntArray, Position, Slot, Term
from racing.roster import Roster
from racing.rule import DEFAULT_RULE, AttributeTerm, Rule, parse_rule
from racing.windows import Windows

_SCORED_AT_ONCE = 65_536
"""Runners scored in one go at a bucket boundary: bounds the temporaries."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What moved since it was last asked for: runners with a new score, cells with a new sum."""

    runners: IntArray
    keys: IntArray


class Race:
    """One venue's state. Sums, ids and counts are exact; scores are a pure function of them."""

    def __init__(self) -> None:
        self.rule: Rule = DEFAULT_RULE
        self.rule_version = 0
        self.formula_version = FORMULA
        self.position: Position = START
        self.moment_ms = 0
        self.roster = Roster()
        self.windows = Windows(window_ms=self.rule.window_ms, bucket_ms=self.rule.bucket_ms)
        self.held = Held(np.zeros(MEASURES_MAX, np.int64), np.zeros(MEASURES_MAX, np.int64))
        self.scores: FloatArray = np.zeros(0)
        self.log_sum: int | None = 0
        """crc32 of the marks of all entries folded since the log began; None after a checkpoint that knew it not."""
        self.checkpoint_due = False
        self._full_due = True
        self._recorded: Position = START
        self._intake = Intake()
        self._score_room: FloatArray = np.zeros(0)
        self._formula = self._compiled()
        self._leaders = Leaders(self.rule.board.slots)
        self._distinct = Distinct()
        self._changed = Collected()

    @property
    def products(self) -> list[str]:
        """Product by runner number."""
        return self.roster.products

    @property
    def kinds(self) -> dict[str, int]:
        """Event kinds that the race keeps measures for, by name."""
        return self._intake.kinds

    @property
    def counts(self) -> Counts:
        """What became of every event and entry so far."""
        return self._intake.counts

    @property
    def remembered_ids(self) -> int:
        """How many event ids are remembered."""
        return len(self._intake.ids)

    # -- the fold ------------------------------------------------------------------------------------

    def apply(self, entries: Iterable[Entry]) -> None:
        """Fold entries in log order. Any split of a log into calls gives the same state, bit for bit.

        Entries not after ``position`` are passed over, so that folding a batch again changes nothing.
        """
        waiting: list[Arrived] = []
        for entry in entries:
            if entry.position <= self.position:
                continue
            moment_ms, body = entry.position.ms, entry.body
            if waiting and (not isinstance(body, EventBatch) or moment_ms >= self.windows.next_step_ms()):
                self._count(waiting)
                waiting = []
            self._advance(moment_ms)
            self.position = entry.position
            if self.log_sum is not None:
                self.log_sum = zlib.crc32(entry.mark, self.log_sum)
            if isinstance(body, EventBatch):
                waiting.append((moment_ms, body))
            else:
                self._decide(body)
        if waiting:
            self._count(waiting)

    def next_step_ms(self) -> int:
        """The first moment at which the race moves by itself: a tick is due then."""
        return self.windows.next_step_ms()

    def _advance(self, moment_ms: int) -> None:
        """Let time reach a moment: sums move by steps, and at a bucket boundary the venue's own sums are held anew."""
        self.moment_ms = moment_ms
        bucket, tenths = self.windows.place(moment_ms)
        if bucket == self.windows.bucket:
            if tenths != self.windows.tenths:
                self._score_runners(self._runners_of(self.windows.move(bucket, tenths)))
            return
        self.held = Held(*self.windows.venue_sums(bucket))
        touched = self.windows.move(bucket, tenths)
        self._intake.ids.purge(moment_ms)
        self._formula = self._compiled()
        self.checkpoint_due = True
        # every runner with a sum in the windows, or that just lost its last: all whose score can differ
        self._score_runners(self.windows.active(len(self.roster), touched))

    def _count(self, batches: Sequence[Arrived]) -> None:
        """Count the events of entries that lie within one step, in log order."""
        windows = self.windows
        span = Span(windows.bucket_ms, windows.oldest, windows.bucket)
        cells = self._intake.take(batches, runners=len(self.roster), span=span, rule=self.rule)
        if len(cells.key):
            windows.grow(len(self.roster), 2 * len(self.kinds))
            windows.add(cells.bucket, cells.key, cells.value)
            self._score_runners(self._runners_of(cells.key))

    def _runners_of(self, keys: IntArray) -> IntArray:
        """The runners of these cells, each once."""
        return self._distinct.of(runners_of(keys), len(self.roster))

    def _decide(self, body: Body) -> None:
        if isinstance(body, RuleChange):
            self._change_rule(body)
        elif isinstance(body, Enrolment):
            self._enrol(body)
        elif isinstance(body, Unreadable):
            self.counts.unreadable += 1

    def _enrol(self, enrolment: Enrolment) -> None:
        if not enrolment.follows(len(self.roster)):
            self.counts.unreadable += 1
            return
        self.roster.entries += 1
        for number, runner in enrolment.runners:
            self.roster.enrol(number, runner.product, runner.numbers())
        self._grow()
        self._score_runners(np.unique(np.array([number for number, _ in enrolment.runners], np.int64)), shown=True)

    def _grow(self) -> None:
        """Room for the sums and scores of all who are enrolled; amortised by doubling."""
        runners = len(self.roster)
        self.windows.grow(runners, 2 * len(self.kinds))
        if runners > len(self._score_room):
            grown = np.zeros(max(runners, 2 * len(self._score_room)))
            grown[: len(self.scores)] = self.scores
            self._score_room = grown
        self.scores = self._score_room[:runners]

    def _change_rule(self, change: RuleChange) -> None:
        try:
            rule = parse_rule(change.rule)
        except RuleError:
            self.counts.unreadable += 1  # refused at the door; only a damaged log can bring it here
            return
        if len(self.kinds.keys() | rule.kinds()) > KINDS_MAX:
            self.counts.unreadable += 1  # no room for the measures that it needs
            return
        self._set_rule(rule, change.version, change.formula)
        self._score_runners(np.arange(len(self.roster)), shown=True)

    def _set_rule(self, rule: Rule, version: int, formula: int) -> None:
        formula_of(formula)  # refused before anything changes
        self._intake.kind_table(sorted(rule.kinds() - set(self.kinds)))
        if (rule.window_ms, rule.bucket_ms) != (self.rule.window_ms, self.rule.bucket_ms):
            old = self.windows
            self.windows = old.recut(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms, moment_ms=self.moment_ms)
            self._intake.ids.recut(old)
            self.held = Held(*self.windows.venue_sums(self.windows.bucket))
            self._full_due = self.checkpoint_due = True
        self.rule, self.rule_version, self.formula_version = rule, version, formula
        self._grow()
        self._formula = self._compiled()
        self._leaders = Leaders(rule.board.slots)

    def _compiled(self) -> Formula:
        """The rule's terms as the formula that it names, for the sums held now."""
        return formula_of(self.formula_version)(self.rule, self.kinds, self.held)

    # -- scores --------------------------------------------------------------------------------------

    def _score_runners(self, runners: IntArray, *, shown: bool = False) -> None:
        """Score runners, each once, from their sums; shown: take them for changed whatever their score."""
        for start in range(0, len(runners), _SCORED_AT_ONCE):
            some = runners[start : start + _SCORED_AT_ONCE]
            scores = self._formula.scores(self.sums(some))
            changed = some if shown else some[scores != self.scores[some]]
            self.scores[some] = scores
            if len(changed):
                self._changed.add(changed, len(self.roster))
                self._leaders.update(changed, self.scores)

    def sums(self, runners: IntArray) -> Sums:
        """The sums from which these runners are scored; copies."""
        named = {term.attribute for term in self.rule.terms if isinstance(term, AttributeTerm)}
        total = self.windows.total_rows(runners) if self._formula.totals else None
        attributes = {name: self.roster.values(name, runners) for name in named}
        return Sums(*self.windows.rows(runners), total, attributes)

    # -- what is shown -------------------------------------------------------------------------------

    def order(self) -> IntArray:
        """The numbers of the best runners in standing order, one per slot. Cost: one sort of the leaders."""
        return self._leaders.best(self.scores)

    def slots(self) -> tuple[Slot, ...]:
        """The board as it stands: the best runners in standing order, each with its terms."""
        runners = self.order()
        formula = self._formula
        signals = [values.tolist() for values in formula.signals(self.sums(runners))]
        return tuple(
            Slot(
                slot=index + 1,
                runner=runner,
                product=self.products[runner],
                score=float(self.scores[runner]),
                terms=tuple(
                    Term(name, weight, values[index], weight * values[index])
                    for name, weight, values in zip(formula.names, formula.weights, signals, strict=True)
                ),
            )
            for index, runner in enumerate(runners.tolist())
        )

    def take_changes(self) -> Changes:
        """Runners and cells that moved since the last call, each once, sorted."""
        return Changes(self._changed.take(), self.windows.take_changed())

    @property
    def changed(self) -> int:
        """How many scores and sums have moved since take_changes."""
        return len(self._changed) + self.windows.changed

    # -- checkpoints ---------------------------------------------------------------------------------

    def checkpoint(self, *, full: bool = False) -> tuple[bytes, bool]:
        """(record, whether it is full): all that was folded since the last record, or everything.

        A race is restored from the last full record and those after it. A record is full when asked
        for, the first time, and when the buckets were cut anew. One that is not names the record that it goes on from.
        """
        full = full or self._full_due
        if full and self.log_sum is None:
            self.log_sum = 0  # from here on
        header = {
            "full": full,
            "position": str(self.position),
            "after": None if full else str(self._recorded),
            "log_sum": self.log_sum,
            "rule_version": self.rule_version,
            "formula": self.formula_version,
            "rule": self.rule.model_dump(mode="json", exclude_none=True),
            "kinds": list(self.kinds),
            "counts": msgspec.to_builtins(self.counts),
            "enrolments": self.roster.entries,
            "runners": self.roster.save(full=full),
        }
        columns = {
            **self.windows.save(full=full),
            "held_now": self.held.now,
            "held_before": self.held.before,
            **self._intake.ids.save(full=full),
        }
        self.checkpoint_due = self._full_due = False
        self._recorded = self.position
        return pack(header, columns), full

    @classmethod
    def restore(cls, records: Sequence[bytes]) -> Race:
        """The race as it stood at the last record: a full one and those after it, in order; a new race of none.

        Raises CorruptRecordError where a record is damaged or missing or the first one is not full, NewerFormatError
        where a newer Saima has written it.
        """
        race = cls()
        for index, record in enumerate(records):
            header, columns = unpack(record)
            try:
                if index == 0 and not header["full"]:
                    raise CorruptRecordError("the first checkpoint to restore from is not a full one")
                after = None if header["full"] else header.get("after")  # older ones name none
                if after not in {None, str(race.position)}:
                    raise CorruptRecordError(f"the checkpoint before {header['position']}, at {after}, is missing")
                race._load(header, columns)
            except (KeyError, ValueError, TypeError, IndexError, msgspec.MsgspecError) as exc:
                raise CorruptRecordError(f"checkpoint {index} is not one of a race: {exc!r}") from exc
        race._score_runners(np.arange(len(race.roster)), shown=True)
        race.take_changes()
        race.checkpoint_due = False
        race._full_due, race._recorded = not records, race.position
        return race

    def _load(self, header: dict[str, Any], columns: dict[str, Array]) -> None:
        wide = {
            name: values if values.dtype == np.uint64 else values.astype(np.int64) for name, values in columns.items()
        }
        self.position = Position.parse(header["position"])
        self.moment_ms = self.position.ms
        self._intake.kind_table(header["kinds"])
        self.log_sum = header.get("log_sum")
        self._intake.counts = counts_of(header["counts"])
        self.roster.load(header["runners"])
        self.roster.entries = header["enrolments"]
        rule = parse_rule(header["rule"])
        if header["full"]:
            self.windows = Windows(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms)
            self.rule = rule  # the buckets come as this rule cuts them: nothing is to be cut anew
        self._grow()
        self.windows.move(*self.windows.place(self.moment_ms))
        self.windows.load(wide)
        self._intake.ids.load(wide)
        self._intake.ids.purge(self.moment_ms)
        self.held = Held(wide["held_now"], wide["held_before"])
        self._set_rule(rule, header["rule_version"], header.get("formula", 1))
