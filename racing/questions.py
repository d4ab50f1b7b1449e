"""What is asked of a race is asked of a copy: the same fold, so an answer is what would be, and the race stays.

Here stands what all questions share: the copy, draft decisions on it, standings, and boards side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from racing.board import order
from racing.entries import Body, Entry, OrdersChange, RuleChange
from racing.errors import OrderError
from racing.formula import FORMULA
from racing.model import FloatArray, IntArray, Position, Slot, Term
from racing.orders import parse_order
from racing.race import Race
from racing.rule import Rule, parse_rule


class Draft(msgspec.Struct, frozen=True, omit_defaults=True):
    """Decisions that nobody has taken yet: a rule document, orders to put, ids of orders to withdraw."""

    rule: dict[str, Any] | None = None
    put: list[dict[str, Any]] = []
    withdraw: list[str] = []

    def bodies(self, race: Race) -> list[Body]:
        """The entries that taking them would log. Raises RuleError, OrderError."""
        for index, document in enumerate(self.put):
            try:
                parse_order(document)
            except OrderError as exc:
                fields = [(f"put[{index}].{field}", right, value) for field, right, value in exc.fields]
                raise OrderError(f"put[{index}]: {exc}", fields) from exc
        bodies: list[Body] = []
        if self.rule is not None and parse_rule(self.rule) != race.rule:  # the same rule changes nothing
            bodies.append(RuleChange(race.rule_version, self.rule, formula=FORMULA))
        if self.put or self.withdraw:
            bodies.append(OrdersChange(put=self.put, withdraw=self.withdraw))
        return bodies


def drafted(race: Race, draft: Draft) -> Race:
    """A copy of the race in which the draft was decided just now; it goes on from the same position."""
    made = race.copy()
    decide(made, draft)
    return made


def decide(race: Race, draft: Draft) -> None:
    """Decide a draft in a race, as if it was logged right after its position, which stays. Raises OrderError."""
    position = race.position
    after = [Position(position.ms, position.seq + 1 + index) for index in range(3)]
    unreadable = race.counts.unreadable
    race.apply([Entry(at, body) for at, body in zip(after, draft.bodies(race), strict=False)])
    if race.counts.unreadable != unreadable:
        raise OrderError("the race would pass the draft over: it declares more event kinds than a race has room for")
    race.position = position


def standings(scores: FloatArray) -> IntArray:
    """Each runner's standing, from 1, by runner number; int64 (n,). Cost: one sort of the field."""
    runners = np.arange(len(scores))
    found = np.empty(len(runners), np.int64)
    found[order(runners, scores)] = runners + 1
    return found


def standing(race: Race, runner: int) -> int:
    """One runner's standing, from 1. Cost: one pass over the scores."""
    own = race.scores[runner]
    ties = np.flatnonzero(race.scores == own)
    return 1 + int((race.scores > own).sum()) + int((ties < runner).sum())


def number_of(race: Race, product: str) -> int | None:
    """The number of an enrolled product; None where there is none. Cost: one pass over the roster."""
    try:
        return race.products.index(product)
    except ValueError:
        return None


class TermChange(msgspec.Struct, frozen=True):
    """What one term contributes to a score on either side; None where that rule has no such term."""

    name: str
    before: float | None
    after: float | None


def term_changes(before: Sequence[Term], after: Sequence[Term]) -> tuple[TermChange, ...]:
    """The terms of both sides by name, those of after first; of terms of one name the first goes with the first."""
    rest = list(before)
    changes = []
    for term in after:
        match = next((each for each in rest if each.name == term.name), None)
        if match is not None:
            rest.remove(match)
        changes.append(TermChange(term.name, None if match is None else match.contribution, term.contribution))
    return (*changes, *(TermChange(term.name, term.contribution, None) for term in rest))


def slot_of(slots: Sequence[Slot]) -> dict[int, int]:
    """runner -> slot of a board."""
    return {slot.runner: slot.slot for slot in slots}


def board_of(race: Race) -> IntArray:
    """The runners on the board, slot by slot; int64 (slots,)."""
    return race.order()


def rule_document(rule: Rule) -> dict[str, Any]:
    """A rule as it stands in the log."""
    return rule.model_dump(mode="json", exclude_none=True)
