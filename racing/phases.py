"""Phases (预热, 爆发, 返场): which rule is in force, since when totals count, and the opening order of a phase.

The rule in force is the one that began last: a phase's at its start, or a rule version at its entry. So a rule changed
during a phase acts at once, and until the next phase begins or this one ends; then the newest rule version comes back.
Of phases that overlap the one with the latest start holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from racing.cells import MEASURES_MAX, add_at
from racing.columns import Array
from racing.model import FloatArray, IntArray
from racing.opening import fade
from racing.orderbook import Placed
from racing.orders import Phase
from racing.rule import DEFAULT_RULE, Rule, parse_rule


class RuleInForce(NamedTuple):
    """A rule, its version and formula, and the turn at which it came into force."""

    rule: Rule
    version: int
    formula: int
    turn: int


@dataclass(slots=True)
class Opening:
    """What an opening order is made of: o of the runners who were there, K, and N as it stood at the beginning."""

    values: FloatArray
    k: float
    evidence_from: int
    f: float = 1.0

    def fade(self, evidence: int) -> bool:
        """Take note of N + evidence_from; returns whether that changed f."""
        before, self.f = self.f, fade(self.k, evidence - self.evidence_from)
        return self.f != before


@dataclass(slots=True)
class Phases:
    """The phase that holds, the rule beneath it, and the totals as they stood when the phase began.

    begun: of all phases in force, (turn at which the order was put, turn at which it came into force).
    """

    base: RuleInForce
    name: str = ""
    placed_turn: int = 0
    rule: RuleInForce | None = None
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)
    totals: IntArray | None = None
    opening: Opening | None = None

    @property
    def in_force(self) -> RuleInForce:
        """The rule that began last."""
        return self.base if self.rule is None or self.base.turn > self.rule.turn else self.rule

    def begin(self, placed: Sequence[Placed], turn: Callable[[], int]) -> None:
        """Note which phases are in force; one that has come into force, or was put anew, takes the next turn."""
        before = self.begun
        self.begun = {}
        for order, put in placed:
            known = before.get(order.id)
            self.begun[order.id] = known if known is not None and known[0] == put else (put, turn())

    def since(self, total: IntArray, runners: IntArray) -> IntArray:
        """Totals of some runners since the phase, or the race, began; total: their rows, which are written."""
        if self.totals is not None:
            known = np.flatnonzero(runners < len(self.totals))
            total[known, : self.totals.shape[1]] -= self.totals[runners[known]]
        return total

    def save(self, *, full: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        """(header, columns) for a checkpoint. Totals and opening values stand in full ones: due at a switch."""
        base = self.base
        header: dict[str, Any] = {
            "base": [base.rule.model_dump(mode="json", exclude_none=True), base.version, base.formula, base.turn],
            "name": self.name,
            "placed_turn": self.placed_turn,
            "begun": [[name, *turns] for name, turns in self.begun.items()],
            "opening": None if self.opening is None else [self.opening.k, self.opening.evidence_from, self.opening.f],
        }
        columns: dict[str, Array] = {}
        if full and self.totals is not None:
            runner, measure = np.nonzero(self.totals)
            columns["phase_key"] = runner * MEASURES_MAX + measure
            columns["phase_value"] = self.totals[runner, measure]
        if full and self.opening is not None:
            columns["opening"] = self.opening.values.view(np.uint64)
        return header, columns

    def load(self, saved: dict[str, Any], columns: dict[str, Array], phases: Sequence[Placed], shape: Any) -> None:
        """Take what save gave. phases: those in force at its moment; shape: room for totals, (runners, measures)."""
        rule, version, formula, turn = saved["base"]
        self.base = RuleInForce(parse_rule(rule), version, formula, turn)
        self.name, self.placed_turn, self.rule = saved["name"], saved["placed_turn"], None
        self.begun = {name: (put, began) for name, put, began in saved["begun"]}
        if not self.name:
            self.totals = self.opening = None
            return
        phase = next((placed.order for placed in phases if placed.order.id == self.name), None)
        if not isinstance(phase, Phase):
            raise ValueError(f"the phase {self.name!r} holds, and its order is missing")  # noqa: TRY004  # of a record
        self.rule = RuleInForce(phase.parsed(), phase.version, phase.formula, self.begun[self.name][1])
        if "phase_key" in columns:
            self.totals = np.zeros(shape, np.int64)
            add_at(self.totals, columns["phase_key"], columns["phase_value"])
        if saved["opening"] is None:
            self.opening = None
        else:
            k, evidence_from, f = saved["opening"]
            values = columns["opening"].view(np.float64) if "opening" in columns else None
            known = self.opening.values if values is None and self.opening is not None else values
            if known is None:
                raise ValueError("a phase's opening values are missing")
            self.opening = Opening(known, k, evidence_from, f)


def started(base_version: int = 0, formula: int = 1) -> Phases:
    """The state before any entry: the default rule, and no phase."""
    return Phases(RuleInForce(DEFAULT_RULE, base_version, formula, 0))


def latest(phases: Sequence[Placed]) -> Placed | None:
    """The phase that holds of those in force: the one with the latest start, of two the newer order."""
    return max(phases, key=lambda placed: (placed.order.start_ms or 0, placed.turn), default=None)
