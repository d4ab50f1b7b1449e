"""Rules off: the order that a race alone comes to, to be compared with what the desk makes of it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from racing.board import order
from racing.board_settings import BoardSettings
from racing.lifting import Lift
from racing.model import FloatArray
from racing.race import Race
from racing.showing import Shown, Sight
from racing.steering import Steering

SERVED = "standings"
"""What the order of such a board came from."""
EXCLUDED = "excluded"
"""Label of a product that is on it and that the desk has taken off the board."""


def plain_board(race: Race, limit: int) -> Shown:
    """The first products by score alone: no boost, and none of the steps between standings and slots.

    So whoever is excluded or sold out is on it, where its score puts it, and an excluded one says so by its label. The
    rule in force, of a phase too, and a phase's opening order are the race's own and stay. At most as many slots as the
    board has. Cost: one sort of the field; the boosted runners are scored once more.
    """
    sight = race.sight()
    lift = replace(sight.lift, factors=None)
    scores, slots = _unboosted(race, sight, lift), min(limit, sight.field.settings.slots)
    field = replace(
        sight.field,
        settings=BoardSettings(slots=slots),
        steering=Steering(),
        scores=scores,
        excluded=None,
        sold_out=None,
        leaders=lambda: order(np.arange(len(scores)), scores)[:slots],
        held=(),
        chosen=(),
        new=None,
    )
    shown = replace(sight, field=field, lift=lift).shown()
    excluded = sight.field.excluded
    if excluded is not None:
        marked = [
            msgspec.structs.replace(slot, labels=(EXCLUDED,)) if excluded[slot.runner] else slot for slot in shown.slots
        ]
        shown = shown._replace(slots=tuple(marked))
    return shown._replace(served=SERVED)


def _unboosted(race: Race, sight: Sight, lift: Lift) -> FloatArray:
    """Every runner's score without boosts; a number's bits do not depend on who is scored beside it."""
    factors = sight.lift.factors
    if factors is None:
        return race.scores
    boosted = np.flatnonzero(factors != 1.0)
    scores = race.scores.copy()
    scores[boosted] = lift.scores(boosted, sight.formula.scores(race.sums(boosted)))
    return scores
