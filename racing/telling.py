"""What is told of a finished board: labels of what it shows, and what of the settings it does not keep."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import numpy.typing as npt

from racing.board_settings import Cap, Newcomers, Share
from racing.field import Board, Field
from racing.model import IntArray
from racing.roster import NO_CODE


def tell(board: Board, field: Field, lacking: set[int]) -> None:
    """Give a board the labels of what it shows, and say what it does not keep.

    lacking: slots of which it is told already that no product of their tier was left.
    """
    settings = field.settings
    for runner in board.runners:
        if field.new is not None and field.new[runner]:
            board.label(runner, "new")
        if settings.stock is not None and field.sold_out is not None and field.sold_out[runner]:
            board.label(runner, settings.stock.badge)
    shown = np.array(board.runners, np.int64)
    _tell_caps(board, field, shown)
    _tell_shares(board, field, shown)
    _tell_tiers(board, field, shown, lacking)
    _tell_newcomers(board, field)


def _tell_caps(board: Board, field: Field, shown: IntArray) -> None:
    said = {text.partition(":")[0] for text in board.told if text.endswith("relaxed")}
    for cap in field.settings.caps or ():
        for slot in _breaches(cap, field.roster.codes(cap.by)[shown]):
            if f"slot {slot}" not in said:
                board.told.append(f"slot {slot}: more than {cap.text}, by a later step")


def _tell_shares(board: Board, field: Field, shown: IntArray) -> None:
    for share in field.settings.shares or ():
        least, most = slots_of(share, field.settings.slots)
        count = int(field.roster.having(share.by, share.value)[shown].sum())
        if least is not None and count < least:
            board.told.append(f"share of {share.text}: {count} of at least {least} slots")
        elif most is not None and count > most:
            board.told.append(f"share of {share.text}: {count} of at most {most} slots")


def _tell_tiers(board: Board, field: Field, shown: IntArray, lacking: set[int]) -> None:
    for tier in field.settings.tiers or ():
        members = field.roster.having("tier", tier.tier)
        for slot in sorted(tier.numbers()):
            if slot <= len(shown) and not members[shown[slot - 1]] and slot not in lacking:
                board.told.append(f"slot {slot}: no product of tier {tier.tier}, by a later step")


def _tell_newcomers(board: Board, field: Field) -> None:
    newcomers, new = field.settings.newcomers, field.new
    if newcomers is None or new is None:
        return
    least = newcomers_of(newcomers, field.settings.slots)
    count = sum(bool(new[runner]) for runner in board.runners)
    if count < least:
        board.told.append(f"newcomers: {count} of at least {least} slots")


def slots_of(share: Share, slots: int) -> tuple[int | None, int | None]:
    """A share in slots: the least rounded up, the greatest down, both beyond what floats do to a whole number."""
    least = None if share.min is None else ceil(share.min * slots - 1e-9)
    most = None if share.max is None else floor(share.max * slots + 1e-9)
    return least, most


def newcomers_of(newcomers: Newcomers, slots: int) -> int:
    """The slots that newcomers have at least."""
    return ceil(newcomers.share * slots - 1e-9)


def _breaches(cap: Cap, codes: npt.NDArray[np.int32]) -> list[int]:
    """The slots, from 1, whose product is one too many of its kind within the cap's stretch before it."""
    found = []
    for index, code in enumerate(codes.tolist()):
        begin = 0 if cap.within is None else max(0, index - cap.within + 1)
        if code != NO_CODE and int((codes[begin : index + 1] == code).sum()) > cap.most:
            found.append(index + 1)
    return found
