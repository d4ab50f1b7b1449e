"""What the API does with a deployment: its venues, their runners and rules, and appends of events. Asynchronous.

Every method, of the parts too, raises StoreUnavailableError when Redis does not answer in time: then nothing is
known about the write, and repeating it is safe where the method says so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from racing.errors import CorruptRecordError, IdempotencyMismatchError, RacingError, StaleNumbersError
from racing.settings import Settings
from racing.store.answers import parts_of
from racing.store.client import as_text, store_errors_async
from racing.store.commands import Commands
from racing.store.crew_view import CrewView, read_crew
from racing.store.durability import Durability, best_of, detect_async
from racing.store.flight import Books, read_books
from racing.store.keys import SECRET, VenueKeys, ticket
from racing.store.line import Asking, Command
from racing.store.numbers import UNMARKED, Mark
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient
from racing.store.rules import Rules
from racing.store.runners import Runners
from racing.store.scripts import bare, source
from racing.store.standings import Standings
from racing.store.venues import Venues
from racing.store.watched import Watching


@dataclass(frozen=True, slots=True)
class Appended:
    """The log entry of a batch and the answer that belongs to it; repeated when the key was known."""

    entry: str
    answer: bytes
    repeated: bool


@dataclass(frozen=True, slots=True)
class KeyedBatch:
    """A packed batch under an Idempotency-Key: the key's name in Redis, the body's digest, the answer to keep."""

    packed: bytes
    key: str
    digest: str
    answer: bytes


class Desk(Commands):
    """The asynchronous side of the store, one per API process: its parts, and appends of events."""

    def __init__(
        self, client: AsyncClient, line: Asking | None = None, *, looks: Asking | None = None, safe: bool = False
    ) -> None:
        """As Commands has it."""
        super().__init__(client, line, looks=looks, safe=safe)
        self.rules = Rules(self)
        self.venues = Venues(self, self.rules)
        self.runners = Runners(self)
        self.standings = Standings(self)
        self.watched = Watching(self)

    async def secret(self) -> bytes:
        """The deployment's secret for hashes of user ids, made on first use. Safe to repeat."""
        async with store_errors_async():
            known = await self._client.get(SECRET)
            if not known:  # a server that is full can still be asked for one that is there
                await self._client.set(SECRET, secrets.token_bytes(32), nx=True)
                known = await self._client.get(SECRET)
            return known or b""

    async def keep_ticket(self, digest: str, opens: bytes, *, lives_s: int) -> None:
        """Keep what a ticket opens for so many seconds."""
        await self.ask("SET", ticket(digest), opens, "EX", lives_s)

    async def take_ticket(self, digest: str) -> bytes | None:
        """What a ticket opens, which is gone with that; None where there is none. A lost reply loses the ticket."""
        opens: bytes | None = await self.ask("GETDEL", ticket(digest))
        return opens

    async def append_all(
        self, venue: str, batches: Sequence[bytes | KeyedBatch], mark: Mark = UNMARKED
    ) -> list[Appended | RacingError]:
        """Append event batches in one round trip, in order; those with a key unless it was used before.

        mark: the table of enrolments that all their runner numbers are of. In place of an answer a key that came with
        another body has its IdempotencyMismatchError, a batch whose numbers are of a table that is gone its
        StaleNumbersError, one that was refused by the server its StoreError. After StoreUnavailableError batches with
        a key are safe to repeat, those without may have been counted.
        """
        keys = VenueKeys(venue)
        replies = await self._line.ask([_append_command(keys, batch, mark) for batch in batches])
        return [_appended(batch, reply) for batch, reply in zip(batches, replies, strict=True)]

    async def answered(self, venue: str, *, key: str, digest: str) -> Appended | None:
        """What was answered to this key before; None where it is new. Safe to repeat.

        Raises IdempotencyMismatchError when the key came with another body.
        """
        keys = VenueKeys(venue)
        known = await self.ask("EVAL", source("recall_answer"), 2, keys.answers, keys.answers_before, key)
        return None if known is None else _repeated(known, digest)

    async def durability(self, settings: Settings) -> Durability:
        """What an acknowledgement promises now, as the server is set up; on a cluster by the best of its nodes.

        What is in force is asked for with each write: a node that lacks it makes only its own venues wait.
        """
        if not isinstance(self._client, RoutedClient):
            return await detect_async(self._client, settings)
        nodes = await self._client.nodes()
        asked = (detect_async(client, settings) for client in nodes.values())
        return best_of(dict(zip(nodes, await asyncio.gather(*asked, return_exceptions=True), strict=True)))

    async def books(self, venue: str) -> Books:
        """A venue's last commit and what is in flight after it. Raises StoreError, CorruptRecordError."""
        return await read_books(self._client, venue)

    async def crew(self, *, lease_ms: int) -> CrewView:
        """The scorers and who runs each venue. Raises StoreUnavailableError."""
        return await read_crew(self._client, lease_ms=lease_ms)


def _append_command(keys: VenueKeys, batch: bytes | KeyedBatch, mark: Mark) -> Command:
    if isinstance(batch, KeyedBatch):
        named = (keys.log, keys.tail, keys.answers, keys.answers_before, keys.roll)
        args = (batch.packed, batch.key, batch.digest, batch.answer)
        return ("EVAL", bare(source("append_events")), len(named), *named, *args, *mark)
    return ("EVAL", bare(source("append_batch")), 3, keys.log, keys.tail, keys.roll, batch, *mark)


def _appended(batch: bytes | KeyedBatch, reply: Any) -> Appended | RacingError:
    if isinstance(reply, RacingError):
        return reply
    if reply in (0, [2]):
        return StaleNumbersError("the runner numbers of this batch are of enrolments that are gone")
    if isinstance(batch, bytes):
        return Appended(as_text(reply), b"", repeated=False)
    if reply[0] == 1:
        return Appended(as_text(reply[1]), batch.answer, repeated=False)
    try:
        return _repeated(reply[1], batch.digest)
    except (IdempotencyMismatchError, CorruptRecordError) as exc:
        return exc


def _repeated(known: bytes, digest: str) -> Appended:
    stored, entry, answer = parts_of(bytes(known))
    if stored != digest:
        raise IdempotencyMismatchError("this Idempotency-Key was used with another body: use a new key for a new body")
    return Appended(entry, answer, repeated=True)
