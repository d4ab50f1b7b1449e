"""Who has a place in a board's order: the leaders of those who are neither excluded nor sold out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from racing.board import Leaders
from racing.board_settings import BoardSettings
from racing.columns import Array
from racing.model import FloatArray, IntArray

Mask = npt.NDArray[np.bool_]

_DEEPER, _DEEP_MIN = 4, 200
"""Leaders that steps of the board look at, to a slot and at least; where these do not suffice they take the field."""


class Places:
    """Exclusions and stock as columns of the field, and the leaders of those whom they leave.

    excluded, sold_out: bool (n,), None where nobody is or it does not matter. outs: who has no place; None for nobody.
    """

    def __init__(self, settings: BoardSettings) -> None:
        self.excluded: Mask | None = None
        self.sold_out: Mask | None = None
        self.outs: Mask | None = None
        self._ranks: FloatArray = np.zeros(0)  # scores, -inf of who is out; only where anyone is
        self.begin(settings)

    def begin(self, settings: BoardSettings) -> None:
        """Take other settings of the board; the leaders are nobody until they are told of all."""
        stock = settings.stock
        self._leaves = stock is not None and stock.policy != "keep"
        self.depth = settings.slots if settings.plain else max(_DEEPER * settings.slots, _DEEP_MIN)
        self._leaders = Leaders(self.depth)

    def take_out(self, excluded: Mask | None, sold_out: Mask | None, scores: FloatArray) -> bool:
        """Say who is excluded and who sold out, of the whole field; returns whether any leader came or went."""
        self.excluded, self.sold_out = excluded, sold_out
        before = self.outs
        sold = sold_out if self._leaves else None
        outs = excluded if sold is None else sold if excluded is None else excluded | sold
        self.outs = outs if outs is not None and outs.any() else None
        if self.outs is not None:
            self._ranks = np.where(self.outs, -np.inf, scores)
        turned = differing(before, self.outs, len(scores))
        if len(turned):
            self._leaders.update(turned, self._ranked(scores))
        return bool(len(turned))

    def update(self, runners: IntArray, scores: FloatArray) -> None:
        """Take note that these runners, each once, have new scores. scores: of the whole field."""
        if self.outs is not None:
            self._ranks[runners] = np.where(self.outs[runners], -np.inf, scores[runners])
        self._leaders.update(runners, self._ranked(scores))

    def leading(self, scores: FloatArray) -> IntArray:
        """The best of those who have a place, in standing order: depth of them, or all."""
        ranks = self._ranked(scores)
        leaders = self._leaders.best(ranks)
        return leaders if self.outs is None else leaders[ranks[leaders] > -np.inf]

    def _ranked(self, scores: FloatArray) -> FloatArray:
        return scores if self.outs is None else self._ranks


def differing(before: Array | None, after: Array | None, runners: int) -> IntArray:
    """The runners below a bound for whom two columns differ; None is a column of nobody: 1 for factors, else False.

    before may be shorter: those who have come since had nothing.
    """
    given = before if after is None else after
    if given is None:
        return np.zeros(0, np.int64)
    nothing = np.full(runners, given.dtype != np.bool_, given.dtype)
    one = nothing.copy()
    if before is not None:
        one[: len(before)] = before[:runners]
    return np.flatnonzero(one != (nothing if after is None else after))
