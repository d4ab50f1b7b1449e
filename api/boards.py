"""Boards as those see them who follow a venue: what GET slots shows of the first slots, but for the terms of scores."""

from __future__ import annotations

import msgspec

from api.changes import Board, changes
from api.frames import _DETAILS, _HEAD, _SHOWN, PRIVATE_CACHE_CONTROL, Slots, VenueView
from api.history import Shown
from racing.model import Place

_DELTAS_MAX = 64
"""Answers kept for one frame: clients that ask as often as they should name the last few frames."""

encode = msgspec.json.Encoder().encode


def board_of(shown: Shown, limit: int, *, details: bool, stale: bool) -> Board:
    """The first slots of a frame. details: with scores, stock and counts.

    Without terms, which would be nine tenths of every change: with full windows all of them move ten times a second.
    """
    frame = shown.frame
    names = [name for name in _SHOWN if details or name not in _DETAILS]
    slots = []
    for slot in frame.slots[:limit]:
        runner = shown.runners.get(slot.runner)
        given = {name: value for name in names if (value := getattr(runner, name, None)) is not None}
        slots.append(
            {"slot": slot.slot, "product": slot.product, **given, **({"score": slot.score} if details else {})}
        )
    head = {name: getattr(frame, name) for name in _HEAD if details or name not in _DETAILS}
    return {**head, "stale": stale, "slots": slots}


def changes_since(view: VenueView, since: Place | None, limit: int, *, details: bool, stale: bool) -> Slots:
    """The answer of GET changes, made once for the current frame: what is different since, or the whole board."""
    key = (since, limit, details, stale)
    known = view.deltas.get(key)
    if known is None:
        if len(view.deltas) >= _DELTAS_MAX:
            view.deltas.clear()
        private = details and not view.public_details
        known = view.deltas[key] = Slots.of(
            _body(view, since, limit, details=details, stale=stale),
            f'"{view.frame.name}"',
            stale=stale,
            cache_control=PRIVATE_CACHE_CONTROL if private else view.cache_control,
        )
    return known


def _body(view: VenueView, since: Place | None, limit: int, *, details: bool, stale: bool) -> bytes:
    board = board_of(view.now, limit, details=details, stale=stale)
    old = None if since is None else view.history.find(since)
    if old is None:
        return encode({"since": None, "next": view.frame.name, "full": board})
    return encode(changes(board_of(old, limit, details=details, stale=stale), board))
