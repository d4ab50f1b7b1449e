"""What if: a stretch of the log folded again under a draft, beside the race as it was, and their boards compared.

Both are the live fold over the same entries, so the race beside the draft is what was served. What shoppers would have
done before another board is not simulated, and nothing is said of sales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from racing.entries import Entry, RuleChange, Tick
from racing.errors import BoundError
from racing.events import EventBatch
from racing.explain import contributions
from racing.model import START, IntArray
from racing.preview import not_full
from racing.questions import Draft, board_of, drafted
from racing.race import Race

ASSUMED = (
    "the same events, as they came: what shoppers would have done before another board is not simulated",
    "no sales are forecast",
)


InTime = Callable[[], bool]
"""Whether there is time to go on."""


class Compared(msgspec.Struct, frozen=True):
    """Both boards at one moment: the state just before at_ms.

    overlap: share of the larger board's slots whose products are on both. rank_change: mean of |slot - slot| of those.
    """

    at_ms: int
    position: str
    overlap: float
    rank_change: float
    entered: tuple[str, ...]
    left: tuple[str, ...]


class TermShare(msgspec.Struct, frozen=True):
    """What a term contributes to a slot of the board on average, as served and under the draft; None: not its term."""

    name: str
    served: float | None
    draft: float | None


class WhatIf(msgspec.Struct, frozen=True):
    """Boards compared every every_ms within [from_ms, until_ms]; means over them, None where there are none.

    same: how many were the same, slot by slot. warm_from_ms: from when the draft's windows were whole.
    whole: False where the time for it ran out: then until_ms is as far as it came.
    """

    from_ms: int
    until_ms: int
    every_ms: int
    events: int
    boards: tuple[Compared, ...]
    same: int
    overlap: float | None
    rank_change: float | None
    terms: tuple[TermShare, ...]
    warm_from_ms: int
    whole: bool = True
    assumed: tuple[str, ...] = ASSUMED


@dataclass(frozen=True, slots=True)
class Span:
    """What is compared: boards at every multiple of every_ms within [from_ms, until_ms]; events_max are folded."""

    from_ms: int
    until_ms: int
    every_ms: int
    events_max: int

    def stops(self) -> Iterator[int]:
        """The moments at which boards are compared."""
        first = -(-self.from_ms // self.every_ms) * self.every_ms
        return iter(range(first, self.until_ms + 1, self.every_ms))


@dataclass(slots=True)
class _Means:
    """Contributions by term, added up over boards."""

    sums: dict[str, float] = field(default_factory=dict)
    slots: int = 0

    def add(self, race: Race, board: IntArray) -> None:
        self.slots += len(board)
        for name, values in contributions(race, board):
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())

    def of(self, name: str) -> float | None:
        return self.sums[name] / max(self.slots, 1) if name in self.sums else None


def what_if(
    served: Race,
    draft: Draft,
    entries: Iterable[list[Entry]],
    span: Span,
    *,
    in_time: InTime = lambda: True,
) -> WhatIf:
    """The boards of a draft beside those that were served, from a race before the span and the entries after it.

    served is folded on. The draft holds from the start: where it has a rule, later versions in the log are as if they
    had not been; changes of orders and phases are as they were. in_time: asked before each batch of entries; where
    it says no, the boards so far are the answer. Raises BoundError past span.events_max, OrderError.
    """
    beside = _Beside(served, draft)
    boards: list[Compared] = []
    stops = span.stops()
    stop = next(stops, None)
    events, whole, until_ms = 0, True, span.until_ms
    for batch in entries:
        if not in_time():
            whole, until_ms = False, min(max(served.moment_ms, span.from_ms), span.until_ms)
            break
        events += sum(len(entry.body) for entry in batch if isinstance(entry.body, EventBatch))
        if events > span.events_max:
            raise BoundError(f"more than {span.events_max:,} events lie in that time: ask for fewer minutes")
        rest = batch
        while stop is not None and rest and rest[-1].position.ms >= stop:
            cut = next(index for index, entry in enumerate(rest) if entry.position.ms >= stop)
            beside.fold(rest[:cut])
            boards += beside.compared(stop)
            rest, stop = rest[cut:], next(stops, None)
        beside.fold(rest)
    while whole and stop is not None:
        boards += beside.compared(stop)
        stop = next(stops, None)
    return WhatIf(
        from_ms=span.from_ms,
        until_ms=until_ms,
        every_ms=span.every_ms,
        events=events,
        boards=tuple(boards),
        same=beside.same,
        overlap=_mean([board.overlap for board in boards]),
        rank_change=_mean([board.rank_change for board in boards]),
        terms=beside.terms(),
        warm_from_ms=beside.warm_from_ms,
        whole=whole,
    )


class _Beside:
    """The race as it was and the draft, folded in step."""

    def __init__(self, served: Race, draft: Draft) -> None:
        self.served = served
        self.draft = drafted(served, draft)
        missing = not_full(served, self.draft)
        self.warm_from_ms = max([served.moment_ms, *(each.full_from_ms for each in missing)])
        self._dropped: tuple[type, ...] = () if draft.rule is None else (RuleChange,)
        self._means = (_Means(), _Means())
        self.same = 0

    def fold(self, entries: list[Entry]) -> None:
        """Fold entries into both; for the draft, what it stands in for is a tick: time moves alike."""
        if not entries:
            return
        self.served.apply(entries)
        kept = [Entry(entry.position, Tick()) if isinstance(entry.body, self._dropped) else entry for entry in entries]
        self.draft.apply(kept)
        self.served.take_changes()
        self.draft.take_changes()

    def compared(self, at_ms: int) -> Iterator[Compared]:
        """Both boards as they stand; none before the log begins."""
        if self.served.position == START:
            return
        was, would = board_of(self.served), board_of(self.draft)
        for means, race, board in zip(self._means, (self.served, self.draft), (was, would), strict=True):
            means.add(race, board)
        self.same += np.array_equal(was, would)
        slot_was = {runner: slot for slot, runner in enumerate(was.tolist())}
        slot_would = {runner: slot for slot, runner in enumerate(would.tolist())}
        both = slot_was.keys() & slot_would.keys()
        products = self.served.products
        yield Compared(
            at_ms=at_ms,
            position=str(self.served.position),
            overlap=len(both) / max(len(was), len(would), 1),
            rank_change=sum(abs(slot_was[each] - slot_would[each]) for each in both) / max(len(both), 1),
            entered=tuple(products[runner] for runner in would.tolist() if runner not in slot_was),
            left=tuple(products[runner] for runner in was.tolist() if runner not in slot_would),
        )

    def terms(self) -> tuple[TermShare, ...]:
        """Each term's mean contribution on either side, the draft's terms first."""
        was, would = self._means
        return tuple(TermShare(name, was.of(name), would.of(name)) for name in dict.fromkeys([*would.sums, *was.sums]))


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
