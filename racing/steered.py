"""Orders of the desk, phases, and what steps of the board remember: all that moves a board beside events.

Who is boosted, excluded or pinned, which phase's rule is in force, and whom stability and newcomers hold. The board's
Field is made here of all of it.
"""

from __future__ import annotations

import math

import numpy as np

from racing.board import order
from racing.board_settings import Newcomers
from racing.boarding import board_of
from racing.field import Field
from racing.formula import measures_of_rule
from racing.model import IntArray
from racing.noise import variances
from racing.opening import opening_values, strength
from racing.orderbook import NEVER_MS, Placed
from racing.orders import Phase
from racing.phases import Opening, RuleInForce, latest
from racing.places import differing
from racing.rule import Rule
from racing.scored import Scored
from racing.stability import Churn, Noise
from racing.steering import Mask, Steering
from racing.telling import newcomers_of


class Steered(Scored):
    """Scored runners under the orders of the desk. It acts at a moment; when one comes is the race's to say."""

    def __init__(self) -> None:
        super().__init__()
        self.steering = Steering()
        self._scheduled_ms = NEVER_MS  # the next beginning or end of an order

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

    def _use(self, now: RuleInForce) -> None:
        """Bring a rule into force: scores, board and what it remembers are those of the rule from here on."""
        self._set_rule(now.rule, now.version, now.formula)
        self._aim()
        self._score_runners(np.arange(len(self.roster)), shown=True)
        self._remember_anew()

    # -- orders of the desk --------------------------------------------------------------------------

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

    def _aim(self) -> bool:
        """Find whom orders and stock mean; returns whether scores moved by it, which boosts alone do."""
        before = self._factors
        self._factors = self.steering.factors(self.roster, self.rule.board.boosts)
        self._take_out(self.steering.excluded(self.roster))
        moved = differing(before, self._factors, len(self.roster))
        self._score_runners(moved)
        return bool(len(moved))

    # -- what steps of the board remember ------------------------------------------------------------

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

    # -- the board -----------------------------------------------------------------------------------

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

    def order(self) -> IntArray:
        """The numbers of the runners on the board, slot by slot. Cost: one sort of the leaders, and the steps."""
        return np.array(board_of(self._field()).runners, np.int64)
