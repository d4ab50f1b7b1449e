"""Advice: the fewest events that take a product to a place, found by the race's own formula and tried on a copy.

An event changes only its own runner's score, for what the venue as a whole has counted is held while a bucket runs.
So a place is reached once the runner's score passes that of who holds it, and the fewest events are found by scoring
the runner with one more, two more, ... of them, thousands at a time, by the code that scores the race.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from racing.entries import Entry, Tick
from racing.errors import BoundError
from racing.events import EventBatch
from racing.formula import Sums
from racing.model import IntArray, Position
from racing.questions import board_of, standing, standings
from racing.race import Race

EVENTS_MAX = 200_000
"""More events than this of one kind are no advice."""
_AT_ONCE = (256, 4_096, 32_768)
"""Rows scored in one go: small changes are found at once, great ones in bounded memory."""
_PAID = ("order", "pay")
"""Kinds that coarse advice speaks of: they cost money to fake."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place to reach: a slot, a standing, or, where neither is given, the next standing."""

    slot: int | None = None
    standing: int | None = None


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """So many further events of a kind, of this amount each (minor units; 0: without one), within the running bucket.

    Coarse: at_least and at_most stand for the number. reaches_slot: the slot that the product would then have on a
    board that is otherwise as it is now; None: none.
    """

    event: str
    number: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    amount: int = 0
    reaches_standing: int | None = None
    reaches_slot: int | None = None


class Mix(msgspec.Struct, frozen=True):
    """Further events of several kinds together, in the proportions in which the venue has them."""

    changes: tuple[Change, ...]
    reaches_standing: int
    reaches_slot: int | None


class Advice(msgspec.Struct, frozen=True):
    """What would take a product to a place, and how long it keeps its own if nothing more happens to anyone.

    wanted: the standing to reach; None where there is none better. alone: of each kind by itself, those that reach it;
    not_alone: kinds of which no number up to EVENTS_MAX does. lasts_ms: time until its standing is worse; None: it is
    not, until both windows are empty.
    """

    product: str
    mode: Literal["coarse", "exact"]
    standing: int
    of: int
    slot: int | None
    wanted: int | None
    alone: tuple[Change, ...]
    not_alone: tuple[str, ...]
    mix: Mix | None
    lasts_ms: int | None
    assumed: tuple[str, ...]


