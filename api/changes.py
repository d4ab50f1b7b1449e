"""What changed between two boards as readers see them: what is left, moved, new or different of each product.

A board is the answer of GET slots: a head, and ``slots``, each of which names its product; no product stands twice.
``applied(old, changes(old, new)) == new`` for any two boards: who follows changes has what one who reads has; but for
tokens: that of a product which stays in its slot says the same as before, and is told anew only when it is due.
"""

from __future__ import annotations

from typing import Any

Board = dict[str, Any]

_PLACE = frozenset({"slot"})
_KEPT = frozenset({"slot", "token"})

GONE = None
"""The value of a field that a product no longer has: no board carries null in a slot."""


def changes(old: Board, new: Board, *, renew: bool = False) -> dict[str, Any]:
    """The changes that make one board of another, and the whole head of the new one, which is small.

    since and next: names of both frames. left: products that are no longer there. moves: product, the slot it had
    (was), the one it has. entered: whole slots. changed: product and the fields that are not what they were, null for
    one that is gone. renew: tell all tokens. Inputs are read only. Cost: O(slots).
    """
    before = {slot["product"]: slot for slot in old["slots"]}
    left = before.copy()
    moves, entered, changed = [], [], []
    for slot in new["slots"]:
        product = slot["product"]
        was = left.pop(product, None)
        if was is None:
            entered.append(slot)
            continue
        stays = was["slot"] == slot["slot"]
        if not stays:
            moves.append({"product": product, "was": was["slot"], "slot": slot["slot"]})
        fields = _different(was, slot, _KEPT if stays and not renew else _PLACE)
        if fields:
            changed.append({"product": product, **fields})
    head = {name: value for name, value in new.items() if name != "slots"}
    return {
        "since": name_of(old),
        "next": name_of(new),
        "head": head,
        "left": list(left),
        "moves": moves,
        "entered": entered,
        "changed": changed,
    }


def name_of(board: Board) -> str:
    """The name of a board's frame."""
    return f"{board.get('epoch')}-{board.get('frame')}"


def _different(was: Board, now: Board, passed_over: frozenset[str]) -> dict[str, Any]:
    """Fields of a slot that are not what they were, but for some."""
    found = {name: value for name, value in now.items() if name not in passed_over and was.get(name, GONE) != value}
    return {**found, **{name: GONE for name in was if name not in now}}


def applied(old: Board, changes: dict[str, Any]) -> Board:
    """The board that changes make of the one that they are since: what every client does. Inputs are read only."""
    left = {*changes["left"]}
    slots = {slot["product"]: {**slot} for slot in old["slots"] if slot["product"] not in left}
    for move in changes["moves"]:
        slots[move["product"]]["slot"] = move["slot"]
    for fields in changes["changed"]:
        merged = {**slots[fields["product"]], **fields}
        slots[fields["product"]] = {name: value for name, value in merged.items() if value is not GONE}
    for slot in changes["entered"]:
        slots[slot["product"]] = slot
    return {**changes["head"], "slots": sorted(slots.values(), key=lambda slot: int(slot["slot"]))}
