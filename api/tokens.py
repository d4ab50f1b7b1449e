"""Exposure tokens: what a slot of an answer carries, so that a front end can say, and prove, where something happened.

A token states epoch, frame, slot, runner and when it was issued, and is signed for its venue with a key derived from
the deployment's secret. It is the same for all who are shown that slot of that frame: answers can be cached.

    bytes   0       1..6    7..11   12..15     16..17  18..21   22..29
            form 1  epoch   frame   issued_s   slot    runner   signature

Big-endian, in base64url: 40 letters, of which all slots of an answer share the first 21, so that they compress well.
The signature is the keyed BLAKE2b of the rest (RFC 7693: a MAC by itself, at a third of HMAC's cost), cut to 64 bits:
it is held against guesses that a server has to answer, not against ones made elsewhere.
"""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

TOKEN_SIZE: Final = 40
"""Letters of a token."""
RENEWED_EVERY_S: Final = 60
"""Answers carry tokens no older than this and their frame's own age: a frame that stays gets new ones."""

_FORM: Final = 1
_HEAD = struct.Struct(">BHIBIIHI")  # numbers of 48 and 40 bits in two parts each
_SIGNATURE_SIZE: Final = 8
_SIGNATURE_LETTERS: Final = 11
"""At the end of a token, hold all of its signature."""
_LOW: Final = 0xFFFF_FFFF
_PERSON: Final = b"saima exposure"
_STRICT = str.maketrans("-_+/", "+/!!")
"""To the plain alphabet of base64, of which the two other letters are none here: a token is written in one way."""


class TokenRefusedError(Exception):
    """A token that is not taken; code says of which kind, the text why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Shown(NamedTuple):
    """What a token says: this runner stood in this slot of this frame, and the token was made at issued_s (Unix s)."""

    epoch: int
    frame: int
    slot: int
    runner: int
    issued_s: int


def issued_s(at_ms: int, now_ms: int) -> int:
    """When tokens of a frame of this moment are said to be issued, if they are made now: alike in every process."""
    return max(at_ms // 1000, now_ms // 1000 // RENEWED_EVERY_S * RENEWED_EVERY_S)


class VenueTokens:
    """Makes and reads the tokens of one venue."""

    def __init__(self, secret: bytes, venue: str) -> None:
        key = blake2b(venue.encode(), key=secret, person=_PERSON).digest()
        self._signing = blake2b(key=key, digest_size=_SIGNATURE_SIZE, person=_PERSON)

    def _signature(self, head: bytes) -> bytes:
        signing = self._signing.copy()
        signing.update(head)
        return signing.digest()

    def made(self, epoch: int, frame: int, issued_s: int, slots: Iterable[tuple[int, int]]) -> list[str]:
        """A token for each (slot, runner). Cost: some 2 us each."""
        shared = (_FORM, epoch >> 32, epoch & _LOW, frame >> 32, frame & _LOW, issued_s)
        heads = [_HEAD.pack(*shared, slot, runner) for slot, runner in slots]
        return [urlsafe_b64encode(head + self._signature(head)).decode() for head in heads]

    def read(self, token: str, *, now_s: float, lives_s: int) -> Shown:
        """What a token says. Raises TokenRefusedError: token_forged, or token_expired after lives_s."""
        raw = _raw(token)
        head, signature = raw[: _HEAD.size], raw[_HEAD.size :]
        if len(token) != TOKEN_SIZE or not hmac.compare_digest(signature, self._signature(head)):
            raise TokenRefusedError("token_forged", "token: is none that this venue's slots carried")
        _, epoch_high, epoch, frame_high, frame, issued, slot, runner = _HEAD.unpack(head)
        if now_s > issued + lives_s:
            detail = f"token: issued {now_s - issued:.0f} s ago, and good for {lives_s} s: read the slots again"
            raise TokenRefusedError("token_expired", detail)
        return Shown(epoch_high << 32 | epoch, frame_high << 32 | frame, slot, runner, issued)


def _raw(token: str) -> bytes:
    """The bytes of a token; empty for a text that is none."""
    try:
        return a2b_base64(token.translate(_STRICT), strict_mode=True)
    except ValueError:
        return b""


class TokenUses:
    """How often each token was used for each kind of event, as this process has seen it.

    Bound: two generations of at most ``kept`` pairs, some 0.2 KB each; who fills them makes old ones be forgotten.
    """

    def __init__(self, most: int, kept: int = 100_000) -> None:
        self._most = most
        self._kept = kept
        self._now: dict[tuple[str, str], int] = {}
        self._before: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def take(self, token: str, kind: str) -> None:
        """Count one use. Raises TokenRefusedError (token_overused) beyond ``most`` of them: a retry counts again."""
        key = (token[-_SIGNATURE_LETTERS:], kind)
        used = self._now.get(key, 0) or self._before.get(key, 0)
        if used >= self._most:
            detail = f"token: used {self._most} times for {kind!r} already: read the slots again"
            raise TokenRefusedError("token_overused", detail)
        self._now[key] = used + 1
        if len(self._now) > self._kept:
            self._before, self._now = self._now, {}


class Exposures(NamedTuple):
    """Reads the tokens of a batch of events.

    page_kinds: of a batch that a page sends the kinds that it may, each event with a token; None for any other sender.
    """

    tokens: VenueTokens
    uses: TokenUses
    now_s: float
    lives_s: int
    page_kinds: frozenset[str] | None = None

    def shown(self, token: str | None, kind: str, runner: int) -> tuple[int, int] | None:
        """(frame, slot) of an event's token, whose use is counted; None without one. Raises TokenRefusedError."""
        if token is None:
            if self.page_kinds is not None:
                raise TokenRefusedError("token_missing", "token: is required of what a page sends: the slot's own")
            return None
        shown = self.tokens.read(token, now_s=self.now_s, lives_s=self.lives_s)
        if shown.runner != runner:
            raise TokenRefusedError("token_mismatch", "token: is of the slot of another product")
        self.uses.take(token, kind)
        return shown.frame, shown.slot
