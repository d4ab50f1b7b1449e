"""What is asked of a follower and what it answers, as messages: one question, one answer, over a stream of bytes.

A message is its length (u32, little-endian) and msgpack.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec

from racing.advice import Target
from racing.errors import (
    BoundError,
    DocumentError,
    GoneError,
    NotFoundError,
    RacingError,
    StoreError,
    StoreUnavailableError,
)
from racing.questions import Draft

LENGTH = struct.Struct("<I")
MESSAGE_MAX = 64 * 1024 * 1024
"""Bytes of one message: a board of 1,000 slots with 32 terms each is 2 MB."""


class AskPreview(msgspec.Struct, frozen=True, tag="preview"):
    """The board of a draft now. hidden: also who is excluded or sold out. segment: whose board; None: the venue's."""

    venue: str
    draft: Draft
    hidden: bool = False
    segment: str | None = None


class AskWhatIf(msgspec.Struct, frozen=True, tag="what-if"):
    """The boards of a draft over the last minutes, beside those served. every_s: 0 leaves it to the follower."""

    venue: str
    draft: Draft
    minutes: int
    every_s: int = 0


class AskExplain(msgspec.Struct, frozen=True, tag="explain"):
    """Why a product stands where it stands: now, at a moment, or in a frame. segment: on whose board."""

    venue: str
    product: str
    at_ms: int | None = None
    frame: int | None = None
    segment: str | None = None


class AskSlot(msgspec.Struct, frozen=True, tag="slot"):
    """Who holds a slot and why: now, at a moment, or in a frame. segment: of whose board."""

    venue: str
    slot: int
    at_ms: int | None = None
    frame: int | None = None
    segment: str | None = None


class AskAdvice(msgspec.Struct, frozen=True, tag="advice"):
    """What takes a product to a place. price: as in racing.advice.advise."""

    venue: str
    product: str
    target: Target
    price: int | None
    mode: Literal["coarse", "exact"]


class AskPlain(msgspec.Struct, frozen=True, tag="plain"):
    """So many of the first products by score alone, as a frame: what the race would show without the desk."""

    venue: str
    limit: int


class AskStock(msgspec.Struct, frozen=True, tag="stock"):
    """Which products sell out before new goods can come; the first limit of them."""

    venue: str
    safety_stock: int
    lead_time_s: int
    limit: int


class AskTargets(msgspec.Struct, frozen=True, tag="targets"):
    """How far a venue has come towards its targets, a document of racing/targets.py."""

    venue: str
    targets: dict[str, Any]


OfNow = AskPreview | AskAdvice | AskPlain | AskStock | AskTargets
"""What is asked of a race as it stands."""
Question = OfNow | AskWhatIf | AskExplain | AskSlot


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer as JSON; or the name of an error, its text and the fields that are wrong."""

    json: bytes = b""
    error: str = ""
    text: str = ""
    fields: tuple[tuple[str, str, str | None], ...] = ()

    @classmethod
    def refusal(cls, exc: RacingError) -> Answer:
        """The answer that an error is."""
        kind = next((kind for kind in _ERRORS.values() if isinstance(exc, kind)), RacingError)
        return cls(error=kind.__name__, text=str(exc), fields=getattr(exc, "fields", ()))

    def found(self) -> bytes:
        """The JSON. Raises the error where it is one."""
        if not self.error:
            return self.json
        kind = _ERRORS.get(self.error, RacingError)
        raise kind(self.text, self.fields) if issubclass(kind, DocumentError) else kind(self.text)


_ERRORS: dict[str, type[RacingError]] = {
    kind.__name__: kind
    for kind in (DocumentError, BoundError, GoneError, NotFoundError, StoreUnavailableError, StoreError)
}
"""What an answer may be besides a finding, the special ones first."""

_encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


def packed(message: Question | Answer) -> bytes:
    """A message as it is sent."""
    body = _encode(message)
    return LENGTH.pack(len(body)) + body
