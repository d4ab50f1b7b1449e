"""Cursors: where a page of a frame ends, so that the next one goes on in the same frame.

A cursor is not secret and grants nothing: it names what anyone may ask for who may read the venue. It is checked by a
few bytes of digest, so that a garbled one is told from one whose frame has gone.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b

import msgspec

from racing.model import Place

_CHECK_BYTES = 4
CURSOR_MAX = 3_072
"""Letters of a cursor: two filters of 200 letters each fit, and every field."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The rows of one frame after a slot, chosen as on the pages before."""

    venue: str
    epoch: int
    frame: int
    after: int
    category: str | None = None
    tier: str | None = None
    fields: tuple[str, ...] = ()
    tokens: bool = False
    segment: str | None = None

    @property
    def place(self) -> Place:
        """Of its frame."""
        return self.epoch, self.frame

    def text(self) -> str:
        """As it stands in an address."""
        packed = _encode(self)
        return urlsafe_b64encode(_check(packed) + packed).rstrip(b"=").decode()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def _check(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=_CHECK_BYTES).digest()


def read_cursor(text: str) -> Cursor | None:
    """The cursor written so; None for anything that no answer has given."""
    if not text.isascii() or len(text) > CURSOR_MAX:
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        check, packed = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        return _decode(packed) if check == _check(packed) else None
    except (Base64Error, msgspec.MsgspecError):
        return None
