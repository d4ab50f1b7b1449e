"""The order of operations on the board: from standings to slots, step by step, each told where it moved somebody.

boosts -> standings -> exclude -> stock -> stability -> newcomers -> caps and shares -> tiers -> soft pins
-> hard pins -> freeze or emergency. Boosts are in the scores. Every later step works on the order that the one before
it left, so of two that are at odds the later one has its way; what a step could not do, or a later one undid, is told
in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from racing import steps
from racing.board import order
from racing.board_settings import BoardSettings, Cap, Newcomers, Share
from racing.model import FloatArray, IntArray, Step
from racing.orders import Pin
from racing.roster import NO_CODE, Roster
from racing.steering import Steering

Mask = npt.NDArray[np.bool_]

STEPS = (
    "exclude",
    "stock",
    "stability",
    "newcomers",
    "caps and shares",
    "tiers",
    "soft pins",
    "hard pins",
    "freeze",
    "emergency",
)
"""The steps after the standings, in the published order, by the names under which they are told."""
_TOLD_MAX = 50
"""Things told of one board; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Field:
    """All that a board is made of, as it stands at one position of the log.

    scores: float64 (n,), with boosts. excluded, sold_out: who is, None where nobody is or it does not matter. leaders:
    the best of those who are not out, depth of them (no fewer than slots), or all.
    held, chosen: what stability and newcomers remember. new: who counts as new, for the label.
    """

    settings: BoardSettings
    roster: Roster
    steering: Steering
    scores: FloatArray
    excluded: Mask | None
    sold_out: Mask | None
    leaders: Callable[[], IntArray]
    depth: int
    held: Sequence[int] = ()
    chosen: Sequence[int] = ()
    new: Mask | None = None

    def out(self, runner: int) -> bool:
        """Whether a runner has no place in the order: excluded, or sold out where that drops or sinks it."""
        excluded = self.excluded is not None and bool(self.excluded[runner])
        return excluded or (self.leaves and self.sold_out is not None and bool(self.sold_out[runner]))

    @property
    def leaves(self) -> bool:
        """Whether sold-out runners leave their places."""
        return self.settings.stock is not None and self.settings.stock.policy != "keep"

    @property
    def sinks(self) -> bool:
        """Whether they come behind all others."""
        return self.settings.stock is not None and self.settings.stock.policy == "sink"

    @property
    def bare(self) -> bool:
        """Whether the board is the standings of those who are not out, and nothing is to be told of it."""
        now, settings = self.steering.now, self.settings
        return settings.plain and settings.stock is None and not (now.pins or now.freezes or now.emergencies)

    def outs(self) -> Mask | None:
        """Who has no place in the order, bool (n,); None for nobody."""
        sold = self.sold_out if self.leaves else None
        if self.excluded is None or sold is None:
            return self.excluded if sold is None else sold
        return self.excluded | sold

    def standing(self, runner: int) -> int:
        """A runner's rank among all, from 1. Cost: one pass over the field."""
        own = self.scores[runner]
        return 1 + int((self.scores > own).sum()) + int((self.scores[:runner] == own).sum())


class Move(NamedTuple):
    """One step that changed the order: its name, the order before and after, and what moved whom."""

    step: str
    before: IntArray
    after: IntArray
    by: Mapping[int, str]


@dataclass(slots=True)
class Board:
    """A board: its runners, slot by slot, and what is told of it.

    conflicts: orders in force that have no effect, or not all, because of another one. moves: the steps that changed
    the order. deep: whether the order holds the whole field.
    """

    runners: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    conflicts: int = 0
    served: str = "race"
    labels: dict[int, tuple[str, ...]] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    deep: bool = False

    def words(self) -> tuple[str, ...]:
        """What is told, at most 50 things of it."""
        more = len(self.told) - _TOLD_MAX
        return (*self.told[:_TOLD_MAX], f"and {more} more") if more > 0 else tuple(self.told)


