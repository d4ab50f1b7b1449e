"""What plain heads of the two busy addresses ask, read from their bytes: a read of slots, or a batch of events."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from api.bodies import JSON, NDJSON
from api.encoded import coding_for, newest_named
from api.packed import MEDIA_TYPE
from racing.model import Place

PREFIX = b"/v1/venues/"
_SLOTS_MAX = 1000
_TOKENS = b"&tokens=true"
"""As saima-client.js asks, after a limit."""
_MEDIA_TYPES = {
    NDJSON.encode(): NDJSON,
    b"application/json": JSON,
    b"application/json; charset=utf-8": JSON,
    MEDIA_TYPE.encode(): MEDIA_TYPE,
}
KEY_MAX = 255
"""Characters of an Idempotency-Key."""
BODY_OF_READ = frozenset({b"content-length", b"transfer-encoding"})
"""Headers of a read that has a body: odd, whatever else is set."""

Headers = list[tuple[bytes, bytes]]


def is_key(text: str) -> bool:
    """Whether this can be an Idempotency-Key."""
    return 1 <= len(text) <= KEY_MAX and text.isascii() and text.isprintable()


class Read(msgspec.Struct, frozen=True, gc=False):
    """What the head of a GET asks: so many slots, unless they are those that the client names.

    seen: the newest frame that the client names, so that it is not shown an older one. coding: how it takes a body,
    empty for as it is. tokens: each slot with its token. authorization: its key, where keys are in force.
    """

    venue: str
    limit: int
    if_none_match: str | None
    authorization: bytes | None
    seen: Place | None = None
    coding: str = ""
    tokens: bool = False
    again: ClassVar[bool] = True


class Batch(msgspec.Struct, frozen=True, gc=False):
    """What the head of a POST asks: to take the events of a body of this type."""

    venue: str
    media_type: str
    key: str | None
    authorization: bytes

    @property
    def again(self) -> bool:
        """Whether the same may be asked again: not with an idempotency key, which comes once."""
        return self.key is None


Asked = Read | Batch


def asked_of(
    method: bytes, url: bytes, headers: Headers, *, odd: frozenset[bytes], body_max_bytes: int
) -> Asked | None:
    """What a plain head below PREFIX asks; None for what the plain routes are to answer. It depends on the head alone.

    odd: names of headers, lower case, that a read may not have to be answered here; authorization excepted, once.
    body_max_bytes: the longest body of a batch that is taken here.
    """
    path, mark, query = url.partition(b"?")
    venue, _, what = path[len(PREFIX) :].partition(b"/")
    if not venue.isascii():
        return None
    if what == b"slots" and method == b"GET" and not (mark and not query):
        return _read_of(venue.decode(), query, headers, odd)
    if what == b"events" and method == b"POST" and not mark:
        asked = _batch_of(venue.decode(), headers, body_max_bytes)
        return None if b"origin" in odd and any(name == b"origin" for name, _ in headers) else asked
    return None


def _read_of(venue: str, query: bytes, headers: Headers, odd: frozenset[bytes]) -> Read | None:
    """A read whose query asks for a limit alone; None for any other, and for a header that comes twice."""
    query, tokens = query.removesuffix(_TOKENS), query.endswith(_TOKENS)
    limit, known, key, coding = _limit(query), None, None, None
    if limit is None:
        return None
    for name, value in headers:
        if name == b"if-none-match":
            if known is not None:
                return None
            known = value.decode("latin-1")
        elif name == b"accept-encoding":
            if coding is not None:
                return None
            coding = coding_for(value.decode("latin-1"))
        elif name in odd:
            if name != b"authorization" or key is not None:
                return None
            key = value
    seen = None if known is None else newest_named(known)
    return Read(venue, limit, known, key, seen, coding=coding or "", tokens=tokens)


def _batch_of(venue: str, headers: Headers, body_max_bytes: int) -> Batch | None:
    """A batch of a type that is taken here, its length told and within the bound, its key one; None for any other."""
    given = dict(headers)
    media_type = _MEDIA_TYPES.get(given.get(b"content-type", b"").lower())
    length = given.get(b"content-length", b"")
    odd = b"content-encoding" in given or b"transfer-encoding" in given  # chunks go beyond any length told
    plain = media_type is not None and not odd and length.isdigit() and len(given) == len(headers)
    if not plain or media_type is None or int(length) > body_max_bytes:
        return None
    key = given.get(b"idempotency-key")
    named = None if key is None else key.decode("latin-1")
    if named is not None and not is_key(named):
        return None
    return Batch(venue, media_type, named, given.get(b"authorization", b""))


def _limit(query: bytes) -> int | None:
    """The limit of a query that holds nothing else, 50 without one; None for any other query."""
    if not query:
        return 50
    name, _, value = query.partition(b"=")
    if name != b"limit" or not value.isdigit() or len(value) > 4 or not 1 <= int(value) <= _SLOTS_MAX:  # noqa: PLR2004  # digits of 1000
        return None
    return int(value)
