"""What keys grant, as one API process knows it: every key in memory by its SHA-256, looked at anew every second.

A key that is revoked stops working within a second or two of this process hearing from Redis. While Redis is away
keys work as they last were: nobody could revoke one then.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from contextlib import suppress
from typing import Final

import structlog

from api.errors import ProblemError
from api.quota import Bucket
from racing.apikeys import GRANTS, KEY_SIZE, KeyRecord, Need, digest_of, id_of
from racing.errors import StoreError, StoreUnavailableError
from racing.store.client import store_errors_async
from racing.store.keyring import decode_keys
from racing.store.keys import API_KEYS, API_KEYS_USED, API_KEYS_VERSION
from racing.store.protocol import AsyncClient

log = structlog.get_logger("saima.api")

EVERY_S: Final = 1.0
"""Between two looks at the version of the keys."""
_USED_EVERY_S: Final = 5.0
"""Between two times that last uses are written."""
_LOOK_S: Final = 0.05
_CACHE_MAX: Final = 10_000
_SCHEME: Final = b"bearer "
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="saima"'}
_CHALLENGE_WRONG = {"WWW-Authenticate": 'Bearer realm="saima", error="invalid_token"'}
_NOBODY = "0" * 64


class Grant:
    """What a caller may do: everything within needs and its scope, as often as its bucket lets it."""

    __slots__ = ("bucket", "id", "merchant", "name", "needs", "origins", "venues")

    def __init__(
        self,
        name: str,
        needs: frozenset[Need],
        bucket: Bucket,
        record: KeyRecord | None = None,
    ) -> None:
        self.name = name
        self.needs = needs
        self.bucket = bucket
        self.id = record.id if record else ""
        self.venues = frozenset(record.venues) if record else frozenset[str]()
        self.merchant = record.merchant if record else None
        self.origins = frozenset(record.origins) if record else frozenset[str]()

    def reaches(self, venue: str) -> bool:
        """Whether a venue is within the scope."""
        return not self.venues or venue in self.venues

    def owns(self, merchant: str) -> bool:
        """Whether products of a merchant are for this caller."""
        return self.merchant is None or merchant == self.merchant

    def takes_batch(self, venue: str) -> bool:
        """Whether a batch for a venue may be taken with no further look, within the quota; then it is counted."""
        return (
            "events:write" in self.needs
            and (not self.venues or venue in self.venues)
            and self.bucket.take(time.monotonic())
        )

    def sees_details(self, venue: str) -> bool:
        """Whether scores, signals and counts of a venue are for this caller, even where they are not public."""
        return "operate" in self.needs and self.reaches(venue)


_NO_QUOTA = Bucket(0)
EVERYTHING = Grant("anonymous", GRANTS["admin"], _NO_QUOTA)
"""What everyone has while no keys are in force."""
NOTHING = Grant("anonymous", frozenset(), _NO_QUOTA)
"""What a caller without a key has: what is public, and no more."""


def needs_key(detail: str = "this needs a key: send Authorization: Bearer <key>") -> ProblemError:
    """The refusal of a caller without a key."""
    return ProblemError("unauthorized", detail, headers=_CHALLENGE)


def wrong_key(detail: str = "this key does not work: it is unknown, revoked or expired") -> ProblemError:
    """The one refusal of a key that does not work, whether it is unknown, revoked, expired or no key at all."""
    return ProblemError("unauthorized", detail, headers=_CHALLENGE_WRONG)


class Grants:
    """The keys of the deployment as this process knows them, kept fresh by one task."""

    def __init__(self, client: AsyncClient, requests_per_s: int) -> None:
        self._client = client
        self._requests_per_s = requests_per_s
        self._records: dict[str, KeyRecord] = {}
        self._version: bytes | None = None
        self._read = False
        self._buckets: dict[str, Bucket] = {}
        self._used: dict[str, int] = {}
        self._used_written_s = 0.0
        self._looked_s = 0.0
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.origins: frozenset[str] = frozenset()
        """Origins of all keys that work."""
        self.known: dict[bytes, Grant] = {}
        """Authorization header -> grant, of the last second: what the fast path looks at. Only of keys that work.

        (A dict finds bytes by a keyed hash of all of them: how long it takes tells nothing about a key.)
        """

    async def start(self) -> None:
        """Read the keys, and begin to follow; an absent Redis is tried again."""
        with suppress(StoreError):
            await self.refresh()
        self._task = asyncio.create_task(self._follow(), name="keys")

    async def stop(self) -> None:
        """End the task; last uses are written once more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(StoreError):
            await self._write_used()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.refresh()
                if time.monotonic() - self._used_written_s > _USED_EVERY_S:
                    await self._write_used()
            except StoreError:
                pass  # frames tell of an absent Redis
            except Exception:
                log.exception("unexpected error while following keys")

    async def refresh(self) -> None:
        """Read all keys if one has changed. Raises StoreError."""
        self.known = {}  # also the moment at which expired keys are found out
        self._looked_s = time.monotonic()
        async with store_errors_async():
            version = await self._client.get(API_KEYS_VERSION)
            if self._read and version == self._version:
                return
            records = decode_keys(await self._client.hgetall(API_KEYS))
        self._version, self._read, self._records = version, True, records
        self._buckets = {
            record.id: self._buckets.get(record.id) or Bucket(self._quota(record)) for record in records.values()
        }
        now_ms = _now_ms()
        self.origins = frozenset(
            origin for record in records.values() if record.state(now_ms) == "active" for origin in record.origins
        )
        self.known = {}

    def _quota(self, record: KeyRecord) -> int:
        return self._requests_per_s if record.requests_per_s is None else record.requests_per_s

    async def find(self, header: bytes) -> Grant:
        """As resolve, but keys are read anew before one is refused: one that was just made works at once.

        That happens at most twenty times a second, for all who wait together, and for a key that has ended as for one
        that is unknown.
        """
        with suppress(ProblemError):
            return self.resolve(header)
        came_s = time.monotonic()
        async with self._looking:
            if self._looked_s < came_s:
                await asyncio.sleep(self._looked_s + _LOOK_S - came_s)
                await self.refresh()
        return self.resolve(header)

    def resolve(self, header: bytes) -> Grant:
        """What the key of an Authorization header grants. Raises ProblemError (401), StoreUnavailableError.

        A key that is unknown takes the same steps as one that has ended.
        """
        known = self.known.get(header)
        if known is not None:
            return known
        if not self._read:
            raise StoreUnavailableError("Redis is away: nobody can tell whether this key works")
        key = _key_of(header)
        digest = digest_of(key)
        record = self._records.get(digest)
        same = hmac.compare_digest(digest, digest if record is not None else _NOBODY)
        now_ms = _now_ms()
        if record is None or not same or record.state(now_ms) != "active":
            raise wrong_key()
        grant = Grant(record.name, GRANTS[record.role], self._buckets[record.id], record)
        self._used[record.id] = now_ms
        if len(self.known) < _CACHE_MAX:
            self.known[header] = grant
        return grant

    def by_id(self, wanted: str) -> Grant | None:
        """What the key of this id grants now; None where it does not work."""
        now_ms = _now_ms()
        for record in self._records.values():
            if record.id == wanted and record.state(now_ms) == "active":
                return Grant(record.name, GRANTS[record.role], self._buckets[record.id], record)
        return None

    async def _write_used(self) -> None:
        self._used_written_s = time.monotonic()
        used, self._used = self._used, {}
        if used:
            async with store_errors_async():
                pairs = [part for pair in used.items() for part in pair]
                await self._client.execute_command("HSET", API_KEYS_USED, *pairs)


def _key_of(header: bytes) -> str:
    """The key in an Authorization header. Raises ProblemError for one that holds no key of ours."""
    key = header[len(_SCHEME) :].strip()
    if header[: len(_SCHEME)].lower() != _SCHEME or len(key) != KEY_SIZE or not key.isascii():
        raise wrong_key()
    text = key.decode()
    if id_of(text) is None:
        raise wrong_key()
    return text


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
