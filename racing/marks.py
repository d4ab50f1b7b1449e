"""Each of many numbers once, without a sort."""

from __future__ import annotations

import numpy as np

from racing.model import IntArray


class Distinct:
    """Keeps of many numbers each one once. Cost: O(numbers given), no sort, no hash; room grows to the largest."""

    def __init__(self) -> None:
        self._stamp = np.zeros(0, np.int64)

    def of(self, numbers: IntArray, bound: int) -> IntArray:
        """Each number once, in no order that means anything; all lie in [0, bound)."""
        if bound > len(self._stamp):
            self._stamp = np.zeros(max(bound, 2 * len(self._stamp)), np.int64)
        places = np.arange(len(numbers))
        self._stamp[numbers] = places  # of equal numbers the last one leaves its place
        found: IntArray = numbers[self._stamp[numbers] == places]
        return found
