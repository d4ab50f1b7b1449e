"""Runners and their scores: the tally as the rule in force has it, with what stands above the rule's own score.

Opening order, boosts, and who has a place are taken as they are told; racing/steered.py finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from racing.formula import FORMULA, Formula, Held, Sums, formula_of
from racing.intake import Arrived, Counts
from racing.lifting import Lift
from racing.marks import Collected
from racing.model import KINDS_MAX, FloatArray, IntArray
from racing.phases import started
from racing.places import Places
from racing.roster import Roster
from racing.rule import DEFAULT_RULE, AttributeTerm, Rule
from racing.sales import Sales
from racing.stability import Memory
from racing.stated import STATED_KINDS, UNKNOWN
from racing.steering import Mask
from racing.tally import Tally
from racing.windows import Windows

_SCORED_AT_ONCE = 65_536
"""Runners scored in one go at a bucket boundary: bounds the temporaries."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What moved since it was last asked for: runners with a new score, cells with a new sum."""

    runners: IntArray
    keys: IntArray


class Scored:
    """A venue's runners, sums and scores. Sums, ids and counts are exact; scores are a pure function of them."""

    def __init__(self) -> None:
        self.rule: Rule = DEFAULT_RULE
        self.rule_version = 0
        self.formula_version = FORMULA
        self.moment_ms = 0
        self.roster = Roster()
        self.tally = Tally(self.rule)
        self.scores: FloatArray = np.zeros(0)
        self.phases = started(formula=FORMULA)
        self.memory = Memory()
        self.checkpoint_due = False
        self._full_due = True
        self._score_room: FloatArray = np.zeros(0)
        self._formula = self._compiled()
        self._factors: FloatArray | None = None  # of boosts, by runner; None: nobody's score is boosted
        self._places = Places(self.rule.board)
        self._changed = Collected()

    @property
    def products(self) -> list[str]:
        """Product by runner number."""
        return self.roster.products

    @property
    def windows(self) -> Windows:
        """The whole venue's sums."""
        return self.tally.windows

    @property
    def held(self) -> Held:
        """The venue's own sums, held while a bucket runs."""
        return self.tally.held

    @property
    def kinds(self) -> dict[str, int]:
        """Event kinds that the race keeps measures for, by name."""
        return self.tally.intake.kinds

    @property
    def counts(self) -> Counts:
        """What became of every event and entry so far."""
        return self.tally.intake.counts

    def stated_of(self, runner: int) -> tuple[int | None, int | None]:
        """(stock, price in minor units) of a runner as last stated; None where unknown."""
        stated = self.tally.intake.stated
        stock, price = (int(column[runner]) for column in (stated.stock, stated.price))
        return None if stock == UNKNOWN else stock, None if price == UNKNOWN else price

    @property
    def sales(self) -> Sales:
        """What the venue sold, and to how many."""
        return self.tally.intake.sales

    @property
    def remembered_ids(self) -> int:
        """How many event ids are remembered."""
        return len(self.tally.intake.ids)

    def take_changes(self) -> Changes:
        """Runners and cells that moved since the last call, each once, sorted."""
        return Changes(self._changed.take(), self.windows.take_changed())

    @property
    def changed(self) -> int:
        """How many scores and sums have moved since take_changes."""
        return len(self._changed) + self.windows.changed

    # -- events and time -----------------------------------------------------------------------------

    def _count(self, batches: Sequence[Arrived]) -> None:
        """Count the events of entries that lie within one step, in log order."""
        tally = self.tally
        moved = tally.count(batches, runners=len(self.roster), rule=self.rule, phase=self.phases.name)
        if len(moved):
            self._score_runners(moved)
        if tally.intake.stated_anew:
            tally.intake.stated_anew = False
            if self.rule.board.stock is not None:
                self._take_out(self._places.excluded)

    def _move_to(self, moment_ms: int) -> None:
        """Let sums move by their steps up to a moment, and score whom that moves."""
        self.moment_ms = moment_ms
        bucket = self.windows.bucket
        moved = self.tally.move(moment_ms, len(self.roster))
        if moved is None:
            return
        if bucket != self.windows.bucket:
            self._formula = self._compiled()
            self.checkpoint_due = True
        self._score_runners(moved)
        self._fade()

    def _grow(self) -> None:
        """Room for the sums and scores of all who are enrolled; amortised by doubling."""
        runners = len(self.roster)
        self.tally.grow(runners)
        if runners > len(self._score_room):
            grown = np.zeros(max(runners, 2 * len(self._score_room)))
            grown[: len(self.scores)] = self.scores
            self._score_room = grown
        self.scores = self._score_room[:runners]
        self.tally.intake.stated.grow(runners)

    # -- the rule ------------------------------------------------------------------------------------

    def _has_room(self, rule: Rule) -> bool:
        counted = rule.kinds() - set(STATED_KINDS)
        return len(self.kinds.keys() | counted) <= KINDS_MAX

    def _set_rule(self, rule: Rule, version: int, formula: int) -> None:
        """Count and score by a rule from here on; nobody is scored by it yet."""
        formula_of(formula)  # refused before anything changes
        self.tally.intake.kind_table(sorted(rule.kinds() - set(self.kinds)))
        if (rule.window_ms, rule.bucket_ms) != (self.rule.window_ms, self.rule.bucket_ms):
            self.tally.recut(rule, self.moment_ms)
            self._full_due = self.checkpoint_due = True
        self.rule, self.rule_version, self.formula_version = rule, version, formula
        self._grow()
        self._formula = self._compiled()
        self._places.begin(rule.board)
        if self.tally.segments.declare(rule.segment_names, self.windows, rule.board):
            self._full_due = self.checkpoint_due = True

    def _compiled(self) -> Formula:
        """The rule's terms as the formula that it names, for the sums held now."""
        return formula_of(self.formula_version)(self.rule, self.kinds, self.held)

    # -- scores --------------------------------------------------------------------------------------

    def _score_runners(self, runners: IntArray, *, shown: bool = False) -> None:
        """Score runners, each once, from their sums; shown: take them for changed whatever their score."""
        lift = self._lift()
        for start in range(0, len(runners), _SCORED_AT_ONCE):
            some = runners[start : start + _SCORED_AT_ONCE]
            self.tally.segments.due(some, len(self.roster))
            scores = self._formula.scores(self.sums(some))
            if lift:
                scores = lift.scores(some, scores)
            changed = some if shown else some[scores != self.scores[some]]
            self.scores[some] = scores
            if len(changed):
                self._changed.add(changed, len(self.roster))
                self._places.update(changed, self.scores)
                self._stir()

    def sums(self, runners: IntArray) -> Sums:
        """The sums from which these runners are scored; copies."""
        windows = self.windows
        named = {term.attribute for term in self.rule.terms if isinstance(term, AttributeTerm)}
        total = self.phases.since(windows.total_rows(runners), runners) if self._formula.totals else None
        attributes = {name: self.roster.values(name, runners) for name in named}
        return Sums(*windows.rows(runners), total, attributes)

    def _lift(self) -> Lift:
        return Lift(self.roster, self.phases.opening, self._factors)

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

    # -- places --------------------------------------------------------------------------------------

    def _take_out(self, excluded: Mask | None) -> None:
        """Find who is sold out, too, and let the leaders be those who have a place in the order."""
        stock = self.tally.intake.stated.stock[: len(self.roster)]
        sold_out = stock == 0 if self.rule.board.stock is not None else None
        if self._places.take_out(excluded, sold_out, self.scores):
            self._stir()

    def _stir(self) -> None:
        """Wake the steps of the board that remember something."""
        if self.rule.board.remembers:
            self.memory.stir(self.moment_ms)
