"""What scorers tell of themselves: each writes one report of its own, and all read all of them.

Reports decide who should run which venue and feed the operators' view. They are no safety: a venue's one writer is
kept by lease and epoch, whatever stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from racing.store.client import store_errors
from racing.store.keys import SCORERS
from racing.store.protocol import SyncClient

FORGET_MS = 600_000
"""Reports of scorers that were silent so long are deleted: until then operators see who has gone, and its errors."""

State = Literal["waiting", "restoring", "racing"]


class Trouble(msgspec.Struct, frozen=True):
    """The last error that a scorer met in a venue, and when (server's clock, ms)."""

    text: str
    at_ms: int


class VenueReport(msgspec.Struct):
    """One venue in one scorer. waiting: it asks for the lease; otherwise it holds it.

    lag_ms: age of the data of its last commit when that was written. commit_ms: how long that took: read, fold, write.
    """

    state: State = "waiting"
    epoch: int = 0
    commits: int = 0
    lag_ms: int = 0
    commit_ms: int = 0


class ScorerReport(msgspec.Struct, frozen=True):
    """One scorer process as it was at at_ms (server's clock). troubles: by venue, also of venues given up since.

    conflicts: how often it found that another had committed, by venue, likewise.
    """

    name: str
    host: str
    pid: int
    started_ms: int
    at_ms: int
    venues: dict[str, VenueReport] = {}
    troubles: dict[str, Trouble] = {}
    conflicts: dict[str, int] = {}

    def lives(self, now_ms: int, silence_ms: int) -> bool:
        """Whether it was silent for less than that; a moment far ahead is from a clock that was set back."""
        return abs(now_ms - self.at_ms) < silence_ms


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ScorerReport).decode


def write_report(client: SyncClient, report: ScorerReport) -> None:
    """Replace a scorer's report. Harmless when it happens twice."""
    with store_errors():
        client.hset(SCORERS, report.name, _encode(report))


def forget_report(client: SyncClient, *names: str) -> None:
    """Delete the reports of scorers that end or have gone; one that lives on writes its own again."""
    with store_errors():
        client.hdel(SCORERS, *names)


def read_reports(client: SyncClient) -> list[ScorerReport]:
    """Every scorer's last report, by name; those of the dead too, until they are forgotten."""
    with store_errors():
        return decode_reports(client.hvals(SCORERS))


def decode_reports(raws: Iterable[bytes]) -> list[ScorerReport]:
    """Reports by name. One that cannot be read is passed over: its writer is as good as silent."""
    reports = []
    for raw in raws:
        try:
            reports.append(_decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return sorted(reports, key=lambda report: report.name)


def owners(reports: Sequence[ScorerReport]) -> Mapping[str, str]:
    """Who runs each venue: venue -> scorer. Of several that say so the greatest epoch; where none does, who waits."""
    best: dict[str, tuple[bool, int, str]] = {}
    for report in reports:
        for venue, run in report.venues.items():
            claim = (run.state != "waiting", run.epoch, report.name)
            best[venue] = max(best.get(venue, claim), claim)
    return {venue: name for venue, (_, _, name) in best.items()}
