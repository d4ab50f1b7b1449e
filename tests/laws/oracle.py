"""A naive recount of a race, written from the design's text and sharing no code with racing/.

Everything is a plain Python list or dict and every number is counted again from the whole list of facts
whenever it is asked for. A rule is the JSON document as a dict. A log is a list of (moment_ms, body), where
body says what happened in one key: ``events`` (a list of dicts), ``rule``, ``enrol`` ({number: attributes}),
``tick`` or ``unreadable``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Log = Sequence[tuple[int, Body]]
Measure = tuple[str, str]
"""(event kind, "count" or "amount")."""

QUARTER_HOUR_MS = 15 * 60 * 1000


@dataclass
class Fact:
    """One thing that was counted: an event, or what a refund took back from a payment."""

    at_ms: int
    runner: int
    kind: str
    count: int
    amount: int
    forgotten: bool = False  # it left the base; a longer window does not bring it back


@dataclass
class Payment:
    """A counted payment that a refund may name, with what is left of it."""

    fact: Fact
    until_ms: int
    left: int
    gone: bool = False


class Recount:
    """What a race must say after a log."""

    def __init__(self, rule: dict[str, Any]) -> None:
        self.rule = rule
        self.moment_ms = 0
        self.bucket: int | None = None
        self.facts: list[Fact] = []
        self.attributes: dict[int, dict[str, float]] = {}
        self.seen_until_ms: dict[tuple[str, str], int] = {}
        self.payments: dict[str, Payment] = {}
        self.counts: Counter[str] = Counter()
        self.held_now: Counter[Measure] = Counter()
        self.held_before: Counter[Measure] = Counter()

    # -- time ----------------------------------------------------------------------------------------

    def _ms(self, name: str, default_s: int) -> int:
        value = self.rule.get(name)
        return 1000 * (default_s if value is None else int(value))

    @property
    def bucket_ms(self) -> int:
        """Length of a bucket."""
        return self._ms("bucket_s", 10)

    @property
    def length(self) -> int:
        """Buckets to a window: B."""
        return self._ms("window_s", 300) // self.bucket_ms

    def bucket_of(self, fact: Fact) -> int:
        """The bucket of a fact's own time."""
        return fact.at_ms // self.bucket_ms

    @property
    def running(self) -> int:
        """The running bucket: b."""
        return self.moment_ms // self.bucket_ms

    @property
    def oldest(self) -> int:
        """The base's oldest bucket: b-2B+1."""
        return self.running - 2 * self.length + 1

    @property
    def tenths(self) -> int:
        """The share of the running bucket that has passed, rounded up to tenths, 1 .. 10."""
        return (self.moment_ms - self.running * self.bucket_ms) * 10 // self.bucket_ms + 1

    # -- the log -------------------------------------------------------------------------------------

    def fold(self, moment_ms: int, body: Body) -> None:
        """Take one entry of the log."""
        self.moment_ms = moment_ms
        if self.running != self.bucket:
            self._hold()
            self._forget()
        if "events" in body:
            for event in body["events"]:
                self.counts[self._take(event)] += 1
        elif "rule" in body:
            self._change_rule(body["rule"])
        elif "enrol" in body:
            self.attributes.update(body["enrol"])
        elif "unreadable" in body:
            self.counts["unreadable"] += 1

    def _hold(self) -> None:
        """The venue's own sums as they stand just before the running bucket begins."""
        self.bucket = self.running
        now = range(self.running - self.length, self.running)
        before = range(self.running - 2 * self.length, self.running - self.length)
        self.held_now, self.held_before = Counter(), Counter()
        for fact in self.facts:
            if fact.forgotten:
                continue
            held = self.held_now if self.bucket_of(fact) in now else self.held_before
            if self.bucket_of(fact) in now or self.bucket_of(fact) in before:
                held[fact.kind, "count"] += fact.count
                held[fact.kind, "amount"] += fact.amount

    def _forget(self) -> None:
        for fact in self.facts:
            fact.forgotten = fact.forgotten or self.bucket_of(fact) < self.oldest

    def _change_rule(self, rule: dict[str, Any]) -> None:
        """Under other lengths the old buckets go whole into the new ones, by their start."""
        old_ms, old_length = self.bucket_ms, self.length
        self.rule = rule
        if (old_ms, old_length) != (self.bucket_ms, self.length):
            for fact in self.facts:
                fact.at_ms = fact.at_ms // old_ms * old_ms
            self._hold()
            self._forget()

    def _take(self, event: dict[str, Any]) -> str:
        """What becomes of an event, and its consequences."""
        if event["runner"] not in self.attributes:
            return "unknown_runner"
        at_ms = self.moment_ms if event.get("ts_ms") is None else event["ts_ms"]
        if at_ms > self.moment_ms + self._ms("clock_skew_s", 300):
            return "future"
        fact = Fact(min(at_ms, self.moment_ms), event["runner"], event["type"], 1, event.get("amount") or 0)
        lateness_ms = self._ms("lateness_s", 2 * self.length * self.bucket_ms // 1000)
        if self.bucket_of(fact) < self.oldest or fact.at_ms < self.moment_ms - lateness_ms:
            return "late"
        name = event.get("id")
        if name is not None:
            if self.seen_until_ms.get((fact.kind, name), 0) > self.moment_ms:
                return "duplicate"
            memory_ms = max(2 * self.length * self.bucket_ms, QUARTER_HOUR_MS)
            self.seen_until_ms[fact.kind, name] = self.moment_ms + memory_ms
            if fact.kind == "pay":
                self.payments[name] = Payment(fact, self.moment_ms + memory_ms, fact.amount)
            elif fact.kind == "refund":
                self._refund(name, fact)
        self.facts.append(fact)
        return "counted"

    def _refund(self, name: str, refund: Fact) -> None:
        """Take back what a refund says of the payment that it names, at the payment's own moment."""
        payment = self.payments.get(name)
        if (
            payment is None
            or payment.gone
            or payment.until_ms <= self.moment_ms
            or payment.fact.runner != refund.runner
        ):
            self.counts["unmatched_refund"] += 1
            return
        taken = payment.left if refund.amount == 0 else min(refund.amount, payment.left)
        payment.left -= taken
        payment.gone = payment.left == 0
        paid = payment.fact
        if not paid.forgotten:
            self.facts.append(Fact(paid.at_ms, paid.runner, "pay", -1 if payment.gone else 0, -taken))

    # -- sums ----------------------------------------------------------------------------------------

    def sum(self, runner: int, measure: Measure, part: str) -> int | float:
        """One runner's sum over the ``window``, the ``base`` or in ``total``."""
        kind, what = measure
        tenfold = 0
        for fact in self.facts:
            if fact.runner != runner or fact.kind != kind:
                continue
            value = fact.count if what == "count" else fact.amount
            tenfold += value * self._weight_in_tenths(fact, part)
        return tenfold / 10 if part == "base" else tenfold // 10

    def _weight_in_tenths(self, fact: Fact, part: str) -> int:
        if part == "total":
            return 10
        if fact.forgotten:
            return 0
        bucket, first_of_window = self.bucket_of(fact), self.running - self.length + 1
        if part == "window":
            return 10 if bucket >= first_of_window else 0
        if bucket == self.oldest:
            return self.tenths
        return 10 if self.oldest < bucket < first_of_window else 0

    # -- scores --------------------------------------------------------------------------------------

    def signals(self, runner: int) -> list[float]:
        """Each term's signal for a runner, in term order."""
        return [self._signal(runner, term) for term in self.rule["terms"]]

    def score(self, runner: int) -> float:
        """The weighted sum of the signals."""
        weights: list[float] = [term["weight"] for term in self.rule["terms"]]
        return sum(weight * value for weight, value in zip(weights, self.signals(runner), strict=True))

    def standings(self) -> list[int]:
        """All runners, the highest score first, ties to the one enrolled first."""
        scores = {runner: self.score(runner) for runner in self.attributes}
        return sorted(scores, key=lambda runner: (-scores[runner], runner))

    def measure(self, metric: str) -> Measure:
        """What a metric sums."""
        named = self.rule["metrics"][metric]
        return named["event"], named.get("sum", "count")

    def tide(self, measure: Measure) -> float:
        """G = sum c / sum p, 1 without data, never negative."""
        if self.held_before[measure] <= 0:
            return 1.0
        return max(self.held_now[measure], 0) / self.held_before[measure]

    def mean(self, numerator: Measure, denominator: Measure) -> float:
        """Mu = sum n / sum d over both windows, 0 without data, never negative."""
        below = self.held_now[denominator] + self.held_before[denominator]
        above = self.held_now[numerator] + self.held_before[numerator]
        return max(above, 0) / below if below > 0 else 0.0

    def _signal(self, runner: int, term: dict[str, Any]) -> float:
        if "attribute" in term:
            return self.attributes[runner].get(term["attribute"], 0.0)
        k = 10.0 if term.get("prior") is None else term["prior"]
        if "ratio" in term:
            return self._ratio_signal(runner, term, k)
        measure = self.measure(term["metric"])
        c, p = self.sum(runner, measure, "window"), self.sum(runner, measure, "base")
        g = self.tide(measure) if term.get("tide") else 1.0
        if term["signal"] in {"surge", "root"} and measure[1] == "amount":
            a = self.mean(measure, (measure[0], "count"))
            c, p = (c / a, p / a) if a else (0.0, 0.0)
        match term["signal"]:
            case "level":
                value = c
            case "root":
                value = math.sqrt(max(c, 0))
            case "total":
                value = self.sum(runner, measure, "total")
            case "uplift":
                value = c - g * p
            case "growth":
                value = (c - g * p) / (max(g * p, 0) + k)
            case "surge":
                value = (c - g * p) / math.sqrt(max(c + g * g * p, 0) + k)
            case other:
                raise AssertionError(other)
        return value

    def _ratio_signal(self, runner: int, term: dict[str, Any], k: float) -> float:
        n, d = (self.measure(metric) for metric in term["ratio"])
        mu = self.mean(n, d)
        now, before = (
            (self.sum(runner, n, part) - mu * self.sum(runner, d, part)) / (max(self.sum(runner, d, part), 0) + k)
            for part in ("window", "base")
        )
        return now if term["signal"] == "rate" else now - before


def recount(rule: dict[str, Any], log: Log) -> Recount:
    """The recount of a whole log that begins under a rule."""
    race = Recount(rule)
    for moment_ms, body in log:
        race.fold(moment_ms, body)
    return race
