"""The ladder of each venue, by which ranges of standings are told: looked at anew when it is asked for and old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from api.merchants import measures_read, rule_of, sums_of
from api.view import VenueView
from racing.formula import measures_of_rule
from racing.ladder import Ladder, noise_of, rung_standings
from racing.model import FloatArray
from racing.store.desk import Desk
from racing.store.standings import Field

_LIVES_S = 5.0
"""A field as a whole changes slowly; a ladder costs some 5 ms, and two short scripts of the server."""
_VENUES_MAX = 1_000


class Ladders:
    """The ladders of one API process. Bound: 1,000 venues; beyond that all are looked at anew."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, Ladder | None]] = {}
        self._making = asyncio.Lock()

    async def of(self, desk: Desk, view: VenueView) -> Ladder | None:
        """The ladder of a venue, at most 5 s old; None where its field has no noise, or too few runners."""
        venue = view.venue.venue
        async with self._making:  # who asks meanwhile finds it made
            made_s, found = self._made.get(venue, (-_LIVES_S, None))
            if time.monotonic() - made_s > _LIVES_S:
                found = await _made(desk, view)
                if len(self._made) >= _VENUES_MAX:
                    self._made.clear()
                self._made[venue] = time.monotonic(), found
            return found


async def _made(desk: Desk, view: VenueView) -> Ladder | None:
    venue = view.venue.venue
    field = await desk.standings.size(venue)
    rungs = await desk.standings.at(venue, rung_standings(field).tolist())
    numbers = [number for number in rungs if number is not None]
    if not numbers:
        return None
    ((_, read),) = await desk.standings.read(venue, numbers, measures_read(view.rule))
    noise = await noise_in(desk, view, read)
    return None if noise is None else ladder_of(read, noise)


def ladder_of(read: Field, noise: FloatArray) -> Ladder | None:
    """The ladder of rungs as they were read, each once and in order: some may have moved since they were chosen."""
    order = np.argsort(read.standing, kind="stable")
    order = order[read.standing[order] > 0]
    if not len(order):
        return None
    return Ladder.of(read.standing[order], read.score[order], noise[order], read.field)


async def noise_in(desk: Desk, view: VenueView, read: Field) -> FloatArray | None:
    """The variance of each score that was read; None before a scorer has said what it scores with."""
    if read.held is None:
        return None
    rule, kinds = await rule_of(desk, view, read.held), read.held.kind_index()
    sums = sums_of(rule, read, kinds)
    return noise_of(rule, measures_of_rule(rule, kinds), read.held.held(), sums)


def likely(ladder: Ladder | None, scores: Sequence[float], noise: FloatArray | None) -> list[tuple[int, int] | None]:
    """The range of each score; None without a ladder."""
    if ladder is None or noise is None:
        return [None for _ in scores]
    return [ladder.likely(score, variance) for score, variance in zip(scores, noise.tolist(), strict=True)]
