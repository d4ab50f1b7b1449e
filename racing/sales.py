"""What the venue sold, and to how many: sales = traffic x conversion x basket, by phase and source (entrance).

Traffic is the number of different users seen, conversion that of different payers over it, basket what one of them
paid. Users and payers are counted by sketches (racing/sketch.py), sums exactly. This takes part in the fold, and
changes no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from racing.columns import Array
from racing.model import EVENT_KINDS, IntArray
from racing.sketch import REGISTERS, Hashes, Registers, estimate, new_sketches, see

PAY, REFUND, IMPRESSION = (EVENT_KINDS.index(kind) for kind in ("pay", "refund", "impression"))

ROWS_MAX = 128
"""Pairs of phase and source that are told apart: 2 MB of sketches. Later sources count as OTHER, one a phase."""
OTHER = "other"
SLOTS_MAX = 1000
_SUMS = ("paid", "payments", "refunded", "refunds", "impressions")
_SLOT_SUMS = ("slot_impressions", "slot_paid")


class Sold(Protocol):
    """Columns of one length, of events that count; None for what no event has. source: an index into sources."""

    @property
    def kind(self) -> IntArray:
        """The race's own numbering of kinds."""

    @property
    def amount(self) -> IntArray | None:
        """Minor units."""

    @property
    def source(self) -> IntArray | None:
        """The entrance by which the shopper came."""

    @property
    def sources(self) -> Sequence[str]:
        """Their names; empty where none is told."""

    @property
    def user_hash(self) -> Hashes | None:
        """0 for nobody."""

    @property
    def slot(self) -> IntArray | None:
        """The slot that was shown; 0 for none."""


class Takings(msgspec.Struct, frozen=True):
    """What one source, phase or the whole race took. Amounts in minor units; ratios None without evidence.

    traffic and payers are estimates, each with a relative standard error of racing.sketch.ERROR. paid counts payments
    of users that nobody named too, so that basket is paid over payers only as far as payments name their users.
    """

    paid: int
    payments: int
    refunded: int
    refunds: int
    impressions: int
    traffic: float
    payers: float

    @property
    def conversion(self) -> float | None:
        """Different payers over different users."""
        return self.payers / self.traffic if self.traffic > 0 else None

    @property
    def basket(self) -> float | None:
        """What a payer paid, in minor units."""
        return self.paid / self.payers if self.payers > 0 else None

    @property
    def per_mille(self) -> float | None:
        """Paid per 1,000 impressions, in minor units."""
        return 1000 * self.paid / self.impressions if self.impressions > 0 else None


