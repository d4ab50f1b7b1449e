"""Every metric of Saima by name: what it counts and its unit. An unknown name is a type error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

CounterName = Literal[
    "saima_events_accepted_total",  # events answered as accepted, per venue
    "saima_events_duplicate_total",  # events answered as known duplicates, per venue
    "saima_events_refused_total",  # events refused at the door, per venue and reason
    "saima_numbers_dropped_total",  # times an API process found its runner numbers to be of lost enrolments, per venue
    "saima_purges_total",  # times that the purge hook was called, per venue and result: done or failed
    "saima_commits_total",  # commits written, per venue
    "saima_frames_total",  # frames published, per venue
    "saima_live_bytes_total",  # written to live streams, bytes, per venue
    "saima_live_dropped_total",  # live streams cut off because their client did not read, per venue
    "saima_live_refused_total",  # live streams refused beyond a bound, per venue and reason (caller, process)
    "saima_segments_total",  # segment files written, per venue
    "saima_kept_frames_total",  # frames taken to files, one a second, per venue
    "saima_segment_failures_total",  # times a segment could not be written, per venue
    "saima_takeovers_total",  # times this process became a venue's owner, per venue
    "saima_conflicts_total",  # times an owner found that another had committed, per venue
]
GaugeName = Literal[
    "saima_fold_lag_ms",  # age of what the last commit holds, per venue
    "saima_sets_pending_members",  # changed set members not yet written, per venue
    "saima_frame_age_ms",  # age of the data that readers are served, per venue
    "saima_commit_ms",  # how long the last commit took, as its scorer reports, per venue
    "saima_scorer_conflicts",  # conflicts that the scorers which are known have met, per venue
    "saima_oldest_unfolded_ms",  # age of the oldest log entry that no commit holds, per venue
    "saima_in_flight_events",  # events in the log after the last commit, at most those of 512 entries, per venue
    "saima_log_events",  # events in the log since the race began, folded and in flight, per venue
    "saima_log_damaged",  # times that a new owner found the log damaged, per venue
    "saima_lease_owner",  # 1 for the scorer that holds the lease, per venue and owner
    "saima_race_counted_events",  # events counted since the race began, per venue
    "saima_race_late_events",  # events that came after their time had left the base, per venue
    "saima_race_future_events",  # events further ahead than the clock skew allows, per venue
    "saima_race_duplicate_events",  # events whose id had been counted, per venue
    "saima_race_unknown_runner_events",  # events of products that were not enrolled, per venue
    "saima_race_unknown_kind_events",  # events of kinds beyond the bound, per venue
    "saima_race_unreadable_entries",  # log entries, and orders in them, that could not be read, per venue
    "saima_race_stated_events",  # stocks and prices stated, per venue
    "saima_race_outdated_events",  # stocks and prices older than what was in force, ignored, per venue
    "saima_board_conflicts",  # orders in force without effect because of others, per venue
    "saima_board_moved_slots",  # slots of a steady board that changed hands at its looks, per venue
    "saima_board_moved_slots_without",  # slots that would have changed hands without stability, per venue
    "saima_board_given_up_score",  # points of score that stability gives up on the board now, per venue
    "saima_append_waiting_events",  # events that waited together for the last append, per venue
    "saima_memory_share",  # part of its memory bound that the venue's Redis uses, 0 to 1, per venue
    "saima_live_streams",  # live streams open in this process, per venue
    "saima_known_products",  # product numbers cached by an API process, per venue
    "saima_recent_ids",  # event ids that an API process remembers, per venue
    "saima_commit_entries",  # log entries of the last commit, per venue
    "saima_remembered_ids",  # event ids that the fold remembers, per venue
]
HistogramName = Literal[
    "saima_commit_seconds",  # read, fold and commit of one batch, per venue
    "saima_append_seconds",  # append of one event batch to the log
]

_VENUE = ("venue",)


class Metrics:
    """The metrics of one process, registered once."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._known: dict[str, Counter | Gauge | Histogram] = {}
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._owners: dict[str, str] = {}

    def count(self, name: CounterName, venue: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter; a name has the same labels in every call."""
        key = (name, venue, *labels.values())
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._counter(name, labels).labels(venue, *labels.values())
        counter.inc(amount)

    def _counter(self, name: CounterName, labels: Mapping[str, str]) -> Counter:
        metric = self._known.get(name)
        if metric is None:
            metric = self._known[name] = Counter(name, name, (*_VENUE, *labels), registry=self.registry)
        return metric  # type: ignore[return-value]  # the name says which it is

    def set(self, name: GaugeName, venue: str, value: float) -> None:
        """Set a gauge."""
        metric = self._known.get(name)
        if metric is None:
            metric = self._known[name] = Gauge(name, name, _VENUE, registry=self.registry)
        metric.labels(venue).set(value)  # type: ignore[union-attr]  # the name says which it is

    def owner(self, venue: str, owner: str | None) -> None:
        """Name the scorer that holds a venue's lease, and no other; None: nobody does."""
        name: GaugeName = "saima_lease_owner"
        if owner is None and venue not in self._owners:
            return
        gauge = self._known.get(name)
        if gauge is None:
            gauge = self._known[name] = Gauge(name, name, (*_VENUE, "owner"), registry=self.registry)
        before = self._owners.pop(venue, None)
        if before is not None and before != owner:
            gauge.remove(venue, before)
        if owner is not None:
            self._owners[venue] = owner
            gauge.labels(venue, owner).set(1)  # type: ignore[union-attr]  # the name says which it is

    def observe(self, name: HistogramName, venue: str, seconds: float) -> None:
        """Add an observation, seconds."""
        metric = self._known.get(name)
        if metric is None:
            metric = self._known[name] = Histogram(name, name, _VENUE, registry=self.registry)
        metric.labels(venue).observe(seconds)  # type: ignore[union-attr]  # the name says which it is

    def forget(self, venue: str) -> None:
        """Show no gauge of a venue any more: this process no longer runs it. Counters stay, as counters must."""
        for metric in list(self._known.values()):
            if isinstance(metric, Gauge) and metric is not self._known.get("saima_lease_owner"):
                with suppress(KeyError):  # never set for this venue
                    metric.remove(venue)
        self.owner(venue, None)

    def race_counts(self, venue: str, counts: Mapping[str, int]) -> None:
        """Set the gauges of what became of a venue's events, from its last commit."""
        for name, counted in _RACE_COUNTS.items():
            self.set(name, venue, counts.get(counted, 0))


_RACE_COUNTS: dict[GaugeName, str] = {
    "saima_race_counted_events": "counted",
    "saima_race_late_events": "late",
    "saima_race_future_events": "future",
    "saima_race_duplicate_events": "duplicate",
    "saima_race_unknown_runner_events": "unknown_runner",
    "saima_race_unknown_kind_events": "unknown_kind",
    "saima_race_unreadable_entries": "unreadable",
    "saima_race_stated_events": "stated",
    "saima_race_outdated_events": "outdated",
}

METRICS = Metrics()
"""This process's metrics; served at /metrics by the API."""
