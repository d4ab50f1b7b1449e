"""What /metrics shows of every venue beside what this process did itself: its books and its scorer, as of now."""

from __future__ import annotations

import asyncio

import structlog

from api.service import Service
from racing.errors import RacingError
from racing.metrics import METRICS
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
    try:
        async with asyncio.timeout(_WITHIN_S):
            for venue in list(service.frames.views):
                books[venue] = await service.desk.books(venue)
            runs = (await service.desk.crew(lease_ms=service.settings.lease_ms)).venues
    except (RacingError, TimeoutError) as exc:
        log.warning("metrics of venues are not all of now", reason=str(exc) or "Redis took too long")
    for venue, book in books.items():
        _show(venue, book)
    for run in runs:
        METRICS.owner(run.venue, run.owner)
        METRICS.set("saima_conflicts", run.venue, run.conflicts)
        if run.commit_ms is not None:
            METRICS.set("saima_commit_ms", run.venue, run.commit_ms)
    for venue, view in service.frames.views.items():
        age_ms = view.age()
        if age_ms is not None:
            METRICS.set("saima_frame_age_ms", venue, age_ms)


def _show(venue: str, books: Books) -> None:
    METRICS.race_counts(venue, books.commit.counts)
    METRICS.set("saima_in_flight_events", venue, books.flight.events)
    METRICS.set("saima_log_events", venue, books.accepted)
    METRICS.set("saima_oldest_unfolded_ms", venue, books.oldest_age_ms)
    METRICS.set("saima_log_damaged", venue, books.commit.damaged)
