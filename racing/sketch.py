"""How many different users were seen, in a few kB whatever their number: HyperLogLog sketches.

Source: Flajolet et al., "HyperLogLog", AOFA 2007, for the registers; Ertl, "New cardinality estimation algorithms for
HyperLogLog sketches", 2017 (arXiv 1702.01284), algorithm 6, for the estimate, which has no bias to correct by tables.
We differ in nothing but the hash: users come as 64-bit keyed hashes already.
"""

from __future__ import annotations

from math import inf, log, sqrt

import numpy as np
import numpy.typing as npt

from racing.model import IntArray

Registers = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

_BITS = 12
REGISTERS = 1 << _BITS
"""4,096 bytes a sketch: a page of targets may show some dozens of them."""
_REST = 64 - _BITS
ERROR = 1.04 / sqrt(REGISTERS)
"""Relative standard error of a count: 1.6 %."""


def new_sketches(count: int) -> Registers:
    """Sketches that have seen nobody, uint8 (count, REGISTERS)."""
    return np.zeros((count, REGISTERS), np.uint8)


def see(sketches: Registers, rows: IntArray, hashes: Hashes) -> None:
    """Let each sketch see the user of its row. rows: int (n,); hashes: uint64 (n,). sketches is written.

    Order and repeats change nothing. Cost: O(n), some 20 ns each.
    """
    place = (hashes >> np.uint64(_REST)).astype(np.int64)
    rest = (hashes & np.uint64((1 << _REST) - 1)).astype(np.float64)  # 52 bits: a float holds them exactly
    rank = (_REST + 1 - np.frexp(rest)[1]).astype(np.uint8)  # leading zeros of the rest, and one
    np.maximum.at(sketches.reshape(-1), rows * REGISTERS + place, rank)


def estimate(sketch: Registers) -> float:
    """How many different users a sketch has seen, with a relative standard error of ERROR; exactly 0 for nobody."""
    counts = np.bincount(sketch, minlength=_REST + 2).tolist()
    z = REGISTERS * _tau(1 - counts[_REST + 1] / REGISTERS)
    for rank in range(_REST, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += REGISTERS * _sigma(counts[0] / REGISTERS)
    return 0.0 if z == inf else REGISTERS * REGISTERS / (2 * log(2)) / z


def _sigma(x: float) -> float:
    """Ertl's sigma: what registers that saw nobody add; infinite where none saw anybody."""
    if x >= 1:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before, z = z, z + x * y
        y += y
    return z


def _tau(x: float) -> float:
    """Ertl's tau: what full registers add."""
    if x <= 0 or x >= 1:
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
