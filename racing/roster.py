"""The roster: who is enrolled under which number, and the numbers given at enrolment."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from racing.model import FloatArray, IntArray

Row = tuple[int, str, dict[str, float]]
"""(runner number, product, its numeric attributes)"""


class Roster:
    """Products by runner number, and a column per attribute, 0 where it was not given."""

    def __init__(self) -> None:
        self.products: list[str] = []
        self.entries = 0  # enrolment entries folded: which data of the runners is meant
        self._columns: dict[str, FloatArray] = {}
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return len(self.products)

    def enrol(self, number: int, product: str, numbers: dict[str, float]) -> None:
        """Put a product under its number, or give it other data. Amortised O(attributes)."""
        if number >= len(self.products):
            self.products += [""] * (number + 1 - len(self.products))
        self.products[number] = product
        for name in {*numbers, *self._columns}:
            self._column(name)[number] = numbers.get(name, 0.0)
        self._fresh.add(number)

    def _column(self, name: str) -> FloatArray:
        column = self._columns.get(name, np.zeros(0))
        if len(column) < len(self.products):
            column = np.concatenate((column, np.zeros(max(len(self.products), 2 * len(column)) - len(column))))
            self._columns[name] = column
        return column

    def values(self, name: str, runners: IntArray) -> FloatArray:
        """An attribute of some runners, float64 (n,); 0 where it was not given."""
        if name not in self._columns:
            return np.zeros(len(runners))
        return self._column(name)[runners]

    def has(self, number: int, product: str, numbers: dict[str, float]) -> bool:
        """Whether this product stands under this number with these attributes; one of 0 is as none."""
        known = number < len(self.products) and self.products[number] == product
        return known and self._numbers(number) == {name: value for name, value in numbers.items() if value}

    def save(self, *, full: bool) -> list[Row]:
        """Rows of the runners that came or changed since the last save, or of all."""
        numbers: Iterable[int] = range(len(self.products)) if full else sorted(self._fresh)
        self._fresh = set()
        return [(number, self.products[number], self._numbers(number)) for number in numbers]

    def _numbers(self, number: int) -> dict[str, float]:
        return {
            name: float(column[number])
            for name, column in self._columns.items()
            if number < len(column) and column[number]
        }

    def load(self, rows: Iterable[Row]) -> None:
        """Take what save gave; counts as saved."""
        for number, product, numbers in rows:
            self.enrol(number, product, numbers)
        self._fresh = set()
