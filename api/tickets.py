"""Tickets: what a browser may put into an address in place of a key, once, within a minute.

EventSource cannot send headers, and a key never stands in a URL: whoever holds one asks for a ticket, which opens one
private live stream. Redis keeps its SHA-256 and gives it away once.
"""

from __future__ import annotations

import secrets

import msgspec

from api.grants import EVERYTHING, Grant
from api.service import Service
from racing.apikeys import digest_of

LIVES_S = 60
_SIZE_MAX = 64


class _Opens(msgspec.Struct, frozen=True):
    venue: str
    key: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Opens).decode


async def issue(service: Service, grant: Grant, venue: str) -> str:
    """A new ticket for a venue, with what this caller may see of it. Raises StoreError."""
    ticket = secrets.token_urlsafe(32)
    await service.desk.keep_ticket(digest_of(ticket), _encode(_Opens(venue, grant.id)), lives_s=LIVES_S)
    return ticket


async def redeem(service: Service, ticket: str, venue: str) -> Grant | None:
    """What the caller may see who brings this ticket; None unless it opens this venue now. Then it opens nothing more.

    It opens what its key does at this moment: nothing once that is revoked. Raises StoreError.
    """
    if not 1 <= len(ticket) <= _SIZE_MAX or not ticket.isascii():
        return None
    raw = await service.desk.take_ticket(digest_of(ticket))
    if raw is None:
        return None
    opens = _decode(raw)
    if opens.venue != venue:
        return None
    if service.settings.keys == "off":
        return EVERYTHING
    grant = service.grants_in_force().by_id(opens.key)
    return grant if grant is not None and grant.reaches(venue) else None
