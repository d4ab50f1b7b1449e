"""API keys: how they look, what each role grants, and what is kept of one: its SHA-256, never itself."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Literal, get_args

import msgspec

from racing.errors import RacingError

Role = Literal[
    "events:write",
    "stock:write",
    "beacon",
    "slots:read",
    "metrics:read",
    "merchant",
    "operator",
    "admin",
]
Need = Literal[
    "slots:read",
    "events:write",
    "beacons:write",
    "stock:write",
    "runners:read",
    "apply",
    "live:read",
    "operate",
    "metrics:read",
    "admin",
]
"""What a route asks of a key."""

_OPERATOR: frozenset[Need] = frozenset({"slots:read", "live:read", "stock:write", "runners:read", "apply", "operate"})
GRANTS: dict[Role, frozenset[Need]] = {
    "events:write": frozenset({"events:write"}),
    "stock:write": frozenset({"stock:write"}),
    "beacon": frozenset({"beacons:write"}),
    "slots:read": frozenset({"slots:read", "live:read"}),
    "metrics:read": frozenset({"metrics:read"}),
    "merchant": frozenset({"slots:read", "live:read", "stock:write", "runners:read", "apply"}),
    "operator": _OPERATOR,
    "admin": frozenset(get_args(Need)),
}
"""role -> what it may do, within its scope; nothing else."""

PREFIX = "saima"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_SIZE, _SECRET_SIZE, _CHECK_SIZE = 8, 43, 6
"""43 letters of 62 hold 256 bits."""
_FORM = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{{_ID_SIZE}}})_[0-9A-Za-z]{{{_SECRET_SIZE + _CHECK_SIZE}}}", re.ASCII)
KEY_SIZE = len(PREFIX) + 1 + _ID_SIZE + 1 + _SECRET_SIZE + _CHECK_SIZE


class KeyRefusedError(RacingError):
    """A key that cannot be made as asked: the text says what would be right."""


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a key. venues: the ones it reaches, all where empty; origins: web pages that may use it."""

    id: str
    name: str
    role: Role
    created_ms: int
    venues: tuple[str, ...] = ()
    merchant: str | None = None
    origins: tuple[str, ...] = ()
    requests_per_s: int | None = None
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def state(self, now_ms: int) -> Literal["active", "revoked", "expired"]:
        """Whether it works at this moment."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "active"


# -- how a key looks -----------------------------------------------------------------------------------------


def _base62(number: int, size: int) -> str:
    letters = []
    for _ in range(size):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECK_SIZE)


def mint() -> str:
    """A new key: visible prefix and id, 256 random bits, and a checksum by which leak scanners know it."""
    made = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_SIZE))
    body = f"{PREFIX}_{made}_{_base62(secrets.randbits(256), _SECRET_SIZE)}"
    return body + _check(body)


def id_of(key: str) -> str | None:
    """The public part of a key; None for a text that is no key of ours."""
    found = _FORM.fullmatch(key)
    if found is None or _check(key[:-_CHECK_SIZE]) != key[-_CHECK_SIZE:]:
        return None
    return found.group(1)


def digest_of(key: str) -> str:
    """What is kept of a key: its SHA-256, hex. 256 random bits need no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


# -- what it may be for ----------------------------------------------------------------------------------------------


def check_scope(record: KeyRecord) -> None:
    """Raise KeyRefusedError unless the scope is one that the role can have."""
    role = record.role
    wrong = ""
    if role not in GRANTS:
        wrong = f"role: must be one of {', '.join(GRANTS)}, not {role!r}"
    elif (role == "merchant") != (record.merchant is not None):
        wrong = f"merchant: a key of role {role} {'needs one' if role == 'merchant' else 'has none'}"
    elif (role == "beacon") != bool(record.origins):
        wrong = f"origin: a key of role {role} {'needs one at least' if role == 'beacon' else 'has none'}"
    elif role in {"operator", "beacon"} and not record.venues:
        wrong = f"venue: a key of role {role} needs one at least"
    elif role in {"admin", "metrics:read"} and record.venues:
        wrong = f"venue: a key of role {role} is for the whole deployment"
    for origin in record.origins:
        if not re.fullmatch(r"https?://[^/\s*]+", origin):
            wrong = f"origin: must be like https://shop.example, not {origin!r}"
    if wrong:
        raise KeyRefusedError(wrong)
