"""Backtest: recorded events folded offline, event time as the clock, a board at every boundary.

It is the live race's own fold: the file becomes a log (the rule, the enrolments, batches of events, ticks)
and each line is the board just before its boundary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from racing.entries import Body, Enrolment, Entry, RuleChange, Runner, Tick
from racing.errors import RacingError
from racing.events import EventBatch
from racing.formula import FORMULA
from racing.intake import Counts
from racing.model import IntArray, Position
from racing.race import Race
from racing.recorded import Recorded
from racing.rule import Rule
from racing.stability import GRID_MS

LINES_MAX = 20_000_000
"""Boundaries of one backtest: 6 years at every 10 s. More than that is a row with a wrong time."""

MERCHANT = "recorded"
"""Who owns the runners of an event file: the files do not say."""

_encode = msgspec.json.Encoder().encode


class LineSlot(msgspec.Struct, frozen=True):
    """One slot of a line: its position from 1, the product in it and its score."""

    slot: int
    product: str
    score: float


class Line(msgspec.Struct, frozen=True):
    """The board just before at_ms."""

    at_ms: int
    slots: tuple[LineSlot, ...]

    def json(self) -> bytes:
        """The line as one JSON object, without a line break."""
        return _encode(self)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Recorded events by time, rows of one time in file order, and the bounds of their groups.

    Group i is rows bounds[i] .. bounds[i+1]: one log entry, whose moment is the time of its last row.
    """

    ts_ms: IntArray
    kind: IntArray
    product: IntArray
    amount: IntArray
    bounds: list[int]
    moments_ms: list[int]


class Backtest:
    """One run over recorded events; iterate to fold them, line by line. Each iteration starts anew.

    every_ms: > 0; a line is written for every multiple of it from the first one after the first event to the
    first one after the last. Raises RacingError if that makes more than LINES_MAX lines.
    Cost: the fold's; stretches in which nothing can move cost only their lines.
    """

    def __init__(self, recorded: Recorded, rule: Rule, every_ms: int) -> None:
        self._recorded, self._rule, self._every_ms = recorded, rule, every_ms
        self.boundaries = boundaries(recorded, every_ms)
        self.race = Race()

    @property
    def counts(self) -> Counts:
        """What became of the events folded so far."""
        return self.race.counts

    def __len__(self) -> int:
        return len(self.boundaries)

    def __iter__(self) -> Iterator[Line]:
        self.race = race = Race()
        if not self.boundaries:
            return
        events = _sorted(self._recorded, self._rule, self._every_ms)
        log = _Log(race, self._recorded.kinds)
        log.open(self._rule, self._recorded.products, int(events.ts_ms[0]))
        slots: tuple[LineSlot, ...] | None = None
        group = 0
        for at_ms in self.boundaries:
            first = group
            while group < len(events.moments_ms) and events.moments_ms[group] < at_ms:
                group += 1
            if first == group and race.due_ms() is None and slots is not None:
                yield Line(at_ms, slots)  # silence: every window is empty and stays so, and no step of the board waits
                continue
            log.fold(events, range(first, group), at_ms - 1)
            if len(race.take_changes().runners) or slots is None or self._rule.board.remembers:
                slots = _slots(race)
            yield Line(at_ms, slots)


def backtest(recorded: Recorded, rule: Rule, every_ms: int) -> Backtest:
    """The boards of recorded events under a rule, to be iterated: one Line per multiple of every_ms.

    Products are enrolled in order of first appearance in the file; rows are taken by time, those of one time
    in file order. Nothing is refused here: ``counts`` tells what the fold did with the events.
    """
    return Backtest(recorded, rule, every_ms)


def boundaries(recorded: Recorded, every_ms: int) -> range:
    """The multiples of every_ms from the first after the first event to the first after the last."""
    if every_ms <= 0:
        raise RacingError(f"a board every {every_ms} ms cannot be: give at least 1 ms")
    if not len(recorded):
        return range(0)
    first_ms, last_ms = int(recorded.ts_ms.min()), int(recorded.ts_ms.max())
    found = range((first_ms // every_ms + 1) * every_ms, (last_ms // every_ms + 1) * every_ms + 1, every_ms)
    if len(found) > LINES_MAX:
        raise RacingError(
            f"the events lie between ts_ms {first_ms} and {last_ms}, which makes {len(found):,} lines of "
            f"{every_ms / 1000:g} s, more than {LINES_MAX:,}: is a time wrong, or should --every be longer?"
        )
    return found


def _sorted(recorded: Recorded, rule: Rule, every_ms: int) -> _Sorted:
    """The events in the order in which they are folded, in the largest groups that change nothing.

    A group does not reach over a boundary, a step of the windows, the rule's lateness, or a look of the board's steps:
    with a moment so near, each of its events counts just as it would in an entry of its own.
    """
    order = np.argsort(recorded.ts_ms, kind="stable")
    ts_ms = recorded.ts_ms[order]
    steps = [every_ms, rule.bucket_ms // 10, max(rule.lateness_ms, 1), *([GRID_MS] if rule.board.remembers else [])]
    cut = np.zeros(len(order) - 1, np.bool_)
    for step_ms in steps:
        step = ts_ms // step_ms
        cut |= step[1:] != step[:-1]
    bounds = [0, *(np.flatnonzero(cut) + 1).tolist(), len(order)]
    return _Sorted(
        ts_ms=ts_ms,
        kind=recorded.kind[order],
        product=recorded.product[order],
        amount=recorded.amount[order],
        bounds=bounds,
        moments_ms=ts_ms[np.array(bounds[1:]) - 1].tolist(),
    )


class _Log:
    """Writes the log that the race folds: entries in growing positions, none of them kept."""

    def __init__(self, race: Race, kinds: tuple[str, ...]) -> None:
        self._race, self._kinds = race, kinds
        self._seq = 0

    def open(self, rule: Rule, products: tuple[str, ...], moment_ms: int) -> None:
        """Set the rule and enrol every product, numbered in their order."""
        runners = [
            (number, Runner(product=product, merchant=MERCHANT, title=product))
            for number, product in enumerate(products)
        ]
        document = rule.model_dump(mode="json", exclude_none=True)
        bodies = (RuleChange(version=1, rule=document, formula=FORMULA), Enrolment(runners))
        self._race.apply([self._entry(moment_ms, body) for body in bodies])

    def fold(self, events: _Sorted, groups: range, until_ms: int) -> None:
        """Fold these groups of events and let time reach until_ms."""
        entries = [self._entry(events.moments_ms[group], self._batch(events, group)) for group in groups]
        self._race.apply([*entries, self._entry(until_ms, Tick())])

    def _batch(self, events: _Sorted, group: int) -> EventBatch:
        rows = slice(events.bounds[group], events.bounds[group + 1])
        return EventBatch(
            kinds=self._kinds,
            kind=events.kind[rows],
            runner=events.product[rows],
            time_ms=events.ts_ms[rows],
            amount=events.amount[rows],
        )

    def _entry(self, moment_ms: int, body: Body) -> Entry:
        self._seq += 1
        return Entry(Position(moment_ms, self._seq), body)


def _slots(race: Race) -> tuple[LineSlot, ...]:
    order = race.order()
    return tuple(
        LineSlot(index, race.products[runner], score)
        for index, (runner, score) in enumerate(zip(order.tolist(), race.scores[order].tolist(), strict=True), start=1)
    )
