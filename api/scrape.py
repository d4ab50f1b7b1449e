"""What /metrics shows of every venue beside what this process did itself: its books and its scorer, as of now."""

from __future__ import annotations

import asyncio

import structlog

from api.service import Service
from racing.errors import RacingError
from racing.metrics import METRICS
from racing.store.abreast import abreast
from racing.store.crew_view import VenueRun
from racing.store.flight import Books

log = structlog.get_logger("saima.scrape")

_WITHIN_S = 1.0
"""A scrape waits so long for Redis at most; then it shows what was known before."""


async def look(service: Service) -> None:
    """Set the gauges of every venue; those that cannot be read stay as they were, but for the age of the frames.

    The counts of a venue are of one moment: its events in the log are those of known fate and those in flight.
    """
    books: dict[str, Books] = {}
    runs: list[VenueRun] = []
    troubles: list[str] = []
    try:
        async with asyncio.timeout(_WITHIN_S):
            await asyncio.gather(_read_books(service, books, troubles), _read_runs(service, runs, troubles))
    except TimeoutError:
        troubles.append(f"Redis took longer than {_WITHIN_S} s")
    if troubles:
        log.warning("metrics of venues are not all of now", reason=troubles[0], troubles=len(troubles))
    for venue, book in books.items():
        _show(venue, book)
    for run in runs:
        METRICS.owner(run.venue, run.owner)
        METRICS.set("saima_scorer_conflicts", run.venue, run.conflicts)
        if run.commit_ms is not None:
            METRICS.set("saima_commit_ms", run.venue, run.commit_ms)
    for venue, view in service.frames.views.items():
        age_ms = view.age()
        if age_ms is not None:
            METRICS.set("saima_frame_age_ms", venue, age_ms)


async def _read_books(service: Service, books: dict[str, Books], troubles: list[str]) -> None:
    """Read the books of all venues, some at a time: with many venues one after the other would take too long."""

    async def one(venue: str) -> None:
        try:
            books[venue] = await service.desk.books(venue)
        except RacingError as exc:
            troubles.append(str(exc))

    await abreast(one, list(service.frames.views))


async def _read_runs(service: Service, runs: list[VenueRun], troubles: list[str]) -> None:
    try:
        runs += (await service.desk.crew(lease_ms=service.settings.lease_ms)).venues
    except RacingError as exc:
        troubles.append(str(exc))


def _show(venue: str, books: Books) -> None:
    METRICS.race_counts(venue, books.commit.counts)
    METRICS.set("saima_in_flight_events", venue, books.flight.events)
    METRICS.set("saima_log_events", venue, books.accepted)
    METRICS.set("saima_oldest_unfolded_ms", venue, books.oldest_age_ms)
    METRICS.set("saima_log_damaged", venue, books.commit.damaged)
