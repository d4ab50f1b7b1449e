"""Where products stand and why: rows made of the frame in memory, the sorted sets, and the formula of the race.

A product on the board has slot, standing, score and terms of the frame that is named. All else is of the commit at
which the sets were read, perhaps a moment later; `settled` says whether all scores are made with what the present
bucket holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from api.moves import NO_BOARDS, Boards, moved
from api.view import VenueView
from racing.badges import badges
from racing.entries import Runner
from racing.formula import Formula, Sums, formula_of
from racing.model import FloatArray, Frame, Position, Term
from racing.rule import AttributeTerm, Rule, parse_rule
from racing.store.desk import Desk
from racing.store.held import HeldRecord
from racing.store.standings import Field

Row = dict[str, Any]
_WHATS = ("window", "delta", "total")


class FrameRef(msgspec.Struct, frozen=True):
    """What rows of a venue are of: the frame, and the commit up to which the sets were read."""

    venue: str
    frame: int
    epoch: int
    at_ms: int
    rule_version: int
    runners: int
    position: str
    settled: bool
    stale: bool


@dataclass(slots=True)
class Told:
    """Rows of some products of one venue, by runner number, what they are of, and their data."""

    ref: FrameRef
    rows: dict[int, Row] = field(default_factory=dict)
    runners: dict[int, Runner] = field(default_factory=dict)


def anyone(_merchant: str) -> bool:
    """Whoever a product belongs to."""
    return True


async def told(
    desk: Desk,
    view: VenueView,
    numbers: Sequence[int],
    *,
    owns: Callable[[str], bool] = anyone,
    boards: Boards = NO_BOARDS,
) -> Told:
    """Rows of those of these runners that are enrolled in a venue, and of merchants that are owned.

    boards: to tell movements from. Raises StoreError. Cost: 60 us each in this process and 15 in
    Redis where 1,000 are asked (a busy machine of two cores).
    """
    venue, frame = view.venue.venue, view.frame
    ref = FrameRef(
        venue=venue,
        frame=frame.frame,
        epoch=frame.epoch,
        at_ms=frame.at_ms,
        rule_version=frame.rule_version,
        runners=frame.runners,
        position=frame.position,
        settled=True,
        stale=view.stale(),
    )
    known = await desk.runners.by_number(venue, numbers)
    runners = {number: runner for number, runner in known.items() if owns(runner.merchant)}
    found = Told(ref, runners=runners)
    scoring: Scoring | None = None
    for some, read in await desk.standings.read(venue, sorted(runners), sets_of(view.rule)):
        if scoring is None or scoring.held != read.held:  # made once, but where a bucket ends between two pieces
            scoring = Scoring(await rule_of(desk, view, read.held), read.held)
        piece = Piece(scoring, read, [runners[number] for number in some])
        found.ref = msgspec.structs.replace(
            ref, settled=found.ref.settled and is_settled(read), position=read.commit.position
        )
        found.rows |= zip(some, piece.rows(frame, some, boards), strict=True)
    return found


def sets_of(rule: Rule) -> list[str]:
    """The sorted sets that a rule's metrics are read from."""
    measures = sorted({f"{metric.event}:{metric.sum}" for metric in rule.metrics.values()})
    return [f"{what}:{measure}" for measure in measures for what in _WHATS]


async def rule_of(desk: Desk, view: VenueView, held: HeldRecord | None) -> Rule:
    """The rule that made the scores: that of the view, but for the moment in which it changes."""
    if held is None or held.rule_version == view.rule_version:
        return view.rule
    return parse_rule((await desk.rules.read(view.venue.venue, held.rule_version)).rule)


class Scoring:
    """What scores are made with. held: None before a scorer has said so; then there is no formula."""

    def __init__(self, rule: Rule, held: HeldRecord | None) -> None:
        self.rule, self.held = rule, held
        self.kinds = {} if held is None else held.kind_index()
        self.formula: Formula | None = None
        if held is not None:
            self.formula = formula_of(held.formula)(rule, self.kinds, held.held())


class SumsOf(msgspec.Struct, frozen=True, gc=False):
    """The sums of a metric. Kept from the garbage collector, which thousands of them would set to work."""

    window: float
    base: float
    delta: float
    total: float