def board_of(field: Field, *, whole: bool = False) -> Board:
    """The board of a field. whole: work on the whole field, and keep every step's order, to follow any runner.

    Steps look at the leaders, and at the whole field where these do not suffice: both give the same board. Cost: a few
    passes over the leaders in numpy; O(n log n) of the field where the leaders do not suffice.
    """
    if field.bare and not whole:
        return Board(field.leaders()[: field.settings.slots].tolist())
    building = _Building(field, deep=whole)
    if building.short:
        building = _Building(field, deep=True)
    return building.board


class _Building:
    """One board in the making."""

    def __init__(self, field: Field, *, deep: bool) -> None:
        self.field, self.slots = field, field.settings.slots
        self.board = Board(deep=deep)
        self.short = False  # whether a step wanted to look further than the leaders go
        self._leaders = self._eligible() if deep else field.leaders()
        self._whole = deep or len(self._leaders) < field.depth
        self.order = self._leaders
        self._tail: set[int] = set()
        self._lacking: set[int] = set()  # slots for which no product of their tier was left
        self._wanted = self._aims()
        self._begin()
        self._stability()
        self._newcomers()
        self._caps_and_shares()
        self._tiers()
        self._soft_pins()
        self._hard_pins()
        self._freeze()
        self._emergency()
        self.board.runners = self.order[: self.slots].tolist()
        self._tell()

    # -- who is there --------------------------------------------------------------------------------

    def _eligible(self) -> IntArray:
        outs = self.field.outs()
        there = np.arange(len(self.field.scores)) if outs is None else np.flatnonzero(~outs)
        return order(there, self.field.scores[there])

    def _aims(self) -> dict[str, int]:
        """The runner of each product that an order names for a place."""
        now, roster = self.field.steering.now, self.field.roster
        named = [pin.product for pin in now.pins] + [p for each in now.emergencies for p in each.products]
        found = {product: roster.number_of(product) for product in named}
        return {product: number for product, number in found.items() if number is not None}

    def _begin(self) -> None:
        """Bring those into the order that later steps name, and sunk runners behind all."""
        field = self.field
        frozen = [runner for each in field.steering.frozen.values() for runner in each.runners]
        named = {*self._wanted.values(), *frozen, *field.held, *field.chosen}
        there = set(self._leaders.tolist()) if named and not self._whole else set()
        extra = np.array([r for r in named - there if not field.out(r)], np.int64)
        if len(extra) and not self._whole:
            self._tail = set(extra.tolist()) - {*field.held, *field.chosen}
            self.order = np.concatenate((self.order, order(extra, field.scores[extra])))
        if field.sinks and field.sold_out is not None and self._whole:
            sunk = np.flatnonzero(field.sold_out if field.excluded is None else field.sold_out & ~field.excluded)
            self.order = np.concatenate((self.order, order(sunk, field.scores[sunk])))

    def _moved(self, step: str, after: IntArray, by: Mapping[int, str] | None = None) -> None:
        before, self.order = self.order, after
        if not np.array_equal(before[: self.slots], after[: self.slots]) or self.board.deep:
            self.board.moves.append(Move(step, before, after, by or {}))

    # -- steps ---------------------------------------------------------------------------------------

    def _stability(self) -> None:
        if self.field.settings.stability is not None and self.field.held:
            self._moved("stability", steps.steadied(self.order, self.field.held))

    def _newcomers(self) -> None:
        if self.field.settings.newcomers is not None and self.field.chosen:
            by = dict.fromkeys(self.field.chosen, "newcomers")
            self._moved("newcomers", steps.with_newcomers(self.order, self.slots, self.field.chosen), by)

    def _caps_and_shares(self) -> None:
        caps, shares = self.field.settings.caps or [], self.field.settings.shares or []
        if not caps and not shares:
            return
        roster = self.field.roster
        shares_of = [steps.ShareOf(roster.having(s.by, s.value), *_slots_of(s, self.slots)) for s in shares]
        if not self._whole and any(int(s.members[self.order].sum()) < (s.least or 0) for s in shares_of):
            self.short = True
            return
        caps_of = [steps.CapOf(roster.codes(cap.by), cap.most, cap.within) for cap in caps]
        after, relaxed = steps.arranged(self.order, self.slots, caps_of, shares_of)
        if self._too_short(after, relaxed):
            return
        asked = [f"cap {cap.text}" for cap in caps] + [f"the greatest share of {s.text}" for s in shares]
        for index, demands in relaxed:
            names = [asked[demand] for demand in demands if demand < len(asked)]
            if names:
                self._say(f"slot {index + 1}: no product keeps {' and '.join(names)}; relaxed")
        self._moved("caps and shares", after)

    def _tiers(self) -> None:
        tiers = self.field.settings.tiers or []
        if not tiers:
            return
        names: dict[int, str] = {}
        kept: dict[int, Mask] = {}
        for tier in tiers:
            members = self.field.roster.having("tier", tier.tier)
            for slot in tier.numbers():
                kept[slot - 1], names[slot - 1] = members, tier.tier
        after, lacking = steps.tiered(self.order, self.slots, kept)
        if self._too_short(after, lacking):
            return
        self._lacking = {index + 1 for index, _ in lacking}
        for index, _ in lacking:
            self._say(f"slot {index + 1}: no product of tier {names[index]} is left; given to another")
        self._moved("tiers", after, {int(after[index]): f"tier {names[index]}" for index in kept if index < len(after)})

    def _too_short(self, after: IntArray, relaxed: Sequence[steps.Relaxed]) -> bool:
        """Whether a step would have had to look further than the leaders: then the whole field is taken."""
        if not self._whole and (relaxed or self._tail.intersection(after[: self.slots].tolist())):
            self.short = True
        return self.short

    def _pins(self, *, hard: bool) -> list[tuple[Pin, int]]:
        """The pins of one kind that can hold, the newest first; of the others it is told why not."""
        usable: list[tuple[Pin, int]] = []
        for pin in reversed(self.field.steering.now.pins):
            if pin.hard != hard:
                continue
            runner = self._wanted.get(pin.product)
            if (why := self._unusable(pin, runner)) is not None:
                self._say(f"pin {pin.id}: {why}")
            elif runner is not None:
                usable.append((pin, runner))
        return usable

    def _unusable(self, pin: Pin, runner: int | None) -> str | None:
        if runner is None:
            return f"{pin.product} is not enrolled"
        if self.field.out(runner):
            excluded = self.field.excluded is not None and bool(self.field.excluded[runner])
            return f"suspended: {pin.product} is {'excluded' if excluded else 'sold out'}"
        if pin.slot > self.slots:
            return f"slot {pin.slot} is beyond the board's {self.slots}"
        return None

    def _soft_pins(self) -> None:
        pins = self._once_each(self._pins(hard=False))
        if not pins:
            return
        after = steps.soft_pinned(self.order, [(runner, pin.slot) for pin, runner in pins])
        place = {runner: index for index, runner in enumerate(after[: self.slots].tolist())}
        for pin, runner in pins:
            if place.get(runner, self.slots) >= pin.slot:
                self._conflict(f"pin {pin.id}: there are more pins to slots up to {pin.slot} than slots")
            self._label(runner, pin.label)
        self._moved("soft pins", after, {runner: f"pin {pin.id}" for pin, runner in pins})

    def _hard_pins(self) -> None:
        fixed: dict[int, int] = {}
        by: dict[int, str] = {}
        owners: dict[int, str] = {}
        for pin, runner in self._once_each(self._pins(hard=True)):
            if pin.slot - 1 in fixed:
                self._conflict(f"pin {pin.id}: slot {pin.slot} is held by the newer pin {owners[pin.slot - 1]}")
                continue
            fixed[pin.slot - 1], owners[pin.slot - 1] = runner, pin.id
            by[runner] = f"pin {pin.id}"
            self._label(runner, pin.label)
        if fixed:
            after = steps.placed(self.order, fixed)
            for index, runner in fixed.items():
                if index >= len(after) or after[index] != runner:
                    self._say(f"pin {owners[index]}: there are not enough products before slot {index + 1}")
            self._moved("hard pins", after, by)

    def _once_each(self, pins: list[tuple[Pin, int]]) -> list[tuple[Pin, int]]:
        """The newest pin of each product; the older ones are at odds with it."""
        newest: dict[int, Pin] = {}
        for pin, runner in pins:
            if runner in newest:
                self._conflict(f"pin {pin.id}: {pin.product} is held by the newer pin {newest[runner].id}")
            else:
                newest[runner] = pin
        return [(pin, runner) for runner, pin in newest.items()]

    def _freeze(self) -> None:
        """Slots as they stood; of freezes that meet in a slot the newest counts."""
        fixed: dict[int, int] = {}
        by: dict[int, str] = {}
        for freeze in reversed(self.field.steering.now.freezes):
            found = self.field.steering.frozen[freeze.id].runners[: freeze.slots or self.slots]
            for index, runner in enumerate(found[: self.slots]):
                if index in fixed or runner in by or self.field.out(runner):
                    continue
                fixed[index], by[runner] = runner, f"freeze {freeze.id}"
        self._fix("freeze", fixed, by)

    def _emergency(self) -> None:
        """The operators' own order: of several the newest."""
        emergencies = self.field.steering.now.emergencies
        if not emergencies:
            return
        newest = emergencies[-1]
        for older in emergencies[:-1]:
            self._conflict(f"emergency {older.id}: the newer {newest.id} is served")
        fixed: dict[int, int] = {}
        for index, product in enumerate(newest.products[: self.slots]):
            runner = self._wanted.get(product)
            if runner is None or self.field.out(runner):
                why = "is not enrolled" if runner is None else "is excluded or sold out"
                self._say(f"emergency {newest.id}: {product} {why}; slot {index + 1} goes to the race")
            else:
                fixed[index] = runner
        self._fix("emergency", fixed, dict.fromkeys(fixed.values(), f"emergency {newest.id}"))
        self.board.served = "operators"

    def _fix(self, step: str, fixed: dict[int, int], by: dict[int, str]) -> None:
        if not fixed:
            return
        before = {runner: index for index, runner in enumerate(self.order[: self.slots].tolist())}
        self._moved(step, steps.placed(self.order, fixed), by)
        pinned = {runner: labels for runner, labels in self.board.labels.items() if runner in before}
        after = {runner: index for index, runner in enumerate(self.order[: self.slots].tolist())}
        self.board.labels = {r: labels for r, labels in pinned.items() if after.get(r) == before[r]}

    # -- what is told --------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.board.told.append(text)

    def _conflict(self, text: str) -> None:
        self.board.conflicts += 1
        self._say(text)

    def _label(self, runner: int, label: str) -> None:
        self.board.labels[runner] = (*self.board.labels.get(runner, ()), label)

    def _tell(self) -> None:
        """Labels of what is shown, and what the board as it came out does not keep of the settings."""
        settings, field = self.field.settings, self.field
        for runner in self.board.runners:
            if field.new is not None and field.new[runner]:
                self._label(runner, "new")
            if settings.stock is not None and field.sold_out is not None and field.sold_out[runner]:
                self._label(runner, settings.stock.badge)
        shown = np.array(self.board.runners, np.int64)
        self._tell_caps(shown)
        self._tell_shares(shown)
        self._tell_tiers(shown)
        self._tell_newcomers()

    def _tell_caps(self, shown: IntArray) -> None:
        said = {text.partition(":")[0] for text in self.board.told if text.endswith("relaxed")}
        for cap in self.field.settings.caps or ():
            for slot in _breaches(cap, self.field.roster.codes(cap.by)[shown]):
                if f"slot {slot}" not in said:
                    self._say(f"slot {slot}: more than {cap.text}, by a later step")

    def _tell_shares(self, shown: IntArray) -> None:
        for share in self.field.settings.shares or ():
            least, most = _slots_of(share, self.slots)
            count = int(self.field.roster.having(share.by, share.value)[shown].sum())
            if least is not None and count < least:
                self._say(f"share of {share.text}: {count} of at least {least} slots")
            elif most is not None and count > most:
                self._say(f"share of {share.text}: {count} of at most {most} slots")

    def _tell_tiers(self, shown: IntArray) -> None:
        for tier in self.field.settings.tiers or ():
            members = self.field.roster.having("tier", tier.tier)
            for slot in sorted(tier.numbers()):
                if slot <= len(shown) and not members[shown[slot - 1]] and slot not in self._lacking:
                    self._say(f"slot {slot}: no product of tier {tier.tier}, by a later step")

    def _tell_newcomers(self) -> None:
        newcomers, new = self.field.settings.newcomers, self.field.new
        if newcomers is None or new is None:
            return
        least = newcomers_of(newcomers, self.slots)
        count = sum(bool(new[runner]) for runner in self.board.runners)
        if count < least:
            self._say(f"newcomers: {count} of at least {least} slots")


