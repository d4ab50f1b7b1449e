"""A plain recount of a log: the sums of the last two windows in dicts, event by event.

Shares nothing with the fold but the decoding of entries, so that one can find the other wrong.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from racing.entries import Enrolment, Entry, OrdersChange, RuleChange
from racing.events import NO_TIME_MS, EventBatch
from racing.ids import kind_salt
from racing.model import START, Position
from racing.rule import DEFAULT_RULE, Rule
from racing.timetable import Timetable

Sums = dict[tuple[str, int], float]
"""(measure such as ``click:count``, runner) -> sum"""


@dataclass
class Recount:
    """Reads entries in log order; then window() and base() tell the sums at any later moment of the same step.

    ids and payments hold what was known before the first entry read: key -> expiry, and
    key -> (time, runner, left, expiry).
    """

    rule: Rule = DEFAULT_RULE
    runners: int = 0
    ids: dict[int, int] = field(default_factory=dict)
    payments: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    position: Position = START
    events: int = 0  # in the batches read
    begun_ms: int = 0  # what came up to this moment was not read
    cut_ms: int = 0  # when buckets were last cut anew
    rules: Timetable = field(default_factory=Timetable)
    _cells: dict[tuple[str, int, int], int] = field(default_factory=lambda: defaultdict(int))

    def read(self, entry: Entry) -> None:
        """Count one entry."""
        self.position = entry.position
        self._follow(self.rules.rule_at(entry.position.ms), entry.position.ms)
        if isinstance(entry.body, Enrolment):
            if entry.body.follows(self.runners):
                self._enrol(entry.body)
        elif isinstance(entry.body, RuleChange | OrdersChange):
            self._follow(self.rules.take(entry.body, entry.position.ms), entry.position.ms)
        elif isinstance(entry.body, EventBatch):
            self.events += len(entry.body)
            for index in range(len(entry.body)):
                self._event(entry.body, index, entry.position.ms)

    def _enrol(self, enrolment: Enrolment) -> None:
        self.runners = max([self.runners, *(number + 1 for number, _ in enrolment.runners)])

    def _follow(self, rule: Rule, moment_ms: int) -> None:
        if (rule.window_s, rule.bucket_s) != (self.rule.window_s, self.rule.bucket_s) and self._cells:
            self.cut_ms = moment_ms
        self.rule = rule

    def _event(self, batch: EventBatch, index: int, moment_ms: int) -> None:
        """Count one event, if it counts: decided anew, by other means than the fold's."""
        kind, runner = batch.kinds[int(batch.kind[index])], int(batch.runner[index])
        given_ms = NO_TIME_MS if batch.time_ms is None else int(batch.time_ms[index])
        time_ms = moment_ms if given_ms == NO_TIME_MS else given_ms
        if runner >= self.runners or time_ms > moment_ms + 1000 * self.rule.clock_skew_s:
            return
        time_ms = min(time_ms, moment_ms)
        if time_ms < max(self._oldest_ms(moment_ms), moment_ms - self.rule.lateness_ms):
            return
        name = int(batch.id_hash[index]) if batch.id_hash is not None else 0
        if name:
            key = name ^ kind_salt(kind)
            if self.ids.get(key, 0) > moment_ms:
                return
            self.ids[key] = moment_ms + self.rule.id_memory_ms
        amount = int(batch.amount[index]) if batch.amount is not None else 0
        self._cells[f"{kind}:count", runner, time_ms] += 1
        self._cells[f"{kind}:amount", runner, time_ms] += amount
        if name and kind == "pay":
            self.payments[name ^ kind_salt("pay")] = (
                time_ms,
                runner,
                amount,
                moment_ms + self.rule.id_memory_ms,
            )
        elif name and kind == "refund":
            self._refund(name ^ kind_salt("pay"), runner, amount, moment_ms)

    def _refund(self, key: int, runner: int, amount: int, moment_ms: int) -> None:
        paid_ms, payer, left, expiry_ms = self.payments.get(key, (0, -1, -1, 0))
        if payer != runner or left < 0 or expiry_ms <= moment_ms:
            return
        taken = left if amount == 0 else min(amount, left)
        self.payments[key] = (paid_ms, runner, -1 if taken == left else left - taken, expiry_ms)
        if paid_ms < self._oldest_ms(moment_ms):
            return
        self._cells["pay:amount", runner, paid_ms] -= taken
        if taken == left:
            self._cells["pay:count", runner, paid_ms] -= 1

    def _oldest_ms(self, moment_ms: int) -> int:
        bucket_ms = self.rule.bucket_ms
        return (moment_ms // bucket_ms + 1) * bucket_ms - 2 * self.rule.window_ms

    def exact(self, moment_ms: int) -> bool:
        """Whether the sums at a moment are: two windows after the beginning, and after buckets were cut anew."""
        uncertain_ms = max(self.begun_ms, self.cut_ms)
        return not uncertain_ms or moment_ms >= uncertain_ms + 2 * self.rule.window_ms

    def sums(self, moment_ms: int) -> tuple[Sums, Sums]:
        """(window sums, base sums) at a moment, zero sums left out."""
        bucket_ms, window_ms = self.rule.bucket_ms, self.rule.window_ms
        end_ms = (moment_ms // bucket_ms + 1) * bucket_ms
        share = (moment_ms % bucket_ms * 10 // bucket_ms + 1) / 10
        window: Sums = defaultdict(float)
        base: Sums = defaultdict(float)
        for (measure, runner, time_ms), value in self._cells.items():
            age_ms = end_ms - time_ms  # from the end of the running bucket, so 1 .. 2 windows count
            if age_ms <= window_ms:
                window[measure, runner] += value
            elif age_ms <= 2 * window_ms:
                oldest = age_ms > 2 * window_ms - bucket_ms
                base[measure, runner] += value * share if oldest else value
        return (
            {key: value for key, value in window.items() if value},
            {key: value for key, value in base.items() if value},
        )
