"""Where products stand and why: rows made of the frame in memory, the sorted sets, and the formula of the race.

A product on the board has slot, standing, score and terms of the frame that is named. All else is of the commit at
which the sets were read, perhaps a moment later; `settled` says whether all scores are made with what the present
bucket holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, repeat
from typing import Any

import msgspec
import numpy as np

from api.moves import NO_BOARDS, NOT_MOVED, Boards, Movement, moved
from api.view import VenueView
from racing.badges import badges
from racing.entries import Runner
from racing.formula import Formula, Sums, formula_of
from racing.model import FloatArray, Frame, Position, Slot, Term
from racing.rule import AttributeTerm, Rule, parse_rule
from racing.store.desk import Desk
from racing.store.held import HeldRecord
from racing.store.standings import SUMS, Field


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


class SumsOf(msgspec.Struct, frozen=True, gc=False):
    """The sums of a metric. Kept from the garbage collector, which thousands of them would set to work."""

    window: float
    base: float
    delta: float
    total: float


class Metrics(msgspec.Struct, frozen=True, gc=False):
    """SumsOf of each metric of a rule, by name: what metrics_of makes has them as fields."""


@lru_cache(maxsize=256)
def metrics_of(names: tuple[str, ...]) -> type[Metrics]:
    """What rows of a rule with these metrics have: a fifth of what a dict costs to make."""
    fields = [(name, SumsOf) for name in names]
    made: Any = msgspec.defstruct("MetricsOf", fields, bases=(Metrics,), frozen=True, gc=False)
    of_rule: type[Metrics] = made
    return of_rule


class Row(msgspec.Struct, frozen=True, gc=False):
    """Where a product stands and why (api/schemas/merchants.py, StandingOut). Kept from the collector likewise."""

    venue: str
    product: str
    merchant: str
    title: str
    runner: int
    slot: int | None
    standing: int | None
    rank: int | None
    of: int
    percentile: float | None
    score: float | None
    terms: tuple[Term, ...]
    rest: float
    movement: Movement
    metrics: Metrics
    stock: int | None
    price: int | None
    badges: list[str]


@dataclass(slots=True)
class Told:
    """Rows of some products of one venue, by runner number, what they are of, and their data."""

    ref: FrameRef
    rows: dict[int, Row] = field(default_factory=dict)
    runners: Mapping[int, Runner] = field(default_factory=dict)


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

    boards: to tell movements from. Raises StoreError.
    """
    known = await desk.runners.by_number(view.venue.venue, numbers)
    return await told_of(desk, view, {n: each for n, each in known.items() if owns(each.merchant)}, boards)


async def told_of(desk: Desk, view: VenueView, runners: Mapping[int, Runner], boards: Boards) -> Told:
    """Rows of these runners, by number. Raises StoreError.

    Cost: docs/merchants.md has that of 1,000 in an answer.
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
    found = Told(ref, runners=runners)
    reads = await desk.standings.read(venue, sorted(runners), measures_read(view.rule))
    for held, group in groupby(reads, lambda each: each[1].held):  # one, but where a bucket ends between two pieces
        pieces = list(group)
        some, read = [number for piece, _ in pieces for number in piece], Field.joined([each for _, each in pieces])
        scoring = Scoring(await rule_of(desk, view, held), held)
        piece = Piece(scoring, read, [runners[number] for number in some])
        settled = found.ref.settled and all(is_settled(each) for _, each in pieces)
        found.ref = msgspec.structs.replace(ref, settled=settled, position=read.commit.position)
        found.rows |= zip(some, piece.rows(frame, some, boards), strict=True)
    return found


def measures_read(rule: Rule) -> list[str]:
    """The measures whose sums a rule's metrics are."""
    return sorted({f"{metric.event}:{metric.sum}" for metric in rule.metrics.values()})


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