def _slots_of(share: Share, slots: int) -> tuple[int | None, int | None]:
    """A share in slots: the least rounded up, the greatest down, both beyond what floats do to a whole number."""
    least = None if share.min is None else ceil(share.min * slots - 1e-9)
    most = None if share.max is None else floor(share.max * slots + 1e-9)
    return least, most


def newcomers_of(newcomers: Newcomers, slots: int) -> int:
    """The slots that newcomers have at least."""
    return ceil(newcomers.share * slots - 1e-9)


def _breaches(cap: Cap, codes: npt.NDArray[np.int32]) -> list[int]:
    """The slots, from 1, whose product is one too many of its kind within the cap's stretch before it."""
    found = []
    for index, code in enumerate(codes.tolist()):
        begin = 0 if cap.within is None else max(0, index - cap.within + 1)
        if code != NO_CODE and int((codes[begin : index + 1] == code).sum()) > cap.most:
            found.append(index + 1)
    return found


def steps_of(board: Board, field: Field, runner: int, standing: int) -> tuple[Step, ...]:
    """The steps that moved a runner, in their order, from its standing on; those that took others out come first.

    Cost: one pass over the field where anyone is out, one over the order for each step.
    """
    told = [*_steps_of_others(field, runner, standing)]
    for move in board.moves:
        before, after = _place(move.before, runner), _place(move.after, runner)
        if before != after:
            told.append(Step(move.step, before, after, move.by.get(runner, "")))
    return tuple(told)


