"""The steps of a board's order, each a small pure function: an order of runners in, another one out.

An order is int64 (n,), runner numbers, each once, the best first; its first ``slots`` are the board. No step loses or
doubles a runner, so a slot stays empty only where there are no more runners. Inputs are not written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from racing.model import IntArray
from racing.roster import NO_CODE, Codes

Mask = npt.NDArray[np.bool_]


class Relaxed(NamedTuple):
    """A slot whose runner keeps not what was asked: its place from 0, and which of the demands, by their index."""

    place: int
    demands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CapOf:
    """A cap as a step reads it: codes of the whole field by runner number, most of one within so many slots."""

    codes: Codes
    most: int
    within: int | None


@dataclass(frozen=True, slots=True)
class ShareOf:
    """A share as a step reads it: who counts, by runner number; least and greatest number of slots, None: any."""

    members: Mask
    least: int | None
    most: int | None


def first(order: IntArray, chosen: Sequence[int]) -> IntArray:
    """The order with the runners at these places first, as chosen; the others keep theirs."""
    rest = np.ones(len(order), np.bool_)
    rest[list(chosen)] = False
    return np.concatenate((order[list(chosen)], order[rest]))


def steadied(order: IntArray, held: Sequence[int]) -> IntArray:
    """Those who hold slots in the order in which they hold them, as far as they are still there; then the others."""
    place = {runner: index for index, runner in enumerate(order.tolist())}
    return first(order, [place[runner] for runner in held if runner in place])


def with_newcomers(order: IntArray, slots: int, chosen: Sequence[int]) -> IntArray:
    """The order with these newcomers on the board: those below it take its last slots from others."""
    count = min(slots, len(order))
    wanted = set(chosen)
    inside = order[:count].tolist()
    place = {runner: index for index, runner in enumerate(order.tolist())}
    below = sorted(place[runner] for runner in wanted if place.get(runner, 0) >= count)
    ways = [index for index in range(count) if inside[index] not in wanted]
    keep = len(ways) - min(len(below), len(ways))
    gone = set(ways[keep:])
    stay = [index for index in range(count) if index not in gone]
    return first(order, [*stay, *below[: count - len(stay)]])


class _Picking:
    """Runners of an order taken one by one, each the first that meets all demands, the last demands given up first."""

    def __init__(self, order: IntArray) -> None:
        self.order = order
        self.free: Mask = np.ones(len(order), np.bool_)
        self.picks: list[int] = []
        self.relaxed: list[Relaxed] = []

    def pick(self, demands: Sequence[Mask | None]) -> int:
        """The place of the next runner. demands: the most important first; None where one binds nobody now."""
        good, kept = self.free, len(demands)
        masks = [good]
        for demand in demands:
            good = good if demand is None else good & demand
            masks.append(good)
        while not masks[kept].any():
            kept -= 1
        place = int(masks[kept].argmax())
        if kept < len(demands):
            missed = [i for i, demand in enumerate(demands) if demand is not None and not demand[place]]
            self.relaxed.append(Relaxed(len(self.picks), tuple(missed)))
        self.free[place] = False
        self.picks.append(place)
        return place


def arranged(
    order: IntArray, slots: int, caps: Sequence[CapOf], shares: Sequence[ShareOf]
) -> tuple[IntArray, list[Relaxed]]:
    """The board slot by slot (打散, 配比): each takes the first runner of the order that breaks no cap and no share.

    A greatest share is full when it has its slots. When as many slots are left as the least shares lack, and can have,
    only theirs are taken. Where nobody meets all of that, the demands are given up from the last on: least shares, then
    greatest ones, then caps. Returns the order, and what was given up where; demands are counted caps first, then
    greatest shares, then the least ones as one. Cost: O(slots * n) in numpy.
    """
    picking = _Picking(order)
    codes = [cap.codes[order] for cap in caps]
    members = [share.members[order] for share in shares]
    count = min(slots, len(order))
    held = [0] * len(shares)
    for index in range(count):
        demands = [_within_cap(cap, own, picking.picks, index) for cap, own in zip(caps, codes, strict=True)]
        for number, share in enumerate(shares):
            demands.append(~members[number] if share.most is not None and held[number] >= share.most else None)
        lacking = [
            min(max(0, (share.least or 0) - held[number]), int((members[number] & picking.free).sum()))
            for number, share in enumerate(shares)
        ]
        wanted = [members[number] for number, lack in enumerate(lacking) if lack]
        demands.append(np.logical_or.reduce(wanted) if sum(lacking) >= count - index and wanted else None)
        place = picking.pick(demands)
        for number, own in enumerate(members):
            held[number] += bool(own[place])
    return first(order, picking.picks), picking.relaxed


def _within_cap(cap: CapOf, codes: Codes, picks: Sequence[int], index: int) -> Mask | None:
    """Who may take the slot at an index under a cap; None: everyone."""
    begin = 0 if cap.within is None else max(0, index - cap.within + 1)
    recent = codes[picks[begin:]]
    found, times = np.unique(recent[recent != NO_CODE], return_counts=True)
    full = found[times >= cap.most]
    return ~np.isin(codes, full) if len(full) else None


def tiered(order: IntArray, slots: int, kept: Mapping[int, Mask]) -> tuple[IntArray, list[Relaxed]]:
    """The board with slots kept for tiers: kept has, by index of the slot, who may take it, by runner number.

    A kept slot takes the first of its tier, another slot the first of all, but leaves those of a tier that has no more
    left than slots to come. Where nobody is left of a tier, its slot takes the first of all.
    """
    picking = _Picking(order)
    members = {id(mask): mask[order] for mask in kept.values()}
    to_come = Counter(id(mask) for index, mask in kept.items() if index < len(order))
    for index in range(min(slots, len(order))):
        if index in kept:
            to_come[id(kept[index])] -= 1
            picking.pick([members[id(kept[index])]])
            continue
        scarce = [own for key, own in members.items() if 0 < int((own & picking.free).sum()) <= to_come[key]]
        picking.pick([~np.logical_or.reduce(scarce)] if scarce else [])
    lacking = [each for each in picking.relaxed if each.place in kept]
    return first(order, picking.picks), lacking


def soft_pinned(order: IntArray, pins: Sequence[tuple[int, int]]) -> IntArray:
    """The order with nobody below the slot that it is softly pinned to, and each as near to its own place as can be.

    pins: (runner, slot), the most important first where they are at odds; runners that are not in the order are passed
    over. Slot by slot the next of the order comes, unless the pinned ones would then no longer all have room: then
    the one whose slot is highest. Source: the earliest deadline first, which meets all deadlines if any way does.
    """
    place = {runner: index for index, runner in enumerate(order.tolist())}
    waiting = sorted(((place[r], slot) for r, slot in pins if r in place), key=lambda pin: pin[1])
    picks: list[int] = []
    taken: set[int] = set()
    after = 0
    while waiting:
        while after in taken:
            after += 1
        others = [slot for where, slot in waiting if where != after]
        fits = all(number + 1 < slot - len(picks) for number, slot in enumerate(others))
        chosen = after if fits else waiting[0][0]
        picks.append(chosen)
        taken.add(chosen)
        waiting = [pin for pin in waiting if pin[0] != chosen]
    return first(order, picks)


def placed(order: IntArray, fixed: Mapping[int, int]) -> IntArray:
    """The order with runners at fixed places, the others flowing round them. fixed: index from 0 -> runner, each once.

    Where there are too few runners for a fixed place, its runner comes behind the others.
    """
    there = set(order.tolist())
    fixed = {index: runner for index, runner in sorted(fixed.items()) if runner in there}
    taken = set(fixed.values())
    flow = [runner for runner in order.tolist() if runner not in taken]
    result: list[int] = []
    passed = 0
    for index, runner in fixed.items():
        until = min(len(flow), passed + max(0, index - len(result)))
        result += [*flow[passed:until], runner]
        passed = until
    return np.array(result + flow[passed:], np.int64)