class Piece:
    """Some runners of one venue with what the sets say of them, and their scores taken apart."""

    def __init__(self, scoring: Scoring, read: Field, runners: Sequence[Runner]) -> None:
        self.rule, self.read, self.runners = scoring.rule, read, runners
        self.formula = scoring.formula
        self.sums: Sums | None = None
        if self.formula is not None:
            self.sums = sums_of(self.rule, read, scoring.kinds, runners)

    def terms(self) -> tuple[list[tuple[Term, ...]], FloatArray]:
        """Each runner's terms, in the rule's order: what makes its score; and what they come to."""
        total = np.zeros(len(self.runners))
        if self.formula is None or self.sums is None:
            return [()] * len(self.runners), total
        columns: list[Iterable[Term]] = []
        named = zip(self.formula.names, self.formula.weights, self.formula.signals(self.sums), strict=True)
        for name, weight, values in named:
            given = weight * values
            total += given
            columns.append(map(Term, repeat(name), repeat(weight), values.tolist(), given.tolist()))
        return list(zip(*columns, strict=True)), total

    def metrics(self) -> list[Metrics]:
        """Each runner's metrics: window, base, delta and total."""
        sums: list[FloatArray] = []
        for metric in self.rule.metrics.values():
            measure = f"{metric.event}:{metric.sum}"
            total, window, delta = (self.read.of(f"{what}:{measure}") for what in SUMS)
            sums += window, window - delta, delta, total
        plain = _plain(np.array(sums))
        columns = [map(SumsOf, *plain[first : first + 4]) for first in range(0, len(plain), 4)]
        return list(map(metrics_of(tuple(self.rule.metrics)), *columns))

    def rows(self, frame: Frame, numbers: Sequence[int], boards: Boards) -> list[Row]:
        """A row for each runner; numbers: their runner numbers; boards: to tell movements from."""
        read, shown = self.read, {slot.runner: slot for slot in frame.slots}
        stocks = [runner.stock for runner in self.runners]
        badged = {stock: badges(slot=None, stock=stock, moved_5m=None) for stock in set(stocks)}
        terms, total = self.terms()
        stands, of = read.standing.tolist(), read.field
        places = [_place(shown[n]) if n in shown else standing for n, standing in zip(numbers, stands, strict=True)]
        rows = map(  # a loop over rows takes three times as long
            Row,
            repeat(frame.venue),
            [runner.product for runner in self.runners],
            [runner.merchant for runner in self.runners],
            [runner.title for runner in self.runners],
            numbers,
            repeat(None),
            [place or None for place in places],
            [better + 1 if standing else None for better, standing in zip(read.better.tolist(), stands, strict=True)],
            repeat(of),
            percentiles(places, of),
            [score if standing else None for score, standing in zip(read.score.tolist(), stands, strict=True)],
            terms,
            (read.score - total).tolist(),
            repeat(NOT_MOVED),
            self.metrics(),
            stocks,
            [runner.price for runner in self.runners],
            [badged[stock] for stock in stocks],
        )
        return [row if row.runner not in shown else _on_board(row, shown[row.runner], boards) for row in rows]


def _on_board(row: Row, slot: Slot, boards: Boards) -> Row:
    """The row of a product on the board, by what its slot says: stock and price as events have stated them."""
    stock = _told(slot.stock, row.stock)
    movement = moved(boards, row.runner, slot.slot)
    return msgspec.structs.replace(
        row,
        slot=slot.slot,
        score=slot.score,
        terms=slot.terms or row.terms,
        rest=0.0,
        movement=movement,
        stock=stock,
        price=_told(slot.price, row.price),
        badges=badges(slot=slot.slot, stock=stock, moved_5m=movement.five_min, labels=slot.labels),
    )


def _place(slot: Slot) -> int:
    """The standing of a product on the board."""
    return slot.standing or slot.slot


def is_settled(read: Field) -> bool:
    """Whether all scores were made with what is held now: not for up to a second after a bucket ends."""
    complete = Position.parse(read.commit.sets_position)
    return read.held is not None and complete >= Position.parse(read.held.position)


def _told(newer: int | None, older: int | None) -> int | None:
    return older if newer is None else newer


def percentiles(standings: Sequence[int], field: int) -> list[float | None]:
    """The share of runners that stand behind, in percent with one decimal; None without a standing (0)."""
    behind = np.maximum(field - np.array(standings, np.int64), 0)
    shares = np.round(100 * behind / max(field, 1), 1).tolist()
    return [share if standing else None for share, standing in zip(shares, standings, strict=True)]


def _plain(columns: FloatArray) -> list[list[float]]:
    """Columns of numbers for an answer: sums are whole but for tenths."""
    whole, tenths = np.rint(columns), np.rint(10 * columns)
    same = 10 * whole == tenths
    plain: list[list[float]] = whole.astype(np.int64).tolist()
    for column in np.flatnonzero(~same.all(axis=1)).tolist():
        parts = zip(plain[column], same[column].tolist(), (tenths[column] / 10).tolist(), strict=True)
        plain[column] = [number if is_whole else tenth for number, is_whole, tenth in parts]
    return plain


def sums_of(rule: Rule, read: Field, kinds: Mapping[str, int], runners: Sequence[Runner] = ()) -> Sums:
    """The sums as the formula takes them, for all measures of the rule; runners: for a rule with attributes."""
    window, base_tenths, total = (np.zeros((len(read.score), 2 * len(kinds)), np.int64) for _ in range(3))
    for metric in rule.metrics.values():
        measure, at = f"{metric.event}:{metric.sum}", 2 * kinds[metric.event] + (metric.sum == "amount")
        ever, now, delta = (read.of(f"{what}:{measure}") for what in SUMS)
        window[:, at], total[:, at] = now, ever
        base_tenths[:, at] = np.rint(10 * (now - delta))
    named = {term.attribute for term in rule.terms if isinstance(term, AttributeTerm)}
    given = [runner.numbers() for runner in runners] if named else []
    attributes = {name: np.array([each.get(name, 0.0) for each in given], np.float64) for name in named}
    return Sums(window, base_tenths, total, attributes)
