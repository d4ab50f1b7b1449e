"""Encoded answers of GET slots: a body made once, its strong ETag, and both as the bytes of HTTP."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

import brotli

from racing.model import Place

CACHE_CONTROL = "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=60"
"""A shared cache asks at most once a second; an exclusion is everywhere within 2 s."""
PRIVATE_CACHE_CONTROL = "private, max-age=0"
"""For what only some keys see."""
VARY = "Accept-Encoding"
_LEVEL = 6
"""20 kB of board take 0.3 ms and come to an eighth; 9 takes twice that for a hundredth less."""
_GZIP = 16 + zlib.MAX_WBITS
_QUALITY = 5
"""Takes about as long as gzip's level 6 and comes to a third less; higher ones take several times that."""
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=_QUALITY),
    "gzip": lambda body: zlib.compress(body, _LEVEL, _GZIP),
}
"""How bodies are compressed, by the name that HTTP has for it; of those that a client likes alike, the first."""
_PLACE_DIGITS_MAX = 20


class Slots:
    """The answer of GET slots, made once for each frame, limit and state; packed when it is first asked for so.

    headers: those that stay while it is the current one. encoding: of the body, empty for none. head: the headers as
    lines of HTTP; length: the lines that a 200 has besides.
    """

    __slots__ = ("_packed", "body", "cache_control", "encoding", "etag", "head", "headers", "length", "stale")

    def __init__(self, body: bytes, tag: str, *, stale: bool, cache_control: str, encoding: str = "") -> None:
        """tag: the ETag without its quotes."""
        self.body, self.etag, self.stale, self.cache_control = body, f'"{tag}"', stale, cache_control
        self.encoding = encoding
        self.headers = {"etag": self.etag, "cache-control": cache_control, "vary": VARY}
        if stale:
            self.headers["saima-stale"] = "true"
        told = {**self.headers, "x-content-type-options": "nosniff"}
        self.head = "".join(f"{name}: {value}\r\n" for name, value in told.items()).encode()
        coding = f"content-encoding: {encoding}\r\n" if encoding else ""
        self.length = f"content-type: application/json\r\n{coding}content-length: {len(body)}\r\n".encode()
        self._packed: dict[str, Slots] = {}

    @classmethod
    def of(cls, body: bytes, name: str, *, stale: bool, cache_control: str = CACHE_CONTROL) -> Slots:
        """The answer with this body, of a frame of this name: the ETag is the name, and a digest of all that is told.

        So it covers what a frame does not number: product data, state, and what was asked for.
        """
        return cls(body, f"{name}-{blake2b(body, digest_size=6).hexdigest()}", stale=stale, cache_control=cache_control)

    def packed(self, coding: str) -> Slots:
        """The same answer compressed, under an ETag of its own. coding: one of CODINGS; empty for this one."""
        if not coding:
            return self
        known = self._packed.get(coding)
        if known is None:
            tag, made = f"{self.etag[1:-1]}-{coding}", CODINGS[coding](self.body)
            known = Slots(made, tag, stale=self.stale, cache_control=self.cache_control, encoding=coding)
            self._packed[coding] = known
        return known


@lru_cache(maxsize=256)
def coding_for(accept_encoding: str) -> str:
    """The one of CODINGS that a client likes best who says this about encodings; empty where it takes none."""
    weights = {}
    for each in accept_encoding.lower().split(","):
        name, *options = (part.strip() for part in each.split(";"))
        weights[name] = next((_weight(option[2:]) for option in options if option.startswith("q=")), 1.0)
    weights.setdefault("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    liked = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in CODINGS}
    best = max(liked, key=lambda coding: liked[coding])
    return best if liked[best] > 0 else ""


def _weight(text: str) -> float:
    """A weight as a client wrote it; one that is no number says that the coding is taken."""
    try:
        return float(text)
    except ValueError:
        return 1.0


def parse_place(name: str) -> Place | None:
    """The place of a frame from its name, ``epoch-frame``; None where it is no such name."""
    epoch, dash, number = name.partition("-")
    digits = epoch.isdecimal() and number.isdecimal() and name.isascii()
    if not (dash and digits and len(epoch) <= _PLACE_DIGITS_MAX and len(number) <= _PLACE_DIGITS_MAX):
        return None
    return int(epoch), int(number)


def newest_named(if_none_match: str) -> Place | None:
    """The newest frame among the ETags of If-None-Match: the client has seen it. None where it names no frame."""
    found = []
    for each in if_none_match.split(","):
        epoch, _, rest = each.strip().removeprefix("W/").strip('"').partition("-")
        place = parse_place(f"{epoch}-{rest.partition('-')[0]}")
        if place is not None:
            found.append(place)
    return max(found, default=None)
