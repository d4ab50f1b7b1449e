"""Preview: the board that a draft would make right now, and who moves by which terms. The race is not touched."""

from __future__ import annotations

import msgspec
import numpy as np

from racing.board import order
from racing.model import Slot
from racing.questions import Draft, TermChange, drafted, slot_of, standings, term_changes
from racing.race import Race
from racing.showing import Sight

HIDDEN_MAX = 500
"""Hidden products that are told, the best first."""


class Move(msgspec.Struct, frozen=True):
    """A product whose slot would be another: from where to where, and what each term gives it on either side."""

    product: str
    slot_before: int | None
    slot_after: int | None
    standing_before: int
    standing_after: int
    score_before: float
    score_after: float
    terms: tuple[TermChange, ...]


class NotFull(msgspec.Struct, frozen=True):
    """Something that the draft counts and that is not kept whole: from when on it would be, ms of log time."""

    what: str
    full_from_ms: int


class Hidden(msgspec.Struct, frozen=True):
    """A product that races and has no place on the draft's board: why, and the slot that it has now."""

    product: str
    standing: int
    score: float
    why: str
    slot_before: int | None


class Preview(msgspec.Struct, frozen=True):
    """The draft's board beside the present one. overlap: share of the larger board's slots whose products are on both.

    told: what the draft's board could not do as it was asked. served, phase: as a frame has them. hidden: None where it
    was not asked for. segment: whose boards these are; None for the whole venue's.
    """

    slots: tuple[Slot, ...]
    entered: tuple[Move, ...]
    left: tuple[Move, ...]
    rose: tuple[Move, ...]
    fell: tuple[Move, ...]
    unmoved: int
    overlap: float
    not_full: tuple[NotFull, ...]
    told: tuple[str, ...]
    served: str
    phase: str
    hidden: tuple[Hidden, ...] | None = None
    segment: str | None = None


def preview(race: Race, draft: Draft, *, hidden: bool = False, segment: str | None = None) -> Preview:
    """The board of a draft on the race's own windows, by the fold itself on a copy. Raises OrderError, RuleError.

    segment: both boards as it has them; a side whose rule does not declare it shows the whole venue's, as its shoppers
    would see. Cost: a copy of the race, and two sorts of the field.
    """
    drafting = drafted(race, draft)
    before, after = race.sight(segment), drafting.sight(segment)
    shown = after.shown()
    before_slot, after_slot = slot_of(before.shown().slots), slot_of(shown.slots)
    moved = sorted(
        (runner for runner in before_slot | after_slot if before_slot.get(runner) != after_slot.get(runner)),
        key=lambda runner: (after_slot.get(runner, len(after_slot) + before_slot.get(runner, 0)), runner),
    )
    moves = _moves(before, after, moved, before_slot, after_slot)
    both = before_slot.keys() & after_slot.keys()
    return Preview(
        slots=shown.slots,
        entered=tuple(move for move in moves if move.slot_before is None),
        left=tuple(move for move in moves if move.slot_after is None),
        rose=tuple(move for move in moves if move.slot_before and move.slot_after and _rises(move)),
        fell=tuple(move for move in moves if move.slot_before and move.slot_after and not _rises(move)),
        unmoved=len(both) - sum(runner in both for runner in moved),
        overlap=len(both) / max(len(before_slot), len(after_slot), 1),
        not_full=not_full(race, drafting),
        told=shown.told,
        served=shown.served,
        phase=shown.phase,
        hidden=_hidden(after, before_slot, after_slot) if hidden else None,
        segment=segment,
    )


def _hidden(after: Sight, before_slot: dict[int, int], after_slot: dict[int, int]) -> tuple[Hidden, ...]:
    """The best of those who have no place on the board, excluded or sold out, in standing order."""
    field = after.field
    outs = field.outs()
    out = np.flatnonzero([] if outs is None else outs)
    return tuple(
        Hidden(
            product=field.roster.products[runner],
            standing=field.standing(runner),
            score=float(field.scores[runner]),
            why=field.steering.excluded_by(runner, field.roster) or "sold out",
            slot_before=before_slot.get(runner),
        )
        for runner in order(out, field.scores[out])[:HIDDEN_MAX].tolist()
        if runner not in after_slot
    )


def _rises(move: Move) -> bool:
    return (move.slot_after or 0) < (move.slot_before or 0)


def _moves(
    before: Sight, after: Sight, moved: list[int], before_slot: dict[int, int], after_slot: dict[int, int]
) -> list[Move]:
    runners = np.array(moved, np.int64)
    was, will = before.field.scores, after.field.scores
    stood, stands = standings(was), standings(will)
    terms = zip(before.rule_terms(runners), after.rule_terms(runners), strict=True)
    return [
        Move(
            product=after.field.roster.products[runner],
            slot_before=before_slot.get(runner),
            slot_after=after_slot.get(runner),
            standing_before=int(stood[runner]),
            standing_after=int(stands[runner]),
            score_before=float(was[runner]),
            score_after=float(will[runner]),
            terms=term_changes(*both),
        )
        for runner, both in zip(moved, terms, strict=True)
    ]


def not_full(race: Race, after: Race) -> tuple[NotFull, ...]:
    """What a draft's rule counts that the race does not keep, or not for so long: event kinds, window, base.

    A kind that the present rule does not take is refused at the door until the rule that names it holds.
    """
    found = [
        NotFull(f"events of kind {kind}", race.moment_ms + 2 * after.rule.window_ms)
        for kind in sorted(after.rule.kinds() - race.rule.kinds())
    ]
    whole = zip(("window", "base"), after.tally.full_from_ms(), strict=True)
    return (*found, *(NotFull(what, from_ms) for what, from_ms in whole if from_ms > race.moment_ms))
