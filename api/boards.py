"""Boards as those have them who follow a venue: the head and the first slots of a frame, without the terms of scores.

With full windows all terms move ten times a second: they would be nine tenths of every change.
"""

from __future__ import annotations

import msgspec

from api.changes import Board, changes
from api.encoded import PRIVATE_CACHE_CONTROL, Slots
from api.history import Shown
from api.parts import Sight, with_tokens
from api.rows import head_of
from api.view import VenueView
from racing.model import Place

_DELTAS_MAX = 64
"""Answers kept for one frame: clients that ask as often as they should name the last few frames."""
_RENEWED_PER_LIFE = 4
"""Tokens of slots in which nothing changes are told anew so often within the time that one is good for."""

encode = msgspec.json.Encoder().encode


def board_of(view: VenueView, shown: Shown, sight: Sight) -> Board:
    """A frame of a venue as it is seen."""
    shown = shown.of_segment(sight.segment)
    rows = view.rows_of(shown, details=sight.details)[: sight.limit]
    slots = [{name: value for name, value in row.items() if name != "terms"} for row in rows]
    if sight.tokens and view.tokens is not None:
        slots = with_tokens(shown.frame, slots, view.tokens, sight.issued_s)
    return {**head_of(shown, details=sight.details, stale=sight.stale), "slots": slots}


def renewal(at_s: int, lives_s: int) -> int:
    """A number that changes when tokens of slots that have not changed are to be told anew. lives_s: of a token."""
    return at_s * _RENEWED_PER_LIFE // lives_s


def is_due(old: Shown, sight: Sight, lives_s: int) -> bool:
    """Whether who has the board of an older frame must be told all tokens anew."""
    return sight.tokens and renewal(old.frame.at_ms // 1000, lives_s) != renewal(sight.issued_s, lives_s)


def changes_since(view: VenueView, since: Place | None, sight: Sight, lives_s: int) -> Slots:
    """The answer of GET changes, made once for the current frame: what is different since, or the whole board."""
    key = (since, sight)
    known = view.deltas.get(key)
    if known is None:
        if len(view.deltas) >= _DELTAS_MAX:
            view.deltas.clear()
        private = sight.details and not view.public_details
        known = view.deltas[key] = Slots.of(
            encode(_told_since(view, since, sight, lives_s)),
            view.frame.name,
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
