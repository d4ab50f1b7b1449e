"""Events in flight: in the log, and after the last commit. With them a venue's books balance at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from racing.entries import Entry
from racing.events import EventBatch
from racing.intake import FATES
from racing.store.client import store_errors_async
from racing.store.commit import NO_COMMIT, CommitRecord, decode_commit
from racing.store.keys import VenueKeys
from racing.store.log import READ_MAX, entry_of
from racing.store.protocol import AsyncClient
from racing.store.routed import client_at


@dataclass(frozen=True, slots=True)
class Flight:
    """What the log holds after a commit: its events, at most those of READ_MAX entries, and its oldest moment.

    oldest_ms: None where nothing is in flight.
    """

    events: int = 0
    oldest_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """A commit, what was in flight after it, and the server's clock, ms."""

    commit: CommitRecord
    flight: Flight
    now_ms: int

    @property
    def accepted(self) -> int:
        """Events in the log since the race began: those of known fate, and those in flight."""
        return self.commit.counts.get("accepted", settled(self.commit)) + self.flight.events

    @property
    def oldest_age_ms(self) -> int:
        """Age of the oldest entry that is not folded yet; 0 where there is none."""
        return 0 if self.flight.oldest_ms is None else max(0, self.now_ms - self.flight.oldest_ms)


def settled(commit: CommitRecord) -> int:
    """Events of which a commit knows what became of them."""
    return sum(commit.counts.get(name, 0) for name in FATES)


def flight_of(entries: Sequence[Entry]) -> Flight:
    """What these entries, the first after a commit, amount to; damaged ones count as empty."""
    events = sum(len(entry.body) for entry in entries if isinstance(entry.body, EventBatch))
    return Flight(events, entries[0].position.ms if entries else None)


async def read_books(client: AsyncClient, venue: str) -> Books:
    """The books of a venue now. Raises StoreError, CorruptRecordError. Cost: one read of what is in flight."""
    keys = VenueKeys(venue)
    async with store_errors_async():
        raw = await client.get(keys.commit)
        commit = decode_commit(raw) if raw else NO_COMMIT
        raws = await client.xrange(keys.log, min=f"({commit.position}", count=READ_MAX)
        clock = client_at(client, keys.log).pipeline(transaction=False)
        clock.time()
        ((seconds, micros),) = await clock.execute()
    return Books(commit, flight_of([entry_of(raw) for raw in raws]), int(seconds) * 1000 + int(micros) // 1000)
