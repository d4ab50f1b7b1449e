"""The board (坑位排序): the total order of runners, and the leaders kept without sorting the field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from racing.model import FloatArray, IntArray, Slot

_POOL_MIN = 256
"""Leaders kept at least: a small board is still rebuilt rarely."""


def order(runners: IntArray, scores: FloatArray) -> IntArray:
    """The runners in standing order: higher score first, ties to the runner enrolled first.

    This is the one total order; Redis keeps the same by (-score, zero-padded number).
    runners: int64 (n,); scores: float64 (n,), one per runner named. Cost: O(n log n).
    """
    return runners[np.lexsort((runners, -scores))]


class Leaders:
    """The best runners of a field whose scores change a few at a time.

    Keeps every runner that does not stand behind a cut (a score and a number), so that the best
    ``wanted`` are always among them; the field is looked at again only when too few are left.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._keep = max(4 * wanted, _POOL_MIN)
        self._pool = np.empty(0, np.int64)
        self._inside = np.zeros(0, np.bool_)
        self._cut = (-np.inf, -1)  # everyone is inside until the first rebuild
        self._all = True

    def update(self, runners: IntArray, scores: FloatArray) -> None:
        """Take note that these runners (each once) have new scores. scores: the whole field's, by number.

        Cost: O(len(runners) + pool); O(field) when the pool runs low.
        """
        if len(self._inside) < len(scores):
            grown = np.zeros(max(len(scores), 2 * len(self._inside)), np.bool_)
            grown[: len(self._inside)] = self._inside
            self._inside = grown
        score, number = self._cut
        own = scores[runners]
        fits = np.ones(len(runners), np.bool_) if self._all else (own > score) | ((own == score) & (runners <= number))
        was = self._inside[runners]
        self._inside[runners] = fits
        if (was & ~fits).any():
            self._pool = self._pool[self._inside[self._pool]]
        joined = runners[fits & ~was]
        if len(joined):
            self._pool = np.concatenate((self._pool, joined))
        if len(self._pool) > 4 * self._keep:
            self._cut_to(self._pool, scores)
        elif not self._all and len(self._pool) < min(self.wanted, len(scores)):
            self._cut_to(np.arange(len(scores)), scores)

    def _cut_to(self, runners: IntArray, scores: FloatArray) -> None:
        self._inside[self._pool] = False
        self._all = len(runners) <= self._keep and len(runners) == len(scores)
        kept = (
            order(runners, scores[runners])[: self._keep]
            if len(runners) <= 4 * self._keep
            else _best(runners, scores, self._keep)
        )
        self._pool = kept
        self._inside[kept] = True
        last = kept[-1]
        self._cut = (float(scores[last]), int(last))

    def best(self, scores: FloatArray) -> IntArray:
        """The best ``wanted`` runners in standing order (fewer if the field is smaller)."""
        return order(self._pool, scores[self._pool])[: self.wanted]


def _best(runners: IntArray, scores: FloatArray, count: int) -> IntArray:
    """The best count runners in standing order, without sorting the others. Cost: O(n)."""
    own = scores[runners]
    threshold = np.partition(own, len(own) - count)[len(own) - count]
    above = runners[own > threshold]
    ties = np.sort(runners[own == threshold])[: count - len(above)]
    chosen = np.concatenate((above, ties))
    return order(chosen, scores[chosen])


def check_board(slots: Sequence[Slot], scores: FloatArray) -> None:
    """Raise AssertionError unless the slots are the first of the plain sort of all scores."""
    expected = sorted(range(len(scores)), key=lambda runner: (-scores[runner], runner))[: len(slots)]
    assert [slot.runner for slot in slots] == expected, "the board is not the plain sort of the scores"
    assert [slot.slot for slot in slots] == list(range(1, len(slots) + 1)), "slots do not count from 1"
    assert all(slot.score == scores[slot.runner] for slot in slots), "a slot shows another score"
