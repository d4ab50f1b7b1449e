"""One scorer process among any number: it runs its share of the deployment's venues, each in a thread of its own.

Each process reports what it runs, reads what the others report, and computes by itself who should run what. It asks
for the leases of its own share, and gives up the lease of a venue above its share once the one who should run it
waits for it: so a hand-over stops no race for longer than a restore.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence

import structlog
from msgspec import structs

from racing.errors import StoreError
from racing.metrics import METRICS
from racing.owner import VenueThread
from racing.settings import Settings
from racing.shares import shares
from racing.store import reads
from racing.store.client import connect, server_ms, store_errors
from racing.store.crew import (
    FORGET_MS,
    ScorerReport,
    Trouble,
    VenueReport,
    forget_report,
    owners,
    read_reports,
    write_report,
)
from racing.store.protocol import SyncClient

log = structlog.get_logger("saima.crew")

_LOOK_S = 0.25
"""A scorer looks at venues and reports so often; with a short lease six times in it."""
_REPORT_EVERY_MS = 500
"""A report is written so often (with a short lease three times in it), and at once when a venue changes its state."""
_SUSPECT = 2 / 3
"""Who was silent for so much of a lease is taken for dead: the others ask for its leases by the time they run out.

If it lives, they ask in vain for a moment: the lease is still its own.
"""
_HANDED_AT_ONCE = 2
"""Venues given up at a time: those who take over restore, and many restores at once would wait for each other."""
_STOP_S = 4.0
"""A process that was asked to end is gone within 5 s, its venues' present commits done."""


def own_name() -> str:
    """A name that no other process has, also in another container on a host of the same name."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Scorer:
    """One process's share of the venues. New venues, and those of a scorer that died, are found by themselves."""

    def __init__(self, url: str, name: str, settings: Settings) -> None:
        self._url = url
        self._name = name
        self._settings = settings
        self._look_s = min(_LOOK_S, settings.lease_ms / 6000)
        self._report_every_ms = min(_REPORT_EVERY_MS, settings.lease_ms // 3)
        self._threads: dict[str, VenueThread] = {}
        self._troubles: dict[str, Trouble] = {}
        self._conflicts: dict[str, int] = {}
        self._started_ms = self._reported_ms = 0
        self._reported: Mapping[str, tuple[str, int]] = {}

    def run(self, halt: threading.Event) -> None:
        """Run until halt is set; then give up every venue after its present commit."""
        client = connect(self._url)
        while not halt.is_set():
            try:
                self._look(client)
            except StoreError as exc:
                log.warning("cannot look at venues and scorers, going on as before", reason=str(exc))
            except Exception:
                log.exception("unexpected error while looking at venues and scorers, going on as before")
            halt.wait(self._look_s)
        self._leave(client)
        client.close()

    def _look(self, client: SyncClient) -> None:
        """Report, see what the others report, start what is ours, give up what is not."""
        with store_errors():
            now_ms = server_ms(client)
        venues = reads.venues(client)
        self._bury()
        self._tell(client, now_ms)
        live = self._live(client, now_ms)
        wanted = shares(venues, [report.name for report in live], owners(live))
        for venue, name in wanted.items():
            if name == self._name and venue not in self._threads:
                self._threads[venue] = VenueThread(self._url, venue, self._name, self._settings)
                self._threads[venue].start()
        self._give_up(wanted, live)

    def _live(self, client: SyncClient, now_ms: int) -> list[ScorerReport]:
        """The reports of scorers that seem to live; those of the long dead are deleted."""
        reports = read_reports(client)
        gone = [report.name for report in reports if now_ms - report.at_ms > FORGET_MS]
        if gone:
            forget_report(client, *gone)
        silence_ms = int(_SUSPECT * self._settings.lease_ms)
        return [report for report in reports if report.lives(now_ms, silence_ms)]

    def _give_up(self, wanted: Mapping[str, str], live: Sequence[ScorerReport]) -> None:
        """Stop what is not ours: at once where we do not race or nobody should, else when its next owner waits."""
        waiting = {(venue, each.name) for each in live for venue, run in each.venues.items() if run.state == "waiting"}
        handed = sum(thread.stopping for thread in self._threads.values())
        for venue, thread in self._threads.items():
            name = wanted.get(venue)
            if name == self._name or thread.stopping:
                continue
            if name is None or not thread.holds():
                thread.stop()
            elif (venue, name) in waiting and handed < _HANDED_AT_ONCE:
                log.info("handing a venue over", venue=venue, to=name)
                thread.stop()
                handed += 1

    def _bury(self) -> None:
        """Take leave of threads that have ended; what troubled them is still told."""
        for venue, thread in list(self._threads.items()):
            if thread.trouble is not None:
                self._troubles[venue] = thread.trouble
            if not thread.is_alive():
                self._conflicts[venue] = self._conflicts.get(venue, 0) + thread.conflicts
                del self._threads[venue]
                METRICS.forget(venue)

    def _tell(self, client: SyncClient, now_ms: int) -> None:
        """Write our report if it is time, or if a venue stands otherwise than in the last one."""
        states = {venue: _as_held(thread) for venue, thread in self._threads.items()}
        venues = {venue: run for venue, run in states.items() if not _vain(self._threads[venue], run)}
        shown = {venue: (run.state, run.epoch) for venue, run in venues.items()}
        if shown == self._reported and 0 <= now_ms - self._reported_ms < self._report_every_ms:
            return
        self._started_ms = self._started_ms or now_ms
        report = ScorerReport(
            name=self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ms=self._started_ms,
            at_ms=now_ms,
            venues=venues,
            troubles=self._troubles,
            conflicts=self._all_conflicts(),
        )
        write_report(client, report)
        self._reported, self._reported_ms = shown, now_ms

    def _all_conflicts(self) -> dict[str, int]:
        """By venue, also those of threads that have ended."""
        now = {venue: thread.conflicts for venue, thread in self._threads.items()}
        both = {venue: self._conflicts.get(venue, 0) + now.get(venue, 0) for venue in self._conflicts.keys() | now}
        return {venue: number for venue, number in both.items() if number}

    def _leave(self, client: SyncClient) -> None:
        """End every venue, its lease given up, within _STOP_S; the others hear of it first, and wait for the leases."""
        with contextlib.suppress(StoreError):  # then they hear of it by our silence
            forget_report(client, self._name)
        for thread in self._threads.values():
            thread.stop()
        until_s = time.monotonic() + _STOP_S
        for thread in self._threads.values():
            thread.join(max(0.0, until_s - time.monotonic()))


def _as_held(thread: VenueThread) -> VenueReport:
    """How a venue stands, as others may rely on it: held only while the lease is held for certain."""
    return structs.replace(thread.report, state=thread.report.state if thread.holds() else "waiting")


def _vain(thread: VenueThread, run: VenueReport) -> bool:
    """Whether a thread neither holds its venue nor asks for it any more."""
    return thread.stopping and run.state == "waiting"
