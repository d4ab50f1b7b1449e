"""The roster: who is enrolled under which number, and what was given of them: numbers, words, when they joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from racing.model import FloatArray, IntArray

Row = tuple[int, str, dict[str, float], dict[str, str], int]
"""(runner number, product, its numeric attributes, its words, when it joined, ms)"""

Codes = npt.NDArray[np.int32]
NO_CODE = 0
"""The code of a word that was not given."""
TRUE = "true"
"""The word of an attribute that is true: a tag."""


class Words:
    """One word of every runner, such as its merchant, as a code; NO_CODE where it was not given."""

    def __init__(self) -> None:
        self.words: list[str] = [""]
        self._codes: dict[str, int] = {}
        self._column: Codes = np.zeros(0, np.int32)

    def set(self, runner: int, word: str | None) -> None:
        """Give a runner its word; amortised O(1)."""
        if runner >= len(self._column):
            more = max(runner + 1, 2 * len(self._column)) - len(self._column)
            self._column = np.concatenate((self._column, np.zeros(more, np.int32)))
        if word is None:
            self._column[runner] = NO_CODE
            return
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        self._column[runner] = code

    def code(self, word: str) -> int | None:
        """The code of a word; None where no runner was ever given it."""
        return self._codes.get(word)

    def column(self, runners: int) -> Codes:
        """The codes of the runners below this bound; not to be written."""
        if len(self._column) < runners:
            self._column = np.concatenate((self._column, np.zeros(runners - len(self._column), np.int32)))
        return self._column[:runners]


class Roster:
    """Products by runner number, a column per numeric attribute, 0 where it was not given, and one per word."""

    def __init__(self) -> None:
        self.products: list[str] = []
        self.entries = 0  # enrolment entries folded: which data of the runners is meant
        self._numbers_of: dict[str, int] = {}
        self._columns: dict[str, FloatArray] = {}
        self._words: dict[str, Words] = {}
        self._joined_ms: IntArray = np.zeros(0, np.int64)
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return len(self.products)

    def enrol(
        self,
        number: int,
        product: str,
        numbers: Mapping[str, float],
        words: Mapping[str, str] | None = None,
        *,
        at_ms: int = 0,
    ) -> bool:
        """Put a product under its number, or give it other data; returns whether it is another product than before.

        words: merchant, category, series, tier, and attributes that are texts or true. at_ms: when it joined, where it
        is another product. Amortised O(attributes + words).
        """
        if number >= len(self.products):
            self.products += [""] * (number + 1 - len(self.products))
        anew = self.products[number] != product
        if anew:
            if self._numbers_of.get(self.products[number]) == number:
                del self._numbers_of[self.products[number]]
            self._numbers_of[product] = number
            self.products[number] = product
            self._joined(number + 1)[number] = at_ms
        for name in {*numbers, *self._columns}:
            self._column(name)[number] = numbers.get(name, 0.0)
        given = words or {}
        for name in {*given, *self._words}:
            self._words.setdefault(name, Words()).set(number, given.get(name))
        self._fresh.add(number)
        return anew

    def number_of(self, product: str) -> int | None:
        """The number under which a product stands; None where it is not enrolled."""
        return self._numbers_of.get(product)

    def _column(self, name: str) -> FloatArray:
        column = self._columns.get(name, np.zeros(0))
        if len(column) < len(self.products):
            column = np.concatenate((column, np.zeros(max(len(self.products), 2 * len(column)) - len(column))))
            self._columns[name] = column
        return column

    def _joined(self, runners: int) -> IntArray:
        if len(self._joined_ms) < runners:
            more = max(runners, 2 * len(self._joined_ms)) - len(self._joined_ms)
            self._joined_ms = np.concatenate((self._joined_ms, np.zeros(more, np.int64)))
        return self._joined_ms

    def joined_ms(self) -> IntArray:
        """When each runner joined, int64 (n,); 0 where that is not known. Not to be written."""
        return self._joined(len(self))[: len(self)]

    def values(self, name: str, runners: IntArray) -> FloatArray:
        """An attribute of some runners, float64 (n,); 0 where it was not given."""
        if name not in self._columns:
            return np.zeros(len(runners))
        return self._column(name)[runners]

    def words(self, name: str) -> Words | None:
        """The words of this name; None where no runner has one."""
        return self._words.get(name)

    def codes(self, name: str) -> Codes:
        """The code of each runner's word of this name, (n,); NO_CODE where it was not given. Not to be written."""
        words = self._words.get(name)
        return np.zeros(len(self), np.int32) if words is None else words.column(len(self))

    def having(self, name: str, word: str) -> npt.NDArray[np.bool_]:
        """Which runners have this word under this name, bool (n,). Cost: one pass."""
        words = self._words.get(name)
        code = None if words is None else words.code(word)
        return np.zeros(len(self), np.bool_) if code is None else self.codes(name) == code

    def has(self, number: int, product: str, numbers: Mapping[str, float], words: Mapping[str, str]) -> bool:
        """Whether this product stands under this number with these attributes and words; one of 0 is as none."""
        known = number < len(self.products) and self.products[number] == product
        wanted = {name: value for name, value in numbers.items() if value}
        return known and self._numbers(number) == wanted and self._given(number) == words

    def save(self, *, full: bool) -> list[Row]:
        """Rows of the runners that came or changed since the last save, or of all."""
        numbers: Iterable[int] = range(len(self.products)) if full else sorted(self._fresh)
        self._fresh = set()
        joined_ms = self.joined_ms()
        return [(n, self.products[n], self._numbers(n), self._given(n), int(joined_ms[n])) for n in numbers]

    def _numbers(self, number: int) -> dict[str, float]:
        return {
            name: float(column[number])
            for name, column in self._columns.items()
            if number < len(column) and column[number]
        }

    def _given(self, number: int) -> dict[str, str]:
        codes = {name: int(words.column(len(self))[number]) for name, words in self._words.items()}
        return {name: self._words[name].words[code] for name, code in codes.items() if code != NO_CODE}

    def load(self, rows: Iterable[Any]) -> None:
        """Take what save gave; counts as saved. Rows of before format 2 have neither words nor a time."""
        for number, product, numbers, *rest in rows:
            words, at_ms = rest or ({}, 0)
            self.enrol(number, product, numbers, words, at_ms=at_ms)
        self._fresh = set()