_ASSUMED = (
    "nothing else happens meanwhile: others keep their scores",
    "the events come now, within the running bucket of the window",
    "the rule and the orders of the desk stay as they are",
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """An event kind that the rule counts, and what one event of it adds: (measure, how much) pairs."""

    name: str
    amount: int
    adds: tuple[tuple[int, int], ...]


def advise(race: Race, runner: int, target: Target, *, price: int | None, mode: Literal["coarse", "exact"]) -> Advice:
    """The advice for a runner. price: what one of its payments brings, minor units; None: as those that it has had.

    coarse: what is no recipe for faking: ranges of paid orders alone, no mix, and time in steps.
    Raises BoundError for a place that there is not. Cost: some tens of thousands of scorings, two copies of the race,
    and one pass through two windows without events.
    """
    now, slots = standing(race, runner), {slot.runner: slot.slot for slot in race.slots()}
    wanted = _wanted(race, runner, now, target)
    kinds = [kind for kind in _kinds(race, runner, price) if mode == "exact" or kind.name in _PAID]
    found = [] if wanted is None else [(kind, _fewest(race, runner, [kind], [1.0], wanted)) for kind in kinds]
    changes = {kind: number for kind, number in found if number is not None}
    exact = mode == "exact"
    lasts_ms = _lasts_ms(race, runner, now)
    return Advice(
        product=race.products[runner],
        mode=mode,
        standing=now,
        of=len(race.scores),
        slot=slots.get(runner),
        wanted=wanted,
        alone=tuple(
            _change(race, runner, kind, number) if exact else _range(kind, number) for kind, number in changes.items()
        ),
        not_alone=tuple(kind.name for kind, number in found if number is None),
        mix=_mix(race, runner, list(changes), wanted) if exact and wanted is not None and changes else None,
        lasts_ms=lasts_ms if exact else _step_below(lasts_ms),
        assumed=(*_ASSUMED, *_amounts(kinds)),
    )


# -- the place ------------------------------------------------------------------------------------------------


def _wanted(race: Race, runner: int, now: int, target: Target) -> int | None:
    """The standing to reach; None where the runner's own is as good."""
    last = len(race.scores)
    if target.standing is not None:
        if target.standing > last:
            raise BoundError(f"standing: must be at most {last}, as many products race, not {target.standing}")
        wanted = target.standing
    elif target.slot is not None:
        wanted = _standing_of_slot(race, runner, target.slot)
    else:
        wanted = now - 1
    return wanted if 1 <= wanted < now else None


def _standing_of_slot(race: Race, runner: int, slot: int) -> int:
    """The standing that takes a slot: the best of the others that hold it or one below it."""
    if slot > race.rule.board.slots:
        raise BoundError(f"slot: must be at most {race.rule.board.slots}, as many as the board has, not {slot}")
    board = board_of(race)
    held = [each for each in board[slot - 1 :].tolist() if each != runner]
    if board[: slot - 1].tolist().count(runner) or not held:
        return standing(race, runner)
    return int(standings(race.scores)[held].min())


def _beaten(race: Race, runner: int, wanted: int) -> int:
    """Who must be beaten for a standing: the runner that has it."""
    others = np.delete(np.arange(len(race.scores)), runner)
    best = np.lexsort((others, -race.scores[others]))
    return int(others[best[wanted - 1]])


# -- the events -----------------------------------------------------------------------------------------------


def _kinds(race: Race, runner: int, price: int | None) -> list[_Kind]:
    """The event kinds that the rule counts, in the order in which its metrics name them."""
    kinds = []
    for name in dict.fromkeys(metric.event for metric in race.rule.metrics.values()):
        count = 2 * race.kinds[name]
        summed = any(metric.event == name and metric.sum == "amount" for metric in race.rule.metrics.values())
        amount = _amount(race, runner, count, price) if summed else 0
        kinds.append(_Kind(name, amount, ((count, 1), *(((count + 1, amount),) if amount else ()))))
    return kinds


def _amount(race: Race, runner: int, count: int, price: int | None) -> int:
    """What one more event of a kind brings: the price, else the runner's own mean so far, else the venue's."""
    if price is not None:
        return price
    for number, amount in (
        (
            race.windows.column(np.array([runner]), count)[2][0],
            race.windows.column(np.array([runner]), count + 1)[2][0],
        ),
        (race.held.now[count] + race.held.before[count], race.held.now[count + 1] + race.held.before[count + 1]),
    ):
        if number > 0 and amount > 0:
            return int(amount) // int(number)
    return 0


def _amounts(kinds: list[_Kind]) -> Iterator[str]:
    for kind in kinds:
        if kind.amount:
            yield f"each further {kind.name} has an amount of {kind.amount} (minor units)"


def _fewest(race: Race, runner: int, kinds: list[_Kind], shares: list[float], wanted: int) -> int | None:
    """The fewest events, spread over kinds by their shares, that reach a standing; None where EVENTS_MAX do not."""
    other = _beaten(race, runner, wanted)
    bar, sight = race.scores[other], race.sight()
    start = 1
    while start <= EVENTS_MAX:
        size = next((size for size in _AT_ONCE if start < 4 * size), _AT_ONCE[-1])
        numbers = np.arange(start, min(start + size, EVENTS_MAX + 1))
        sums = _with(race, runner, kinds, [_spread(numbers, share) for share in shares])
        scores = sight.lift.scores(np.full(len(numbers), runner), sight.formula.scores(sums))
        passed = np.flatnonzero((scores > bar) | ((scores == bar) & (runner < other)))
        if len(passed):
            return int(numbers[passed[0]])
        start = int(numbers[-1]) + 1
    return None


def _spread(numbers: IntArray, share: float) -> IntArray:
    """How many of so many events are of a kind with this share; grows with their number."""
    spread: IntArray = np.floor(numbers * share + 0.5).astype(np.int64)
    return spread


def _with(race: Race, runner: int, kinds: list[_Kind], numbers: list[IntArray]) -> Sums:
    """The runner's sums with further events: row i has numbers[k][i] of each kind k."""
    sums = race.sums(np.full(len(numbers[0]), runner))
    for kind, added in zip(kinds, numbers, strict=True):
        for measure, each in kind.adds:
            sums.window[:, measure] += added * each
            if sums.total is not None:
                sums.total[:, measure] += added * each
    return sums


def _mix(race: Race, runner: int, kinds: list[_Kind], wanted: int) -> Mix | None:
    """Events of all kinds that help, together and as the venue has them; None where they do not reach it."""
    counts = [max(int(race.held.now[kind.adds[0][0]] + race.held.before[kind.adds[0][0]]), 0) for kind in kinds]
    if not any(counts):
        counts = [1] * len(kinds)
    shares = [count / sum(counts) for count in counts]
    fewest = _fewest(race, runner, kinds, shares, wanted)
    if fewest is None:
        return None
    numbers = [int(_spread(np.array([fewest]), share)[0]) for share in shares]
    spread = [(kind, number) for kind, number in zip(kinds, numbers, strict=True) if number]
    reached, slot = _tried(race, runner, spread)
    return Mix(tuple(Change(kind.name, number, amount=kind.amount) for kind, number in spread), reached, slot)


def _change(race: Race, runner: int, kind: _Kind, number: int) -> Change:
    reached, slot = _tried(race, runner, [(kind, number)])
    return Change(kind.name, number, amount=kind.amount, reaches_standing=reached, reaches_slot=slot)


# -- tried on a copy ------------------------------------------------------------------------------------------


def events_of(runner: int, event: str, number: int, amount: int) -> EventBatch:
    """So many events of a kind and amount, as they would be logged."""
    return EventBatch(
        kinds=(event,),
        kind=np.zeros(number, np.int64),
        runner=np.full(number, runner),
        amount=np.full(number, amount) if amount else None,
    )


def _tried(race: Race, runner: int, changes: list[tuple[_Kind, int]]) -> tuple[int, int | None]:
    """(standing, slot) of the runner once these events have come, by the fold itself."""
    tried = race.copy()
    position = race.position
    tried.apply(
        Entry(Position(position.ms, position.seq + 1 + index), events_of(runner, kind.name, number, kind.amount))
        for index, (kind, number) in enumerate(changes)
    )
    slot = next((slot.slot for slot in tried.slots() if slot.runner == runner), None)
    return standing(tried, runner), slot


def _lasts_ms(race: Race, runner: int, now: int) -> int | None:
    """Time until the runner's standing is worse if nothing comes but time; None if it never is."""
    alone = race.copy()
    end_ms = race.moment_ms + 2 * race.rule.window_ms + race.rule.bucket_ms
    while (at_ms := alone.due_ms()) is not None and at_ms <= end_ms:
        alone.apply([Entry(Position(at_ms, 0), Tick())])
        if standing(alone, runner) > now:
            return at_ms - race.moment_ms
    return None


# -- coarse ---------------------------------------------------------------------------------------------------

_RANGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
_LASTS_MS = (0, 60_000, 180_000, 300_000, 600_000, 1_800_000, 3_600_000)


def _step_below(lasts_ms: int | None) -> int | None:
    return None if lasts_ms is None else max(step for step in _LASTS_MS if step <= lasts_ms)


def _range(kind: _Kind, number: int) -> Change:
    """The range in which a number lies, and no more."""
    above = next(index for index, bound in enumerate(_RANGES) if bound >= number and index)
    return Change(kind.name, at_least=_RANGES[above - 1], at_most=_RANGES[above], amount=kind.amount)
