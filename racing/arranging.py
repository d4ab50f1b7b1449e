"""The order of a board in the making: who is there, and the steps that the rule's board settings ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from racing import steps
from racing.board import order
from racing.field import Board, Field, Mask, Move
from racing.model import IntArray
from racing.telling import slots_of


class Arranging:
    """A field's order, step by step; each takes the order that the one before it left, and where it moves is kept.

    deep: work on the whole field; else on the leaders, until a step wants to look further than they go: then short is
    set, and the board must be made anew of the whole field.
    """

    def __init__(self, field: Field, *, deep: bool) -> None:
        self.field, self.slots = field, field.settings.slots
        self.board = Board(deep=deep)
        self.short = False
        self._leaders = self._eligible() if deep else field.leaders()
        self._whole = deep or len(self._leaders) < field.depth
        self.order = self._leaders
        self._tail: set[int] = set()
        self._lacking: set[int] = set()  # slots for which no product of their tier was left
        self._wanted = self._aims()
        self._begin()

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

    def _say(self, text: str) -> None:
        self.board.told.append(text)

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
        shares_of = [steps.ShareOf(roster.having(s.by, s.value), *slots_of(s, self.slots)) for s in shares]
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
