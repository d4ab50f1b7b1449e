"""Boards as those see them who follow a venue: what GET slots shows of the first slots, but for the terms of scores."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from api.changes import Board, changes
from api.frames import _DETAILS, _HEAD, _SHOWN, PRIVATE_CACHE_CONTROL, Slots, VenueView
from api.history import Shown
from api.tokens import issued_s
from racing.model import Place

_DELTAS_MAX = 64
"""Answers kept for one frame: clients that ask as often as they should name the last few frames."""
_RENEWED_PER_LIFE = 4
"""Tokens of slots in which nothing changes are told anew so often within the time that one is good for."""

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Sight:
    """What one sees of a venue's frames: so many slots; details: with scores, stock and counts; stale: told to be so.

    now_ms: when tokens are made.
    """

    limit: int
    details: bool
    stale: bool
    now_ms: int


def board_of(view: VenueView, shown: Shown, sight: Sight) -> Board:
    """The first slots of a frame, each with its token.

    Without terms, which would be nine tenths of every change: with full windows all of them move ten times a second.
    """
    frame, details = shown.frame, sight.details
    names = [name for name in _SHOWN if details or name not in _DETAILS]
    slots = []
    for slot in frame.slots[: sight.limit]:
        runner = shown.runners.get(slot.runner)
        given = {name: value for name in names if (value := getattr(runner, name, None)) is not None}
        score = {"score": slot.score} if details else {}
        slots.append({"slot": slot.slot, "product": slot.product, **given, **score})
    if view.tokens is not None:
        places = [(slot.slot, slot.runner) for slot in frame.slots[: sight.limit]]
        tokens = view.tokens.made(frame.epoch, frame.frame, issued_s(frame.at_ms, sight.now_ms), places)
        for row, token in zip(slots, tokens, strict=True):
            row["token"] = token
    head = {name: getattr(frame, name) for name in _HEAD if details or name not in _DETAILS}
    return {**head, "stale": sight.stale, "slots": slots}


def renewal(at_ms: int, lives_s: int) -> int:
    """A number that changes when tokens of slots that have not changed are to be told anew. lives_s: of a token."""
    return at_ms * _RENEWED_PER_LIFE // (lives_s * 1000)


def changes_since(view: VenueView, since: Place | None, sight: Sight, lives_s: int) -> Slots:
    """The answer of GET changes, made once for the current frame: what is different since, or the whole board."""
    key = (since, sight.limit, sight.details, sight.stale, issued_s(view.frame.at_ms, sight.now_ms))
    known = view.deltas.get(key)
    if known is None:
        if len(view.deltas) >= _DELTAS_MAX:
            view.deltas.clear()
        private = sight.details and not view.public_details
        body = encode(_told_since(view, since, sight, lives_s))
        known = view.deltas[key] = Slots.of(
            body,
            f'"{view.frame.name}-{blake2b(body, digest_size=6).hexdigest()}"',
            stale=sight.stale,
            cache_control=PRIVATE_CACHE_CONTROL if private else view.cache_control,
        )
    return known


def _told_since(view: VenueView, since: Place | None, sight: Sight, lives_s: int) -> Board:
    board = board_of(view, view.now, sight)
    old = None if since is None else view.history.find(since)
    if old is None:
        return {"since": None, "next": view.frame.name, "full": board}
    return changes(board_of(view, old, sight), board, renew=is_due(old, sight, lives_s))


def is_due(old: Shown, sight: Sight, lives_s: int) -> bool:
    """Whether who has the board of an older frame must be told all tokens anew."""
    return renewal(old.frame.at_ms, lives_s) != renewal(sight.now_ms, lives_s)
