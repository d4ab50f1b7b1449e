"""The order of operations on the board: from standings to slots, step by step, each told where it moved somebody.

boosts -> standings -> exclude -> stock -> stability -> newcomers -> caps and shares -> tiers -> soft pins
-> hard pins -> freeze or emergency. Boosts are in the scores. Every later step works on the order that the one before
it left, so of two that are at odds the later one has its way; what a step could not do, or a later one undid, is told
in words.
"""

from __future__ import annotations

from racing import steps
from racing.arranging import Arranging
from racing.field import Board, Field
from racing.orders import Pin
from racing.telling import tell

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


class _Building(Arranging):
    """One board in the making, and the steps of the desk's orders."""

    def __init__(self, field: Field, *, deep: bool) -> None:
        super().__init__(field, deep=deep)
        self._stability()
        self._newcomers()
        self._caps_and_shares()
        self._tiers()
        self._soft_pins()
        self._hard_pins()
        self._freeze()
        self._emergency()
        self.board.runners = self.order[: self.slots].tolist()
        tell(self.board, field, self._lacking)

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

    def _once_each(self, pins: list[tuple[Pin, int]]) -> list[tuple[Pin, int]]:
        """The newest pin of each product; the older ones are at odds with it."""
        newest: dict[int, Pin] = {}
        for pin, runner in pins:
            if runner in newest:
                self._conflict(f"pin {pin.id}: {pin.product} is held by the newer pin {newest[runner].id}")
            else:
                newest[runner] = pin
        return [(pin, runner) for runner, pin in newest.items()]

    def _soft_pins(self) -> None:
        pins = self._once_each(self._pins(hard=False))
        if not pins:
            return
        after = steps.soft_pinned(self.order, [(runner, pin.slot) for pin, runner in pins])
        place = {runner: index for index, runner in enumerate(after[: self.slots].tolist())}
        for pin, runner in pins:
            if place.get(runner, self.slots) >= pin.slot:
                self._conflict(f"pin {pin.id}: there are more pins to slots up to {pin.slot} than slots")
            self.board.label(runner, pin.label)
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
            self.board.label(runner, pin.label)
        if fixed:
            after = steps.placed(self.order, fixed)
            for index, runner in fixed.items():
                if index >= len(after) or after[index] != runner:
                    self._say(f"pin {owners[index]}: there are not enough products before slot {index + 1}")
            self._moved("hard pins", after, by)

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

    def _conflict(self, text: str) -> None:
        self.board.conflicts += 1
        self._say(text)
