"""The words of the race as frozen types: position, entry, slot, board, frame."""

from __future__ import annotations

from typing import Any, NamedTuple, NewType

import msgspec
import numpy as np
import numpy.typing as npt

VenueId = NewType("VenueId", str)
ProductId = NewType("ProductId", str)

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
"""Ids go into Redis keys and hash tags: no braces, colons, spaces or control characters."""

EVENT_KINDS = ("impression", "click", "favorite", "cart", "order", "pay", "refund")
"""Event kinds that every venue knows; a rule's metrics may declare more."""

KINDS_MAX = 64
"""Event kinds that one race keeps measures for; a bound on memory, far above any rule seen."""


class Position(NamedTuple):
    """A place in the log: the stream id of an entry. Its ms part is the entry's moment."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """The position written as ``ms-seq``. Raises ValueError on anything else."""
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(seq))


START = Position(0, 0)
"""Before the first entry of any log."""

END = Position(2**63 - 1, 2**63 - 1)
"""After the last entry of any log."""


Place = tuple[int, int]
"""(epoch, number) of a frame: grows with every published frame of a venue."""


class Term(msgspec.Struct, frozen=True, gc=False):
    """One term of a score as shown: its name, weight, signal value and what it contributes."""

    name: str
    weight: float
    value: float
    contribution: float


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step of the board that moved a runner: its name, where to, and by which order or setting.

    from_slot and to_slot count from 1 in the order as it stood before and after the step; None: not in it.
    """

    step: str
    from_slot: int | None = None
    to_slot: int | None = None
    by: str = ""


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One position of the board. slot counts from 1; runner is the enrolment number, from 0.

    score: with boosts. labels: what shoppers are told of it, for example pinned, paid, new, sold_out. steps: what moved
    it away from its standing, in the order of operations. stock, price (minor units): as events have stated them since
    the product's data was given; None where they have not, or not otherwise.
    """

    slot: int
    runner: int
    product: str
    score: float
    terms: tuple[Term, ...] = ()
    standing: int | None = None
    labels: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    stock: int | None = None
    price: int | None = None


class Explained(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a runner stands and why, whether it is shown or not.

    score: the sum of the terms' contributions, which tell opening order and boosts, too. steps: all that moved it on
    its way from standing to slot, in the order of operations. slot: None where it is not shown; then out is what took
    it off the board: the last step that moved it from the slots to below them or away, or "standings".
    """

    runner: int
    product: str
    standing: int
    score: float
    terms: tuple[Term, ...] = ()
    slot: int | None = None
    labels: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    out: Step | None = None


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """One immutable, numbered board of a venue: what every reader answers from.

    (epoch, frame) grows with every published frame, also across take-overs and failovers.
    position is the log entry up to which everything is folded; at_ms is its moment. roster counts the
    enrolment entries folded: product data read under another roster may be older or newer. served: what the order
    came from, race, opening (entry score and the previous phase's totals) or operators. phase: id of the phase that
    holds, empty without one. told: what the board could not do as it was asked, in words. conflicts: orders in force
    that have no effect because of others. segments: the slots as each declared segment has them.
    """

    venue: str
    frame: int
    epoch: int
    position: str
    at_ms: int
    rule_version: int
    runners: int
    roster: int
    slots: tuple[Slot, ...]
    served: str = "race"
    phase: str = ""
    phase_ends_ms: int | None = None
    told: tuple[str, ...] = ()
    conflicts: int = 0
    segments: dict[str, tuple[Slot, ...]] = {}

    @property
    def name(self) -> str:
        """The frame's name in ETags and cursors, unique for all time: ``epoch-frame``."""
        return f"{self.epoch}-{self.frame}"

    @property
    def place(self) -> Place:
        """Where it stands among the frames of its venue."""
        return self.epoch, self.frame

    def slots_of(self, segment: str | None) -> tuple[Slot, ...]:
        """The slots as a segment has them; the whole venue's for None, and where it declared no such segment."""
        return self.slots if segment is None else self.segments.get(segment, self.slots)

    def shows(self) -> tuple[Any, ...]:
        """What a reader can see change: the slots in order and the rule that scored them."""
        return (self.rule_version, self.roster, self.served, self.phase, self.told, self.slots, self.segments)