class Piece:
    """Some runners of one venue with what the sets say of them, and their scores taken apart."""

    def __init__(self, scoring: Scoring, read: Field, runners: Sequence[Runner]) -> None:
        self.rule, self.read, self.runners = scoring.rule, read, runners
        self.formula = scoring.formula
        self.sums: Sums | None = None
        if self.formula is not None:
            self.sums = sums_of(self.rule, read, scoring.kinds, runners)

    def terms(self) -> list[list[Term]]:
        """Each runner's terms, in the rule's order: what makes its score."""
        if self.formula is None or self.sums is None:
            return [[] for _ in self.runners]
        named = list(zip(self.formula.names, self.formula.weights, strict=True))
        columns = [
            [Term(name, weight, value, weight * value) for value in values.tolist()]
            for (name, weight), values in zip(named, self.formula.signals(self.sums), strict=True)
        ]
        return [list(terms) for terms in zip(*columns, strict=True)]

    def metrics(self) -> list[Row]:
        """Each runner's metrics: window, base, delta and total."""
        columns: dict[str, Iterator[SumsOf]] = {}
        for name, metric in self.rule.metrics.items():
            measure = f"{metric.event}:{metric.sum}"
            window, delta, total = (self.read.of(f"{what}:{measure}") for what in _WHATS)
            parts = (_plain(values) for values in (window, window - delta, delta, total))
            columns[name] = map(SumsOf, *parts)
        return [{name: next(column) for name, column in columns.items()} for _ in self.runners]

    def rows(self, frame: Frame, numbers: Sequence[int], boards: Boards) -> Iterator[Row]:
        """A row for each runner; numbers: their runner numbers; boards: to tell movements from."""
        read, shown = self.read, {slot.runner: slot for slot in frame.slots}
        columns = zip(
            numbers,
            self.runners,
            read.standing.tolist(),
            read.better.tolist(),
            read.score.tolist(),
            self.terms(),
            self.metrics(),
            strict=True,
        )
        for number, runner, standing, better, score, terms, metrics in columns:
            slot = shown.get(number)
            labels: tuple[str, ...] = ()
            stock, price = runner.stock, runner.price
            place, rank = standing or None, better + 1 if standing else None
            rest = score - sum(term.contribution for term in terms)
            if slot is not None:
                place, score, labels = slot.standing or slot.slot, slot.score, slot.labels  # noqa: PLW2901  # the frame's
                stock, price = _told(slot.stock, stock), _told(slot.price, price)  # as events have stated them
                terms, rest = list(slot.terms) or terms, 0.0  # noqa: PLW2901  # as above
            movement = moved(boards, number, None if slot is None else slot.slot)
            yield {
                "venue": frame.venue,
                "product": runner.product,
                "merchant": runner.merchant,
                "title": runner.title,
                "runner": number,
                "slot": None if slot is None else slot.slot,
                "standing": place,
                "rank": rank,
                "of": read.field,
                "percentile": percentile(place, read.field),
                "score": score if standing or slot is not None else None,
                "terms": terms,
                "rest": rest,
                "movement": movement,
                "metrics": metrics,
                "stock": stock,
                "price": price,
                "badges": badges(
                    slot=None if slot is None else slot.slot, stock=stock, moved_5m=movement.five_min, labels=labels
                ),
            }


def is_settled(read: Field) -> bool:
    """Whether all scores were made with what is held now: not for up to a second after a bucket ends."""
    complete = Position.parse(read.commit.sets_position)
    return read.held is not None and complete >= Position.parse(read.held.position)


def _told(newer: int | None, older: int | None) -> int | None:
    return older if newer is None else newer


def percentile(standing: int | None, field: int) -> float | None:
    """The share of runners that stand behind, in percent with one decimal; None without a standing."""
    if standing is None or not field:
        return None
    return round(100 * max(field - standing, 0) / field, 1)


def _plain(values: FloatArray) -> list[float]:
    """Numbers for an answer: sums are whole but for tenths."""
    return [int(value) if value.is_integer() else round(value, 1) for value in values.tolist()]


def sums_of(rule: Rule, read: Field, kinds: Mapping[str, int], runners: Sequence[Runner] = ()) -> Sums:
    """The sums as the formula takes them, for all measures of the rule; runners: for a rule with attributes."""
    window, base_tenths, total = (np.zeros((len(read.score), 2 * len(kinds)), np.int64) for _ in range(3))
    for metric in rule.metrics.values():
        measure, at = f"{metric.event}:{metric.sum}", 2 * kinds[metric.event] + (metric.sum == "amount")
        now, delta, ever = (read.of(f"{what}:{measure}") for what in _WHATS)
        window[:, at], total[:, at] = now, ever
        base_tenths[:, at] = np.rint(10 * (now - delta))
    named = {term.attribute for term in rule.terms if isinstance(term, AttributeTerm)}
    given = [runner.numbers() for runner in runners] if named else []
    attributes = {name: np.array([each.get(name, 0.0) for each in given], np.float64) for name in named}
    return Sums(window, base_tenths, total, attributes)
