"""The fold: one venue's whole state, and apply(), the only thing that changes it.

entry -> Race.apply -> windows -> scores -> board. Time moves only by entries; nothing here knows Redis, a
clock or chance, so the same log gives the same bits on any machine, however its entries were batched.
A race is made in layers, of which each knows only those before it: Tally, sums of events; Scored, scores of runners;
Steered, the desk's orders; and here the log, time and checkpoints.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import msgspec
import numpy as np

from racing.columns import Array, pack, unpack
from racing.entries import Body, Enrolment, Entry, OrdersChange, RuleChange, Unreadable
from racing.errors import CorruptRecordError, DocumentError, RuleError
from racing.events import EventBatch
from racing.formula import formula_of
from racing.intake import Arrived
from racing.marks import each_once
from racing.model import START, Explained, Position, Slot
from racing.orderbook import NEVER_MS
from racing.phases import RuleInForce
from racing.rule import parse_rule
from racing.segments import Drawing, Segment
from racing.showing import Shown, Sight
from racing.stability import GRID_MS, Memory
from racing.steered import Steered


class Race(Steered):
    """One venue's state. Sums, ids and counts are exact; scores are a pure function of them."""

    def __init__(self) -> None:
        super().__init__()
        self.position: Position = START
        self.log_sum: int | None = 0
        """crc32 of the marks of all entries folded since the log began; None after a checkpoint that knew it not."""
        self._recorded: Position = START
        self._cut_ms = 0  # nothing moves by itself before; events are not folded across it

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
            if waiting and (not isinstance(body, EventBatch) or moment_ms >= self._cut_ms):
                self._count(waiting)
                waiting = []
            if moment_ms >= self._cut_ms:
                self._advance(moment_ms)
            self.moment_ms, self.position = moment_ms, entry.position
            if self.log_sum is not None:
                self.log_sum = zlib.crc32(entry.mark, self.log_sum)
            if isinstance(body, EventBatch):
                waiting.append((moment_ms, body))
            else:
                self._decide(body)
        if waiting:
            self._count(waiting)

    def next_step_ms(self) -> int:
        """The first moment at which time alone may change something, were anything there to change."""
        return min(self.windows.next_step_ms(), self._scheduled_ms, self.memory.due_ms)

    def due_ms(self) -> int | None:
        """The first moment at which the race moves by itself: a tick is due then. None: only entries move it."""
        step_ms = self.windows.next_step_ms() if self.windows.buckets else NEVER_MS
        due_ms = min(step_ms, self._scheduled_ms, self.memory.due_ms)
        return None if due_ms == NEVER_MS else due_ms

    def _advance(self, moment_ms: int) -> None:
        """Let time reach a moment, stopping wherever something is due on the way, as if an entry had come then."""
        while (stop_ms := self._stop_ms()) <= moment_ms:
            self._move_to(stop_ms)
            if stop_ms >= self._scheduled_ms:
                self._steer()
            if stop_ms >= self.memory.due_ms:
                self._look()
        self._move_to(moment_ms)
        self.tally.began_ms = self.tally.began_ms or moment_ms
        self._cut_ms = self._next_cut_ms()

    def _stop_ms(self) -> int:
        """Where time stops on its way: at what is scheduled; where steps of the board remember, at all that moves."""
        stop_ms = min(self._scheduled_ms, self.memory.due_ms)
        if self.rule.board.remembers and self.windows.buckets:
            stop_ms = min(stop_ms, self.windows.next_step_ms())
        return stop_ms

    def _next_cut_ms(self) -> int:
        cut_ms = min(self.windows.next_step_ms(), self._scheduled_ms)
        if self.rule.board.remembers:  # any event may stir it
            cut_ms = min(cut_ms, (self.moment_ms // GRID_MS + 1) * GRID_MS)
        return cut_ms

    def _decide(self, body: Body) -> None:
        if isinstance(body, RuleChange):
            self._change_rule(body)
        elif isinstance(body, Enrolment):
            self._enrol(body)
        elif isinstance(body, OrdersChange):
            self.counts.unreadable += self.steering.change(body)
            self._steer()
        elif isinstance(body, Unreadable):
            self.counts.unreadable += 1
        self._cut_ms = self._next_cut_ms()

    def _enrol(self, enrolment: Enrolment) -> None:
        if not enrolment.follows(len(self.roster)):
            self.counts.unreadable += 1
            return
        self.roster.entries += 1
        for number, runner in enrolment.runners:
            anew = self.roster.enrol(number, runner.product, runner.numbers(), runner.words(), at_ms=self.moment_ms)
            for kind, given in (("stock", runner.stock), ("price", runner.price)):
                self.tally.intake.stated.columns[kind].enrol(number, given, self.moment_ms, anew=anew)
        self._grow()
        self._aim()
        self._score_runners(each_once(np.array([number for number, _ in enrolment.runners], np.int64)), shown=True)

    def _change_rule(self, change: RuleChange) -> None:
        try:
            rule = parse_rule(change.rule)
        except RuleError:
            self.counts.unreadable += 1  # refused at the door; only a damaged log can bring it here
            return
        if not self._has_room(rule):
            self.counts.unreadable += 1  # no room for the measures that it needs
            return
        formula_of(change.formula)  # refused before anything changes
        self.phases.base = RuleInForce(rule, change.version, change.formula, self.steering.book.next_turn())
        self._use(self.phases.base)

    # -- what is shown -------------------------------------------------------------------------------

    def sight(self, segment: str | None = None) -> Sight:
        """The race as it stands, to be looked at until it goes on; as a segment has it, where the rule declares it."""
        whole = Sight(
            self._field(),
            self._formula,
            self.sums,
            self._lift(),
            self.tally.intake.stated,
            self.phases.name,
            self.phase_ends_ms,
            self._phases_told(),
        )
        if segment is None or segment not in self.tally.segments.each:
            return whole
        return self.tally.segments.sights([segment], whole, self.drawing())[segment]

    def segment(self, name: str | None) -> Segment | None:
        """The segment of a name; None where the rule declares no such one."""
        return None if name is None else self.tally.segments.each.get(name)

    def drawing(self) -> Drawing:
        """How sums of segments are drawn towards the venue's now. There must be segments."""
        assert self.rule.segments is not None, "segments are those that the rule declares"
        measures = sorted({2 * self.kinds[metric.event] for metric in self.rule.metrics.values()})
        return Drawing(self.rule.segments.prior, measures, self.held)

    def slots(self) -> tuple[Slot, ...]:
        """The board as it stands, slot by slot, each with its terms and what moved it."""
        return self.sight().shown().slots

    def shown(self) -> Shown:
        """All that a frame says of the board as it stands."""
        whole = self.sight()
        shown, segments = whole.shown(), self.tally.segments
        if not segments:
            return shown
        sights = segments.sights(segments.each, whole, self.drawing())
        return shown._replace(segments={name: sight.shown().slots for name, sight in sights.items()})

    def explain(self, runner: int) -> Explained:
        """Where a runner stands and why, shown or not. Cost: O(n log n): the steps on the whole field."""
        return self.sight().explain(runner)

    def copy(self) -> Race:
        """The same race once more; neither notices what becomes of the other. Cost: its memory, copied as it lies."""
        made = deepcopy(self)
        made.scores = made._score_room[: len(made.scores)]  # noqa: SLF001  # of this class; a part of it, as ever
        return made

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
            "enrolments": self.roster.entries,
            "runners": self.roster.save(full=full),
            "steering": self.steering.save(),
            "memory": self.memory.save(),
        }
        header["phases"], phase_columns = self.phases.save(full=full)
        tallied, columns = self.tally.save(full=full)
        self.checkpoint_due = self._full_due = False
        self._recorded = self.position
        return pack(header | tallied, columns | phase_columns), full

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
            except (KeyError, ValueError, TypeError, IndexError, msgspec.MsgspecError, DocumentError) as exc:
                raise CorruptRecordError(f"checkpoint {index} is not one of a race: {exc!r}") from exc
        due_ms = race.memory.due_ms  # to find who is meant and to score them anew stirs nothing
        race._aim()
        race._score_runners(np.arange(len(race.roster)), shown=True)
        race.memory.due_ms = due_ms
        race._scheduled_ms = race.steering.book.next_ms(race.moment_ms)
        race._cut_ms = race._next_cut_ms()
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
        self.log_sum = header.get("log_sum")
        self.roster.load(header["runners"])
        self.roster.entries = header["enrolments"]
        rule = parse_rule(header["rule"])
        if header["full"]:
            self.rule = rule  # the buckets come as this rule cuts them: nothing is to be cut anew
            self.tally.begin(rule)
        self.tally.load(header, wide, runners=len(self.roster), moment_ms=self.moment_ms)
        self._set_rule(rule, header["rule_version"], header.get("formula", 1))
        self.tally.segments.load(header, wide)
        self._load_desk(header, wide)

    def _load_desk(self, header: dict[str, Any], columns: dict[str, Array]) -> None:
        """What is of the desk in a checkpoint; one of before format 2 has nothing."""
        if "steering" not in header:
            self.phases.base = RuleInForce(self.rule, self.rule_version, self.formula_version, 0)
            return
        self.steering.load(header["steering"], self.moment_ms)
        self.memory = Memory.of(header["memory"])
        self.phases.load(header["phases"], columns, self.steering.now.phases, self.windows.shape)
