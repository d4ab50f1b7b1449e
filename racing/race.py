"""The fold: one venue's whole state, and apply(), the only thing that changes it.

entry -> Race.apply -> windows -> scores -> board. Time moves only by entries; nothing here knows Redis, a
clock or chance, so the same log gives the same bits on any machine, however its entries were batched.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from racing.board import order
from racing.board_settings import Newcomers
from racing.boarding import Field, board_of, newcomers_of
from racing.cells import MEASURES_MAX, runners_of
from racing.columns import Array, pack, unpack
from racing.entries import Body, Enrolment, Entry, OrdersChange, RuleChange, Unreadable
from racing.errors import CorruptRecordError, DocumentError, RuleError
from racing.events import EventBatch
from racing.formula import FORMULA, Formula, Held, Sums, formula_of, measures_of_rule
from racing.intake import Arrived, Counts, Intake, Span, counts_of
from racing.lifting import Lift
from racing.marks import Collected, Distinct
from racing.model import KINDS_MAX, START, Explained, FloatArray, IntArray, Position, Slot
from racing.noise import variances
from racing.opening import opening_values, strength
from racing.orderbook import NEVER_MS, Placed
from racing.orders import Phase
from racing.phases import Opening, RuleInForce, latest, started
from racing.places import Places, differing
from racing.roster import Roster
from racing.rule import DEFAULT_RULE, AttributeTerm, Rule, parse_rule
from racing.sales import Sales
from racing.segments import Drawing, Segment, Segments
from racing.showing import Shown, Sight
from racing.stability import GRID_MS, Churn, Memory, Noise
from racing.stated import STATED_KINDS, UNKNOWN
from racing.steering import Mask, Steering
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
        self.steering = Steering()
        self.phases = started(formula=FORMULA)
        self.memory = Memory()
        self.segments = Segments()
        self._full_due = True
        self._recorded: Position = START
        self._intake = Intake()
        self._score_room: FloatArray = np.zeros(0)
        self._formula = self._compiled()
        self._factors: FloatArray | None = None  # of boosts, by runner; None: nobody's score is boosted
        self._places = Places(self.rule.board)
        self._scheduled_ms = NEVER_MS  # the next beginning or end of an order
        self._cut_ms = 0  # nothing moves by itself before; events are not folded across it
        self._began_ms = self._kept_from_ms = 0
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

    def stated_of(self, runner: int) -> tuple[int | None, int | None]:
        """(stock, price in minor units) of a runner as last stated; None where unknown."""
        stated = self._intake.stated
        stock, price = (int(column[runner]) for column in (stated.stock, stated.price))
        return None if stock == UNKNOWN else stock, None if price == UNKNOWN else price

    @property
    def sales(self) -> Sales:
        """What the venue sold, and to how many."""
        return self._intake.sales

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
        self._began_ms = self._began_ms or moment_ms
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

    def _move_to(self, moment_ms: int) -> None:
        """Let sums move by their steps up to a moment; at a bucket boundary the venue's own sums are held anew."""
        self.moment_ms = moment_ms
        bucket, tenths = self.windows.place(moment_ms)
        if bucket == self.windows.bucket:
            if tenths != self.windows.tenths:
                self.segments.move(bucket, tenths)
                self._score_runners(self._runners_of(self.windows.move(bucket, tenths)))
                self._fade()
            return
        self.held = Held(*self.windows.venue_sums(bucket))
        touched = self.windows.move(bucket, tenths)
        self.segments.move(bucket, tenths)
        self._intake.ids.purge(moment_ms)
        self._formula = self._compiled()
        self.checkpoint_due = True
        # every runner with a sum in the windows, or that just lost its last: all whose score can differ
        self._score_runners(self.windows.active(len(self.roster), touched))
        self._fade()

    def _count(self, batches: Sequence[Arrived]) -> None:
        """Count the events of entries that lie within one step, in log order."""
        windows = self.windows
        span = Span(windows.bucket_ms, windows.oldest, windows.bucket)
        cells = self._intake.take(batches, runners=len(self.roster), span=span, rule=self.rule, phase=self.phases.name)
        if len(cells.key):
            windows.grow(len(self.roster), 2 * len(self.kinds))
            windows.add(cells.bucket, cells.key, cells.value)
            self.segments.grow(windows)
            self.segments.add(cells)
            self._score_runners(self._runners_of(cells.key))
        if self._intake.stated_anew:
            self._intake.stated_anew = False
            if self.rule.board.stock is not None:
                self._take_out(self._places.excluded)

    def _runners_of(self, keys: IntArray) -> IntArray:
        """The runners of these cells, each once."""
        return self._distinct.of(runners_of(keys), len(self.roster))

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
                self._intake.stated.columns[kind].enrol(number, given, self.moment_ms, anew=anew)
        self._grow()
        self._aim()
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
        self.segments.grow(self.windows)
        self._intake.stated.grow(runners)

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

    def _has_room(self, rule: Rule) -> bool:
        counted = rule.kinds() - set(STATED_KINDS)
        return len(self.kinds.keys() | counted) <= KINDS_MAX

    def _use(self, now: RuleInForce) -> None:
        """Bring a rule into force: scores, board and what it remembers are those of the rule from here on."""
        self._set_rule(now.rule, now.version, now.formula)
        self._aim()
        self._score_runners(np.arange(len(self.roster)), shown=True)
        self._remember_anew()

    def _set_rule(self, rule: Rule, version: int, formula: int) -> None:
        formula_of(formula)  # refused before anything changes
        self._intake.kind_table(sorted(rule.kinds() - set(self.kinds)))
        if (rule.window_ms, rule.bucket_ms) != (self.rule.window_ms, self.rule.bucket_ms):
            self._recut(rule)
        self.rule, self.rule_version, self.formula_version = rule, version, formula
        self._grow()
        self._formula = self._compiled()
        self._places.begin(rule.board)
        if self.segments.declare(rule.segment_names, self.windows, rule.board):
            self._full_due = self.checkpoint_due = True

    def _recut(self, rule: Rule) -> None:
        old = self.windows
        forgotten_ms = old.oldest * old.bucket_ms
        self.windows = old.recut(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms, moment_ms=self.moment_ms)
        self._intake.ids.recut(old)
        self.held = Held(*self.windows.venue_sums(self.windows.bucket))
        self.segments.recut(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms, moment_ms=self.moment_ms)
        self._full_due = self.checkpoint_due = True
        if forgotten_ms > self._began_ms:
            self._kept_from_ms = max(self._kept_from_ms, forgotten_ms)

    def full_from_ms(self) -> tuple[int, int]:
        """The moments from which the window, and the base too, hold all that came in them: 0 where they always have.

        A longer window is filled from the buckets that are kept, which end two former windows ago: nothing jumps to
        zero, and until these moments the sums lack what had been forgotten by then. Moments that have passed say that
        they are full.
        """
        if not self._kept_from_ms:
            return 0, 0
        bucket_ms, length = self.windows.bucket_ms, self.windows.buckets_per_window
        first = -(-self._kept_from_ms // bucket_ms)
        return (first + length - 1) * bucket_ms, (first + 2 * length - 1) * bucket_ms

    def _compiled(self) -> Formula:
        """The rule's terms as the formula that it names, for the sums held now."""
        return formula_of(self.formula_version)(self.rule, self.kinds, self.held)

    # -- orders of the desk --------------------------------------------------------------------------

    @property
    def base(self) -> RuleInForce:
        """The newest rule version of the log, which a phase's rule may stand above."""
        return self.phases.base

    @property
    def phase(self) -> Phase | None:
        """The phase that holds."""
        found = (placed.order for placed in self.steering.now.phases if placed.order.id == self.phases.name)
        order = next(found, None)
        return order if isinstance(order, Phase) else None

    @property
    def phase_ends_ms(self) -> int | None:
        """When the present phase ends, or the next one takes its place; None where neither is known, or without one."""
        phase = self.phase
        if phase is None:
            return None
        ends_ms = min(phase.end_ms or NEVER_MS, self.steering.book.next_phase_ms(self.moment_ms))
        return None if ends_ms == NEVER_MS else ends_ms

    @property
    def churn(self) -> Churn:
        """What stability has done so far."""
        return self.memory.churn

    def _usable_phases(self) -> list[Placed]:
        """The phases in force whose rule there is room for; the door refuses others. Cost: a rule parsed for each."""
        return [
            placed
            for placed in self.steering.now.phases
            if isinstance(placed.order, Phase) and self._has_room(placed.order.parsed())
        ]

    def _phases_told(self) -> list[str]:
        """Of phases whose rule cannot be used, that it cannot."""
        left = [order.id for order, _ in self.steering.now.phases if order.id not in self.phases.begun]
        return [f"phase {name}: its rule names more kinds of events than there is room for" for name in left]

    def _steer(self) -> None:
        """Bring into force what the orders say of this moment: after a change of them, and where one begins or ends."""
        frozen = self.order().tolist() if self.steering.freezes_anew(self.moment_ms) else []
        self.steering.look(self.moment_ms)
        self.steering.freeze(frozen)
        self._scheduled_ms = self.steering.book.next_ms(self.moment_ms)
        usable = self._usable_phases()
        self.phases.begin(usable, self.steering.book.next_turn)
        placed = latest(usable)
        now = ("", 0) if placed is None else (placed.order.id, placed.turn)
        if now != (self.phases.name, self.phases.placed_turn):
            self._switch(placed)
            return
        if self._aim():
            self._remember_anew()

    def _switch(self, placed: Placed | None) -> None:
        """Let a phase begin, or go on as edited; or end the present one. A full checkpoint is due."""
        phases = self.phases
        if placed is None:
            phases.name, phases.placed_turn, phases.rule, phases.totals, phases.opening = "", 0, None, None, None
        else:
            phase = placed.order
            assert isinstance(phase, Phase)
            former, since = self.rule, self._totals_so_far()
            anew = phase.id != phases.name
            phases.name, phases.placed_turn = phase.id, placed.turn
            began = phases.begun[phase.id][1]
            phases.rule = RuleInForce(phase.parsed(), phase.version, phase.formula, began)
            if anew:
                phases.totals, phases.opening = self.windows.total.copy(), None
                self._set_rule(phases.rule.rule, phases.rule.version, phases.rule.formula)
                self._open(phase, former, since)
        self._full_due = self.checkpoint_due = True
        self._use(phases.in_force)

    def _totals_so_far(self) -> IntArray:
        """Totals of all runners since the present phase began, or the race did; a copy."""
        runners = np.arange(len(self.roster))
        return self.phases.since(self.windows.total[: len(runners)].copy(), runners)

    def _open(self, phase: Phase, former: Rule, totals: IntArray) -> None:
        """Give a phase that begins its opening order, of what the one before under the former rule came to."""
        k = strength(phase.carry, self.rule.board.slots)
        entry = self.roster.values("entry_score", np.arange(len(self.roster)))
        values = opening_values(former, measures_of_rule(former, self.kinds), totals, entry) if k > 0 else None
        if values is not None:
            self.phases.opening = Opening(values, k, self._evidence())

    def _evidence(self) -> int:
        """Events of the rule's metrics in the whole venue, since the race began."""
        measures = {2 * self.kinds[metric.event] for metric in self.rule.metrics.values()}
        return int(self.windows.total[:, sorted(measures)].sum())

    def _fade(self) -> None:
        """Let the opening order give way to the evidence that has come by this step."""
        opening = self.phases.opening
        if opening is None or not opening.fade(self._evidence()):
            return
        if opening.f == 0:
            self.phases.opening = None
        self._score_runners(np.arange(len(self.roster)))

    def _aim(self) -> bool:
        """Find whom orders and stock mean; returns whether scores moved by it, which boosts alone do."""
        before = self._factors
        self._factors = self.steering.factors(self.roster, self.rule.board.boosts)
        self._take_out(self.steering.excluded(self.roster))
        moved = differing(before, self._factors, len(self.roster))
        self._score_runners(moved)
        return bool(len(moved))

    def _take_out(self, excluded: Mask | None) -> None:
        """Find who is sold out, too, and let the leaders be those who have a place in the order."""
        stock = self._intake.stated.stock[: len(self.roster)]
        sold_out = stock == 0 if self.rule.board.stock is not None else None
        if self._places.take_out(excluded, sold_out, self.scores):
            self._stir()

    def _stir(self) -> None:
        if self.rule.board.remembers:
            self.memory.stir(self.moment_ms)

    def _remember_anew(self) -> None:
        """Let hard changes act at once: what steps of the board remember begins anew from the standings."""
        self.memory.forget()
        if self.rule.board.remembers:
            self._look()

    def _look(self) -> None:
        """Look at the board on the grid of log time: let challengers pass, and choose newcomers."""
        memory, settings = self.memory, self.rule.board
        memory.looked(self.moment_ms)
        if settings.stability is not None:
            leaders, outs = self._places.leading(self.scores), self._places.outs
            held = np.array([r for r in memory.held if outs is None or not outs[r]], np.int64)
            there = np.union1d(leaders, held)
            standing = order(there, self.scores[there]) if len(there) > len(leaders) else leaders
            noise = self._noise(standing) if settings.stability.noise_units else lambda _one, _other: 0.0
            memory.look(self.moment_ms, standing, self.scores, settings.slots, settings.stability, noise)
        if settings.newcomers is not None:
            new = self._new(settings.newcomers)
            runners = np.flatnonzero(new if self._places.outs is None else new & ~self._places.outs)
            ends_ms = self.roster.joined_ms()[new] + 1000 * settings.newcomers.for_s
            memory.choose(
                self.moment_ms, runners, ends_ms, self.scores, newcomers_of(settings.newcomers, settings.slots)
            )

    def _new(self, newcomers: Newcomers) -> Mask:
        """Who was new at the last look, bool (n,)."""
        joined_ms = self.roster.joined_ms()
        new: Mask = (joined_ms > 0) & (joined_ms + 1000 * newcomers.for_s > self.memory.looked_ms)
        return new

    def _noise(self, runners: IntArray) -> Noise:
        """The deviation of the difference of two of these runners' scores."""
        measures = measures_of_rule(self.rule, self.kinds)
        found = variances(self.rule, measures, self.held, self.sums(runners))
        variance = dict(zip(runners.tolist(), found.tolist(), strict=True))
        return lambda one, other: math.sqrt(variance[one] + variance[other])

    # -- scores --------------------------------------------------------------------------------------

    def _score_runners(self, runners: IntArray, *, shown: bool = False) -> None:
        """Score runners, each once, from their sums; shown: take them for changed whatever their score."""
        lift = self._lift()
        for start in range(0, len(runners), _SCORED_AT_ONCE):
            some = runners[start : start + _SCORED_AT_ONCE]
            self.segments.due(some)
            scores = self._formula.scores(self.sums(some))
            if lift:
                scores = lift.scores(some, scores)
            changed = some if shown else some[scores != self.scores[some]]
            self.scores[some] = scores
            if len(changed):
                self._changed.add(changed, len(self.roster))
                self._places.update(changed, self.scores)
                self._stir()

    def _lift(self) -> Lift:
        return Lift(self.roster, self.phases.opening, self._factors)

    def sums(self, runners: IntArray) -> Sums:
        """The sums from which these runners are scored; copies."""
        named = {term.attribute for term in self.rule.terms if isinstance(term, AttributeTerm)}
        total = self.phases.since(self.windows.total_rows(runners), runners) if self._formula.totals else None
        attributes = {name: self.roster.values(name, runners) for name in named}
        return Sums(*self.windows.rows(runners), total, attributes)

    # -- what is shown -------------------------------------------------------------------------------

    def _field(self) -> Field:
        settings, places = self.rule.board, self._places
        return Field(
            settings=settings,
            roster=self.roster,
            steering=self.steering,
            scores=self.scores,
            excluded=places.excluded,
            sold_out=places.sold_out,
            leaders=lambda: places.leading(self.scores),
            depth=places.depth,
            held=self.memory.held,
            chosen=self.memory.chosen,
            new=None if settings.newcomers is None else self._new(settings.newcomers),
        )

    def sight(self) -> Sight:
        """The race as it stands, to be looked at until it goes on."""
        return Sight(
            self._field(),
            self._formula,
            self.sums,
            self._lift(),
            self._intake.stated,
            self.phases.name,
            self.phase_ends_ms,
            self._phases_told(),
        )

    def order(self) -> IntArray:
        """The numbers of the runners on the board, slot by slot. Cost: one sort of the leaders, and the steps."""
        return np.array(board_of(self._field()).runners, np.int64)

    def slots(self) -> tuple[Slot, ...]:
        """The board as it stands, slot by slot, each with its terms and what moved it."""
        return self.sight().shown().slots

    def shown(self) -> Shown:
        """All that a frame says of the board as it stands."""
        sight = self.sight()
        each = {name: self._slots_of(segment, sight) for name, segment in self.segments.each.items()}
        return sight.shown()._replace(segments=each)

    def _slots_of(self, segment: Segment, whole: Sight) -> tuple[Slot, ...]:
        """The board as a segment has it: the same steps on its own scores, but for stability."""
        assert self.rule.segments is not None, "segments are those that the rule declares"
        measures = sorted({2 * self.kinds[metric.event] for metric in self.rule.metrics.values()})
        how = Drawing(self.rule.segments.prior, measures)

        def drawn(runners: IntArray) -> Sums:
            return segment.drawn(runners, self.sums(runners), self.held, how)

        due = segment.taken(len(self.roster))
        segment.scored(due, whole.lift.scores(due, self._formula.scores(drawn(due))), self._places)
        field = replace(whole.field, scores=segment.scores, leaders=segment.leading, held=())
        return replace(whole, field=field, sums=drawn).shown().slots

    def explain(self, runner: int) -> Explained:
        """Where a runner stands and why, shown or not. Cost: O(n log n): the steps on the whole field."""
        return self.sight().explain(runner)

    def take_changes(self) -> Changes:
        """Runners and cells that moved since the last call, each once, sorted."""
        return Changes(self._changed.take(), self.windows.take_changed())

    @property
    def changed(self) -> int:
        """How many scores and sums have moved since take_changes."""
        return len(self._changed) + self.windows.changed

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
            "kinds": list(self.kinds),
            "counts": msgspec.to_builtins(self.counts),
            "enrolments": self.roster.entries,
            "runners": self.roster.save(full=full),
            "steering": self.steering.save(),
            "memory": self.memory.save(),
            "began_ms": self._began_ms,
            "kept_from_ms": self._kept_from_ms,
        }
        header["phases"], phase_columns = self.phases.save(full=full)
        sold, sales_columns = self.sales.save(full=full)
        segments, segment_columns = self.segments.save(full=full)
        header |= sold | segments
        columns = {
            **self.windows.save(full=full),
            "held_now": self.held.now,
            "held_before": self.held.before,
            **self._intake.ids.save(full=full),
            **self._intake.stated.save(full=full),
            **phase_columns,
            **sales_columns,
            **segment_columns,
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
        self._intake.kind_table(header["kinds"])
        self.log_sum = header.get("log_sum")
        self._intake.counts = counts_of(header["counts"])
        self.roster.load(header["runners"])
        self.roster.entries = header["enrolments"]
        rule = parse_rule(header["rule"])
        if header["full"]:
            self.windows = Windows(window_ms=rule.window_ms, bucket_ms=rule.bucket_ms)
            self.rule = rule  # the buckets come as this rule cuts them: nothing is to be cut anew
            self.segments = Segments()
        self._grow()
        self.windows.move(*self.windows.place(self.moment_ms))
        self.segments.move(*self.windows.place(self.moment_ms))
        self.windows.load(wide)
        self._intake.ids.load(wide)
        self._intake.ids.purge(self.moment_ms)
        self.held = Held(wide["held_now"], wide["held_before"])
        self._set_rule(rule, header["rule_version"], header.get("formula", 1))
        self._intake.stated.load(wide)
        self.sales.load(header, wide)
        self.segments.load(header, wide)
        self._load_desk(header, wide)

    def _load_desk(self, header: dict[str, Any], columns: dict[str, Array]) -> None:
        """What is of the desk in a checkpoint; one of before format 2 has nothing."""
        self._began_ms, self._kept_from_ms = header.get("began_ms", 1), header.get("kept_from_ms", 0)
        if "steering" not in header:
            self.phases.base = RuleInForce(self.rule, self.rule_version, self.formula_version, 0)
            return
        self.steering.load(header["steering"], self.moment_ms)
        self.memory = Memory.of(header["memory"])
        self.phases.load(header["phases"], columns, self.steering.now.phases, self.windows.shape)
