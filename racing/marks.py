"""Each of many numbers once: of a batch, or of all that came since they were last taken."""

from __future__ import annotations

import numpy as np

from racing.model import IntArray


def each_once(numbers: IntArray) -> IntArray:
    """Each number once, sorted. Cost: one sort, a sixth of that of numpy 2.4's own unique, which hashes."""
    ordered = np.sort(numbers)
    found: IntArray = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return found


class Distinct:
    """Keeps of many numbers each one once. Cost: O(numbers given), no sort, no hash; room grows to the largest."""

    def __init__(self) -> None:
        self._stamp = np.zeros(0, np.int32)

    def of(self, numbers: IntArray, bound: int) -> IntArray:
        """Each number once, in no order that means anything; all lie in [0, bound)."""
        if bound > len(self._stamp):
            self._stamp = np.zeros(max(bound, 2 * len(self._stamp)), np.int32)
        places = np.arange(len(numbers), dtype=np.int32)
        self._stamp[numbers] = places  # of equal numbers the last one leaves its place
        found: IntArray = numbers[self._stamp[numbers] == places]
        return found


class Collected:
    """Collects numbers until they are taken. Cost: a few ns a number given; room grows to the largest."""

    def __init__(self) -> None:
        self._inside = np.zeros(0, np.bool_)
        self._new: list[IntArray] = []

    def __len__(self) -> int:
        return sum(map(len, self._new))

    def add(self, numbers: IntArray, bound: int) -> None:
        """Collect numbers, each of them once in this call; all lie in [0, bound)."""
        if bound > len(self._inside):
            grown = np.zeros(max(bound, 2 * len(self._inside)), np.bool_)
            grown[: len(self._inside)] = self._inside
            self._inside = grown
        new = numbers[~self._inside[numbers]]
        if len(new):
            self._inside[new] = True
            self._new.append(new)

    def take(self) -> IntArray:
        """All that was collected since the last call, sorted."""
        taken = np.sort(np.concatenate([np.empty(0, np.int64), *self._new]))
        self._inside[taken] = False
        self._new = []
        return taken
