"""Decisions as the audit keeps them: who changed what of a venue, from what, to what, and how to take one back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from racing.errors import CorruptRecordError

What = Literal["rule", "enrol", "swap", "orders", "access", "venue", "plan", "void", "unreadable"]
"""What was decided on. void: the entry before, of the same sender, was not carried out after all."""


class Change(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}, omit_defaults=True):
    """One thing that a decision changed.

    of: an order's id, or the name of what there is once; empty of runners, whose data say it. before and after: None
    where there was, or is, none.
    """

    of: str = ""
    before: Any = None
    after: Any = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision. who: the name of the key. undoes: the entry that it takes back; plan: what it was a part of."""

    who: str
    what: What
    changes: list[Change] = []
    note: str = ""
    undoes: str = ""
    plan: str = ""

    def products(self) -> set[str]:
        """The products that it names, before or after."""
        return set(_products(change.before for change in self.changes)) | set(
            _products(change.after for change in self.changes)
        )


def _products(documents: Iterator[Any]) -> Iterator[str]:
    for document in documents:
        if not isinstance(document, dict):
            continue
        named = document.get("product")
        if isinstance(named, str):
            yield named
        yield from document.get("products") or ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Decision).decode


def encode(decision: Decision) -> bytes:
    """A decision as it is kept."""
    return _encode(decision)


def decode(raw: bytes) -> Decision:
    """A decision that was kept. Raises CorruptRecordError."""
    try:
        decision: Decision = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CorruptRecordError(f"a decision of the audit cannot be decoded: {exc}") from exc
    return decision
