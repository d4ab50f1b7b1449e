"""The timetable of a venue, told plainly: which rule holds at a moment, out of rule versions and phases.

It is the recount's own: it shares nothing with the fold but the documents, so that one can find the other wrong.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from racing.entries import OrdersChange, RuleChange
from racing.errors import OrderError, RuleError
from racing.orders import Phase, parse_order
from racing.rule import DEFAULT_RULE, Rule, parse_rule


@dataclass
class Timetable:
    """Rule versions and phases, each with the number of the change that brought it; the highest began last.

    begun: of phases that hold, (number under which it was put, number under which it began).
    """

    base: Rule = DEFAULT_RULE
    base_number: int = 0
    number: int = 0
    phases: dict[str, tuple[Phase, int]] = field(default_factory=dict)
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)

    def rule_at(self, moment_ms: int) -> Rule:
        """The rule that holds when time has come to a moment, no earlier than any asked for before."""
        held = {name: put for name, put in self.phases.items() if put[0].holds(moment_ms)}
        for name, (_, put) in held.items():
            if self.begun.get(name, (None, 0))[0] != put:
                self.begun[name] = (put, self._next())
        self.begun = {name: numbers for name, numbers in self.begun.items() if name in held}
        if not held:
            return self.base
        phase, _ = max(held.values(), key=lambda put: (put[0].start_ms or 0, put[1]))
        return phase.parsed() if self.begun[phase.id][1] > self.base_number else self.base

    def take(self, change: RuleChange | OrdersChange, moment_ms: int) -> Rule:
        """The rule that holds after a change; what cannot be read is passed over, as in the race."""
        self.rule_at(moment_ms)
        if isinstance(change, RuleChange):
            with suppress(RuleError):
                self.base, self.base_number = parse_rule(change.rule), self._next()
            return self.rule_at(moment_ms)
        for name in change.withdraw:
            self.phases.pop(name, None)
        number = self._next()
        for document in change.put:
            try:
                order = parse_order(document)
            except OrderError:
                continue
            self.phases.pop(order.id, None)
            if isinstance(order, Phase):
                self.phases[order.id] = (order, number)
        return self.rule_at(moment_ms)

    def _next(self) -> int:
        self.number += 1
        return self.number