class Sales:
    """Sums and sketches by (phase, source), and what each slot brought."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self._row: dict[tuple[str, str], int] = {}
        self._sums: dict[str, IntArray] = {name: np.zeros(0, np.int64) for name in _SUMS}
        self.slots: dict[str, IntArray] = {name: np.zeros(SLOTS_MAX + 1, np.int64) for name in _SLOT_SUMS}
        """Impressions and payments by the slot that their events name, int64 (SLOTS_MAX + 1,); at 0 those of none."""
        self._seen = {name: new_sketches(0) for name in ("visitors", "payers")}
        self._kept = {name: new_sketches(0) for name in ("visitors", "payers")}

    def count(self, phase: str, events: Sold) -> None:
        """Count events of one phase. Any split into calls gives the same state.

        Cost: some 5 ns an event, 30 more for one with a user.
        """
        table = self._rows_of(phase, events.sources if events.source is not None else ("",))

        def row_of(which: IntArray) -> IntArray:
            return np.full(len(which), table[0]) if events.source is None else table[events.source[which]]

        pays, refunds, shown = (np.flatnonzero(events.kind == wanted) for wanted in (PAY, REFUND, IMPRESSION))
        for name, sums, which in (("payments", "paid", pays), ("refunds", "refunded", refunds)):
            rows = row_of(which)
            self._sums[name] += np.bincount(rows, minlength=len(self.rows))
            if events.amount is not None:
                np.add.at(self._sums[sums], rows, events.amount[which])
        self._sums["impressions"] += np.bincount(row_of(shown), minlength=len(self.rows))
        if events.user_hash is not None:
            named = np.flatnonzero(events.user_hash)
            see(self._seen["visitors"], row_of(named), events.user_hash[named])
            paying = pays[events.user_hash[pays] != 0]
            see(self._seen["payers"], row_of(paying), events.user_hash[paying])
        if events.slot is not None:
            np.add.at(self.slots["slot_impressions"], _slots(events.slot[shown]), 1)
            if events.amount is not None:
                np.add.at(self.slots["slot_paid"], _slots(events.slot[pays]), events.amount[pays])

    def _rows_of(self, phase: str, sources: Sequence[str]) -> IntArray:
        """The row of each source in this phase, made where there is none."""
        found = []
        for source in sources:
            pair = (phase, source)
            if pair not in self._row and len(self.rows) >= ROWS_MAX:
                pair = (phase, OTHER)
            if pair not in self._row:
                self._enter(pair)
            found.append(self._row[pair])
        return np.array(found, np.int64)

    def _enter(self, pair: tuple[str, str]) -> None:
        self._row[pair] = len(self.rows)
        self.rows.append(pair)
        for name, values in self._sums.items():
            self._sums[name] = np.append(values, 0)
        for sketches in (self._seen, self._kept):
            for name, registers in sketches.items():
                sketches[name] = np.concatenate((registers, new_sketches(1)))

    def takings(self, *, phase: str | None = None, source: str | None = None) -> Takings:
        """What the rows of a phase, a source, both or all took together. Cost: one pass over their sketches."""
        chosen = [
            row
            for row, (of_phase, of_source) in enumerate(self.rows)
            if phase in {None, of_phase} and source in {None, of_source}
        ]
        sums = {name: int(values[chosen].sum()) for name, values in self._sums.items()}
        users = {name: _together(registers, chosen) for name, registers in self._seen.items()}
        return Takings(**sums, traffic=users["visitors"], payers=users["payers"])

    # -- checkpoints ---------------------------------------------------------------------------------

    def save(self, *, full: bool) -> tuple[dict[str, Any], dict[str, Array]]:
        """(header, columns): the sums, and the registers that rose since the last save, or all that are not 0."""
        columns: dict[str, Array] = {f"sales_{name}": values for name, values in self._sums.items()}
        columns |= {f"sales_{name}": np.trim_zeros(values, "b") for name, values in self.slots.items()}
        for name, registers in self._seen.items():
            flat, kept = registers.reshape(-1), self._kept[name].reshape(-1)
            risen = np.flatnonzero(flat if full else flat != kept)
            columns[f"sales_{name}_at"], columns[f"sales_{name}_rank"] = risen, flat[risen]
            kept[risen] = flat[risen]
        return {"sales": [list(pair) for pair in self.rows]}, columns

    def load(self, header: dict[str, Any], columns: dict[str, Array]) -> None:
        """Take what save gave, after those before it; a record of a version without sales changes nothing."""
        for phase, source in header.get("sales", ())[len(self.rows) :]:
            self._enter((phase, source))
        if "sales" not in header:
            return
        for name in self._sums:
            self._sums[name] = columns[f"sales_{name}"].astype(np.int64)
        for name, values in self.slots.items():
            given = columns[f"sales_{name}"]
            values[: len(given)] = given
        for name, registers in self._seen.items():
            at, rank = columns[f"sales_{name}_at"].astype(np.int64), columns[f"sales_{name}_rank"]
            for sketches in (registers, self._kept[name]):
                sketches.reshape(-1)[at] = rank.astype(np.uint8)


def _slots(slot: IntArray) -> IntArray:
    """Slots as places of the sums by slot: what no board has stands at 0."""
    return np.where((slot >= 0) & (slot <= SLOTS_MAX), slot, 0).astype(np.int64)


def _together(registers: Registers, rows: Sequence[int]) -> float:
    """How many different users the sketches of these rows have seen together."""
    if not rows:
        return 0.0
    union: Registers = registers[list(rows)].max(axis=0)
    assert len(union) == REGISTERS
    return estimate(union)


def gini(values: npt.ArrayLike) -> float | None:
    """How unevenly something is shared (Gini, 1912): 0 for equal shares, towards 1 for all to one; None without any.

    Values below 0 count as 0. Cost: one sort.
    """
    sorted_values = np.sort(np.maximum(np.asarray(values, np.int64), 0)).astype(np.float64)
    total, count = float(sorted_values.sum()), len(sorted_values)
    if total <= 0:
        return None
    places = np.arange(1, count + 1)
    return float((2 * places - count - 1) @ sorted_values / (count * total))
