"""One candidate on one evening: the board of each look, and what it was worth by the true demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from loadtests.evenings import LOOK_MS, LOOKS_PER_MIN, BoolArray, Evening, Scene
from racing.demand import KINDS
from racing.entries import Enrolment, Entry, RuleChange, Runner
from racing.events import EventBatch
from racing.model import FloatArray, IntArray, Position
from racing.race import Race
from racing.rule import Rule

_STAY, _ABSENCE = LOOKS_PER_MIN, 5 * LOOKS_PER_MIN
"""A product takes off when it enters the true best for a minute at least, after five minutes outside."""
_ELSEWHERE = 0.15


@dataclass(frozen=True, slots=True)
class Watched:
    """The boards of one candidate: runner numbers, int64 (looks, slots), and how many had no events."""

    boards: IntArray
    idle: IntArray


def watch(rule: Rule, evening: Evening, *, position_bias: bool = False) -> Watched:
    """Fold an evening under a rule and keep the board of each look.

    With position_bias each event is kept with the attention of the slot in which its product stood at the
    look before: what a board shows then sells more, and what it sells keeps it there.
    """
    race = Race()
    race.apply(_opening(rule, evening))
    slots = min(rule.board.slots, len(evening.products))
    attention = _attention(np.arange(slots) + 1)
    seen = np.full(len(evening.products), _ELSEWHERE if position_bias else 1.0)
    boards = np.empty((len(evening.moments_ms), slots), np.int64)
    idle = np.empty(len(boards), np.int64)
    for look, moment_ms in enumerate(evening.moments_ms):
        batch = _batch(evening, look, seen)
        if len(batch):
            race.apply([Entry(Position(moment_ms - 1, 0), batch)])
        board: IntArray = np.array([slot.runner for slot in race.slots()], np.int64)
        boards[look] = board
        sums = race.sums(board)
        idle[look] = ((sums.window.sum(axis=1) + sums.base_tenths.sum(axis=1)) == 0).sum()
        if position_bias:
            seen[:] = _ELSEWHERE
            seen[board] = attention
    return Watched(boards, idle)


def _opening(rule: Rule, evening: Evening) -> Iterator[Entry]:
    at_ms = evening.moments_ms[0] - LOOK_MS - 1
    runners = [(number, Runner(product, "merchant", product)) for number, product in enumerate(evening.products)]
    yield Entry(Position(at_ms, 0), RuleChange(1, rule.model_dump(mode="json", exclude_none=True)))
    yield Entry(Position(at_ms, 1), Enrolment(runners))


def _batch(evening: Evening, look: int, seen: FloatArray) -> EventBatch:
    kind, product, time_ms, amount, chance = evening.events[look]
    kept = np.flatnonzero(chance < seen[product])
    return EventBatch(KINDS, kind[kept], product[kept], time_ms[kept], amount=amount[kept])


def _attention(slot: IntArray) -> FloatArray:
    """How likely a slot is looked at, the first being 1; a guess at a page that is scrolled: 0.31 at slot 50."""
    return slot.astype(np.float64) ** -0.3


@dataclass(frozen=True, slots=True)
class Figures:
    """What a candidate did in a scene; means over its looks.

    money, orders: true demand shown over the best possible. joined: share of the slots whose product was
    not on the board at the look before; moved: share of the slots that hold another product than before.
    found_s: seconds from a product's take-off until it is on the board, at most its stay; None without
    take-offs. idle: slots given to products without events in both windows.
    """

    money: float
    orders: float
    joined: float
    moved: float
    found_s: float | None
    idle: float


def figures(watched: Watched, evening: Evening, scene: Scene) -> Figures:
    """The figures of one scene."""
    boards, looks = watched.boards, evening.looks(scene)
    shown = np.zeros(evening.money.shape, np.bool_)
    np.put_along_axis(shown, boards, values=True, axis=1)
    joined, moved = np.zeros(len(boards)), np.zeros(len(boards))
    joined[1:] = (shown[1:] & ~shown[:-1]).sum(axis=1) / boards.shape[1]
    moved[1:] = (boards[1:] != boards[:-1]).mean(axis=1)
    waits = [wait for start, wait in _waits(shown, evening.money, boards.shape[1]) if looks[start]]
    return Figures(
        money=_share(evening.money, boards)[looks].mean(),
        orders=_share(evening.orders, boards)[looks].mean(),
        joined=joined[looks].mean(),
        moved=moved[looks].mean(),
        found_s=float(np.mean(waits)) * LOOK_MS / 1000 if waits else None,
        idle=watched.idle[looks].mean(),
    )


def _share(truth: FloatArray, boards: IntArray) -> FloatArray:
    best = -np.partition(-truth, boards.shape[1] - 1, axis=1)[:, : boards.shape[1]]
    shares: FloatArray = np.take_along_axis(truth, boards, axis=1).sum(axis=1) / best.sum(axis=1)
    return shares


def _waits(shown: BoolArray, truth: FloatArray, slots: int) -> Iterator[tuple[int, int]]:
    """(look at which a product takes off, looks until it is shown), for every take-off."""
    best = np.zeros(truth.shape, np.bool_)
    np.put_along_axis(best, np.argpartition(-truth, slots - 1, axis=1)[:, :slots], values=True, axis=1)
    for product in np.flatnonzero(best.any(axis=0)):
        for start, end in _stays(best[:, product]):
            found = np.flatnonzero(shown[start:end, product])
            yield start, int(found[0]) if len(found) else end - start


def _stays(inside: BoolArray) -> Iterator[tuple[int, int]]:
    """[start, end) of the stays that follow a long absence and last."""
    turns = np.flatnonzero(np.diff(inside)) + 1
    edges = [0, *turns.tolist(), len(inside)]
    for (before, start), (_, end) in pairwise(pairwise(edges)):
        if inside[start] and start - before >= _ABSENCE and end - start >= _STAY:
            yield start, end
