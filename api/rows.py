"""Rows: the slots of a frame with all that a page needs of them, as readers get them."""

from __future__ import annotations

from typing import Any

from api.badges import BADGES, moved
from api.history import MOVED_STEPS, Shown
from racing.entries import Runner
from racing.model import Slot

HEAD = (
    "venue",
    "frame",
    "epoch",
    "position",
    "at_ms",
    "rule_version",
    "runners",
    "served",
    "phase",
    "phase_ends_ms",
    "told",
    "conflicts",
)
"""What is told of a frame, by its own names."""
GIVEN = (
    "merchant",
    "title",
    "category",
    "series",
    "tier",
    "price",
    "list_price",
    "coupon",
    "stock",
    "image",
    "url",
)
"""What is told of a product as it was given at enrolment, or changed since."""
DETAILS = frozenset({"runners", "stock", "told", "conflicts"})
"""Counts: with scores, standings and terms they are told only where the venue makes its details public."""
FIELDS = (
    "slot",
    "product",
    *GIVEN[: GIVEN.index("stock")],
    "price_after_coupon",
    *GIVEN[GIVEN.index("stock") :],
    "moved",
    "badges",
    "gone",
    "filtered_slot",
    "standing",
    "score",
    "terms",
)
"""Fields of a row; one that says nothing is left out."""
ALWAYS = frozenset({"slot", "product", "gone", "filtered_slot"})
"""Fields that come whichever are asked for: without them a page could not tell what it shows."""

Row = dict[str, Any]


def head_of(shown: Shown, *, details: bool, stale: bool) -> dict[str, Any]:
    """What stands before the rows of an answer. served: where the order comes from; last_frame while it is stale."""
    frame, board = shown.frame, shown.references[MOVED_STEPS]
    head = {name: getattr(frame, name) for name in HEAD if details or name not in DETAILS}
    if stale:
        head["served"] = "last_frame"
    if shown.segment is not None:
        head["segment"] = shown.segment
    return {**head, "moved_since_ms": None if board is None else board.at_ms, "stale": stale}


def rows_of(shown: Shown, *, details: bool) -> list[Row]:
    """Every slot of a frame, best first. Cost: some microseconds a slot."""
    given = [name for name in GIVEN if details or name not in DETAILS]
    return [_row(shown, slot, shown.runners.get(slot.runner), given, details=details) for slot in shown.frame.slots]


def _row(shown: Shown, slot: Slot, runner: Runner | None, given: list[str], *, details: bool) -> Row:
    row: Row = {"slot": slot.slot, "product": slot.product}
    if runner is not None:
        row |= {name: value for name in given if (value := getattr(runner, name)) is not None}
    if slot.price is not None:
        row["price"] = slot.price
    if slot.stock is not None and details:
        row["stock"] = slot.stock
    if runner is not None and runner.coupon is not None and (price := row.get("price")) is not None:
        after = runner.coupon.price_after(price)
        if after is not None:
            row["price_after_coupon"] = after
    gained = moved(shown.references, slot.runner, slot.slot)
    if gained is not None:
        row["moved"] = gained
    badges = _badges(shown, slot, runner)
    if badges:
        row["badges"] = badges
    if details:
        if slot.standing is not None:
            row["standing"] = slot.standing
        row |= {"score": slot.score, "terms": slot.terms}
    return row


def _badges(shown: Shown, slot: Slot, runner: Runner | None) -> list[str]:
    """What a product is told to be: by the board, lately, and by its stock."""
    told = shown.told.get(slot.runner, ())
    given = None if runner is None else runner.stock
    stock = given if slot.stock is None else slot.stock
    if not told and not slot.labels and (stock is None or stock > shown.badges.low_stock):
        return []  # as most are
    names = {*slot.labels, *told}
    if stock == 0:
        names.add("sold_out")
    elif stock is not None and stock <= shown.badges.low_stock and "sold_out" not in names:
        names.add("low_stock")
    return [name for name in BADGES if name in names] + sorted(names.difference(BADGES))
