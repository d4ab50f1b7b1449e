"""Who runs what, for operators: the scorers, and each venue with its owner and how well it does.

Owner and data come from each venue's own lease and commit record, the rest from the scorers' reports; so a venue shows
its true owner also when that one reports nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from racing.errors import CorruptRecordError
from racing.store.client import as_text, store_errors_async
from racing.store.commit import NO_COMMIT, CommitRecord, decode_commit
from racing.store.crew import ScorerReport, VenueReport, decode_reports
from racing.store.keys import SCORERS, VENUES, VenueKeys
from racing.store.protocol import AsyncClient

ScorerState = Literal["live", "silent"]
VenueState = Literal["racing", "restoring", "waiting"]
"""waiting: nobody holds its lease."""


@dataclass(frozen=True, slots=True)
class ScorerView:
    """One scorer process. silent: not heard of for a lease; its venues go to the others."""

    name: str
    host: str
    pid: int
    state: ScorerState
    up_s: int
    heard_ms: int
    venues: int


@dataclass(frozen=True, slots=True)
class VenueRun:
    """One venue, who runs it, and how. None: not known, or never yet.

    lag_ms: age of the data of the last commit when that was written. commit_ms: how long that took. frame_age_ms: age
    of the data that readers get. last_error: the newest that any scorer met in it.
    """

    venue: str
    owner: str | None
    state: VenueState
    epoch: int | None
    frame: int
    lag_ms: int | None
    commit_ms: int | None
    frame_age_ms: int | None
    last_error: str | None
    last_error_age_ms: int | None


@dataclass(frozen=True, slots=True)
class CrewView:
    """All scorers by name and all venues by name, at one moment."""

    scorers: list[ScorerView]
    venues: list[VenueRun]


async def read_crew(client: AsyncClient, *, lease_ms: int) -> CrewView:
    """The view. Raises StoreUnavailableError. Cost: a round trip for each venue, which may be on another node."""
    async with store_errors_async():
        clock = client.pipeline(transaction=False)
        clock.time()
        ((seconds, micros),) = await clock.execute()
        raws = await client.hvals(SCORERS)
        names = sorted(as_text(name) for name in await client.hkeys(VENUES))
        held = [
            await asyncio.gather(client.get(VenueKeys(name).lease), client.get(VenueKeys(name).commit))
            for name in names
        ]
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return _view(now_ms, lease_ms, decode_reports(raws), zip(names, held, strict=True))


def _view(
    now_ms: int,
    lease_ms: int,
    reports: Sequence[ScorerReport],
    venues: Iterable[tuple[str, Sequence[bytes | None]]],
) -> CrewView:
    runs = []
    for venue, (lease, raw) in venues:
        owner = as_text(lease) if lease else None
        runs.append(_run(venue, owner, _record(raw), reports, now_ms))
    return CrewView([_scorer(report, runs, now_ms, lease_ms) for report in reports], runs)


def _record(raw: bytes | None) -> CommitRecord:
    """The commit record; none for a damaged one, of which the owner tells by its last error."""
    try:
        return decode_commit(raw) if raw else NO_COMMIT
    except CorruptRecordError:
        return NO_COMMIT


def _scorer(report: ScorerReport, runs: Sequence[VenueRun], now_ms: int, lease_ms: int) -> ScorerView:
    return ScorerView(
        name=report.name,
        host=report.host,
        pid=report.pid,
        state="live" if report.lives(now_ms, lease_ms) else "silent",
        up_s=max(0, report.at_ms - report.started_ms) // 1000,
        heard_ms=max(0, now_ms - report.at_ms),
        venues=sum(run.owner == report.name for run in runs),
    )


def _run(venue: str, owner: str | None, record: CommitRecord, reports: Sequence[ScorerReport], now_ms: int) -> VenueRun:
    told: VenueReport | None = next((each.venues.get(venue) for each in reports if each.name == owner), None)
    troubles = [each.troubles[venue] for each in reports if venue in each.troubles]
    newest = max(troubles, key=lambda trouble: trouble.at_ms, default=None)
    raced = told is not None and told.commits > 0
    state: VenueState = "waiting" if owner is None else "racing"
    return VenueRun(
        venue=venue,
        owner=owner,
        state="restoring" if told is not None and told.state == "restoring" else state,
        epoch=record.epoch or None,
        frame=record.frame,
        lag_ms=told.lag_ms if told is not None and raced else None,
        commit_ms=told.commit_ms if told is not None and raced else None,
        frame_age_ms=max(0, now_ms - record.as_of_ms) if record.as_of_ms else None,
        last_error=newest.text if newest else None,
        last_error_age_ms=max(0, now_ms - newest.at_ms) if newest else None,
    )