def _steps_of_others(field: Field, runner: int, standing: int) -> Iterator[Step]:
    """What exclusion and stock made of a standing: that others are out, or that the runner itself is."""
    place = standing
    sold = field.sold_out if field.leaves else None
    if field.excluded is not None:
        if field.excluded[runner]:
            yield Step("exclude", place, None, field.steering.excluded_by(runner, field.roster))
            return
        gone = _ahead(field, runner, field.excluded)
        if gone:
            yield Step("exclude", place, place - gone)
            place -= gone
    if sold is None:
        return
    others = sold if field.excluded is None else sold & ~field.excluded
    if sold[runner]:
        to_slot = None
        if field.sinks:
            left = np.ones(len(sold), np.bool_) if field.excluded is None else ~field.excluded
            to_slot = int((left & ~sold).sum()) + _ahead(field, runner, others) + 1
        yield Step("stock", place, to_slot, "sold out")
    elif gone := _ahead(field, runner, others):
        yield Step("stock", place, place - gone)


def _ahead(field: Field, runner: int, of: Mask) -> int:
    """How many of some runners stand before one."""
    own = field.scores[runner]
    return int((field.scores[of] > own).sum()) + int((field.scores[:runner][of[:runner]] == own).sum())


def _place(order: IntArray, runner: int) -> int | None:
    found = np.flatnonzero(order == runner)
    return int(found[0]) + 1 if len(found) else None
