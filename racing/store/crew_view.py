"""Who runs what, for operators: the scorers, and each venue with its owner and how well it does.

Owner and data come from each venue's own lease and commit record, the rest from the scorers' reports; so a venue shows
its true owner also when that one reports nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from racing.errors import CorruptRecordError, StoreError
from racing.store.abreast import abreast
from racing.store.client import as_text, store_errors_async
from racing.store.commit import NO_COMMIT, CommitRecord, decode_commit
from racing.store.crew import ScorerReport, Trouble, VenueReport, decode_reports
from racing.store.keys import SCORERS, VENUES, VenueKeys
from racing.store.protocol import AsyncClient

ScorerState = Literal["live", "silent"]
VenueState = Literal["racing", "restoring", "waiting", "unknown"]
"""waiting: nobody holds its lease. unknown: the node that holds its keys does not answer."""


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
    of the data that readers get. conflicts: how often scorers that are known found that another had committed.
    last_error: the newest that any scorer met in it.
    """

    venue: str
    owner: str | None
    state: VenueState
    epoch: int | None
    frame: int
    lag_ms: int | None
    commit_ms: int | None
    frame_age_ms: int | None
    conflicts: int
    last_error: str | None
    last_error_age_ms: int | None


@dataclass(frozen=True, slots=True)
class CrewView:
    """All scorers by name and all venues by name, at one moment."""

    scorers: list[ScorerView]
    venues: list[VenueRun]


async def read_crew(client: AsyncClient, *, lease_ms: int) -> CrewView:
    """The view. Raises StoreUnavailableError where the deployment-wide keys cannot be read.

    A venue whose node does not answer is shown as unknown, the others as they are. Cost: two reads for each venue.
    """
    async with store_errors_async():
        clock = client.pipeline(transaction=False)
        clock.time()
        ((seconds, micros),) = await clock.execute()
        raws = await client.hvals(SCORERS)
        names = sorted(as_text(name) for name in await client.hkeys(VENUES))
    held = await abreast(lambda name: _held(client, name), names)
    now_ms, reports = int(seconds) * 1000 + int(micros) // 1000, decode_reports(raws)
    runs = [_run(name, found, reports, now_ms) for name, found in zip(names, held, strict=True)]
    return CrewView([_scorer(report, runs, now_ms, lease_ms) for report in reports], runs)


@dataclass(frozen=True, slots=True)
class _Held:
    """What a venue's own keys say: who holds its lease, and its last commit. away: why they cannot be read."""

    owner: str | None = None
    record: CommitRecord = NO_COMMIT
    away: str | None = None


async def _held(client: AsyncClient, venue: str) -> _Held:
    keys = VenueKeys(venue)
    try:
        async with store_errors_async():
            lease, raw = await client.get(keys.lease), await client.get(keys.commit)
    except StoreError as exc:
        return _Held(away=str(exc))
    return _Held(as_text(lease) if lease else None, _record(raw))


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


def _run(venue: str, held: _Held, reports: Sequence[ScorerReport], now_ms: int) -> VenueRun:
    """One venue as its lease, its commit record and the scorers' own reports tell of it."""
    record = held.record
    told: VenueReport | None = next((each.venues.get(venue) for each in reports if each.name == held.owner), None)
    troubles = [each.troubles[venue] for each in reports if venue in each.troubles]
    if held.away is not None:
        troubles.append(Trouble(held.away, now_ms))
    newest = max(troubles, key=lambda trouble: trouble.at_ms, default=None)
    raced = told is not None and told.commits > 0
    return VenueRun(
        venue=venue,
        owner=held.owner,
        state=_state(held, told),
        epoch=record.epoch or None,
        frame=record.frame,
        lag_ms=told.lag_ms if told is not None and raced else None,
        commit_ms=told.commit_ms if told is not None and raced else None,
        frame_age_ms=max(0, now_ms - record.as_of_ms) if record.as_of_ms else None,
        conflicts=sum(each.conflicts.get(venue, 0) for each in reports),
        last_error=newest.text if newest else None,
        last_error_age_ms=max(0, now_ms - newest.at_ms) if newest else None,
    )


def _state(held: _Held, told: VenueReport | None) -> VenueState:
    if held.away is not None:
        return "unknown"
    if held.owner is None:
        return "waiting"
    return "restoring" if told is not None and told.state == "restoring" else "racing"
