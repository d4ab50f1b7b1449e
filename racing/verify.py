"""verify: recompute a venue from its log and say where Redis holds something else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from racing.columns import unpack
from racing.errors import NotFoundError, StoreError
from racing.intake import FATES
from racing.model import Frame, Position
from racing.orders import Phase
from racing.race import Race
from racing.recount import Recount, Sums
from racing.store import reads
from racing.store.client import as_text, store_errors
from racing.store.commit import CommitRecord, decode_commit, decode_frame, log_damage
from racing.store.flight import flight_of, settled
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.store.sets import measure_names
from racing.timetable import Timetable

_SHOWN_MAX = 5
"""Differences named per set; the rest are counted."""
_SETTLE_S = 10.0
_NEAR = 1e-6
"""Sums in the sets are exact to a tenth; a recount in floats may be off by less than this."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What Redis held at one commit: the record, the frame and every sorted set, read in one MULTI."""

    commit: CommitRecord
    frame: Frame | None
    sets: dict[str, dict[int, float]]


@dataclass(slots=True)
class Report:
    """What was recomputed and where it differs; clean when nothing does. in_flight: events after the commit."""

    venue: str
    position: str
    frame: int
    counts: dict[str, int]
    entries: int = 0
    events: int = 0
    in_flight: int = 0
    members: int = 0
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether Redis holds just what the log says."""
        return not self.differences


def verify(client: SyncClient, venue: str, *, segments: Path | None = None, whole: bool = False) -> Report:
    """Recount the last two windows, refold from the oldest checkpoint, and compare with what Redis holds.

    client: one of the venue's node. segments: folder of segment files. whole: refold all that is kept, from the
    first segment on; else segments only fill in what Redis lacks. The race may run meanwhile.
    Raises NotFoundError, StoreError.
    """
    keys = VenueKeys(venue)
    if not reads.exists(client, keys):
        raise NotFoundError(f"there is no venue {venue!r}")
    snapshot = _settled(client, keys)
    report = Report(venue, snapshot.commit.position, snapshot.commit.frame, snapshot.commit.counts)
    past = Past(client, keys, segments)
    race, record = past.begin() if whole else reads.oldest(client, keys)
    report.notes.append(f"refolded from {race.position}")
    recount, accepted = _recount_at(race, record), race.counts.accepted
    until = Position.parse(snapshot.commit.position)
    framed = Position.parse(snapshot.frame.position) if snapshot.frame else until
    if race.position > framed:
        report.notes.append(f"frame {snapshot.commit.frame} is older than the oldest checkpoint: not compared")
    for stop in (framed, until) if race.position <= framed < until else (until,):
        for entries in past.between(race.position, stop):
            race.apply(entries)
            for entry in entries:
                recount.read(entry)
            report.entries += len(entries)
        if stop == framed and snapshot.frame is not None:
            report.differences += _compare_frame(race, snapshot.frame)
    report.events = race.counts.counted
    if damage := log_damage(race.position, race.log_sum, snapshot.commit):
        report.differences.append(f"log: {damage}")
    if snapshot.commit.damaged:
        report.notes.append(
            f"{snapshot.commit.damaged} times a new owner found the log damaged and went on without that"
        )
    report.differences += _compare_balance(snapshot.commit)
    if race.counts.accepted != accepted + recount.events:
        report.differences.append(
            f"count of accepted: {race.counts.accepted} refolded, {accepted + recount.events} in the log"
        )
    report.in_flight = flight_of(read_after(client, keys, until)).events
    report.differences += _compare_counts(race, snapshot.commit)
    report.differences += _compare_sets(race, recount, snapshot, report, keys)
    return report


def _recount_at(race: Race, record: bytes | None) -> Recount:
    """A recount that begins where the race does, with the ids known there."""
    recount = Recount(rule=race.rule, runners=len(race.products), position=race.position, begun_ms=race.position.ms)
    recount.rules = Timetable(
        base=race.base.rule,
        base_number=race.base.turn,
        number=race.steering.book.turn,
        phases={order.id: (order, turn) for order, turn in race.steering.book.placed() if isinstance(order, Phase)},
        begun=dict(race.phases.begun),
    )
    if record is not None:
        _, columns = unpack(record)
        if "id_key" in columns:
            recount.ids = dict(zip(columns["id_key"].tolist(), columns["id_expiry_ms"].tolist(), strict=True))
            rows = zip(
                *(columns[n].tolist() for n in ("paid_ms", "paid_runner", "paid_left", "paid_expiry_ms")),
                strict=True,
            )
            recount.payments = dict(zip(columns["paid_key"].tolist(), rows, strict=True))
    return recount


def _settled(client: SyncClient, keys: VenueKeys) -> Snapshot:
    """A snapshot at a commit whose sorted sets are complete; waits for one while the race runs."""
    until = time.monotonic() + _SETTLE_S
    while True:
        snapshot = _snapshot(client, keys)
        if snapshot.commit.position == snapshot.commit.sets_position:
            return snapshot
        if time.monotonic() > until:
            raise StoreError(
                f"venue {keys.venue}: the sorted sets stand at {snapshot.commit.sets_position}, the race at"
                f" {snapshot.commit.position}, and they do not meet: is a scorer running?"
            )
        time.sleep(0.01)


def _snapshot(client: SyncClient, keys: VenueKeys) -> Snapshot:
    """The sets, the commit and the frame of one moment. Raises StoreError without a commit."""
    with store_errors():
        pattern = keys.sums("*", "*")
        found = sorted(as_text(key) for key in client.scan_iter(match=pattern, count=1000))
        names = [name for name in found if client.type(name) == b"zset"]
        pipe = client.pipeline(transaction=True)
        for name in (keys.standings, *names):
            pipe.zrange(name, 0, -1, withscores=True)
        pipe.get(keys.commit)
        pipe.xrevrange(keys.frames, count=1)
        *sets, commit, frames = pipe.execute()
    if commit is None:
        raise StoreError(f"venue {keys.venue} has no commit yet: is a scorer running?")
    members = [{int(member): float(value) for member, value in each} for each in sets]
    frame = decode_frame(frames[0][1][b"frame"]) if frames else None
    return Snapshot(decode_commit(commit), frame, dict(zip((keys.standings, *names), members, strict=True)))


def _compare_frame(race: Race, frame: Frame) -> Iterator[str]:
    """What differs of the frame; of its slots the first that does."""
    shown = race.shown()
    for name in ("served", "phase", "phase_ends_ms", "told", "conflicts"):
        ours, theirs = getattr(shown, name), getattr(frame, name)
        if ours != theirs:
            yield f"frame {frame.frame} {name}: {theirs!r}, refolded {ours!r}"
    slots = shown.slots
    if slots == frame.slots:
        return
    if len(slots) != len(frame.slots):
        yield f"frame {frame.frame}: has {len(frame.slots)} slots, refolded {len(slots)}"
    for ours, theirs in zip(slots, frame.slots, strict=False):
        if ours != theirs:
            yield (
                f"frame {frame.frame} slot {theirs.slot}: {theirs.product} {theirs.score!r},"
                f" refolded {ours.product} {ours.score!r}"
            )
            return


def _compare_counts(race: Race, commit: CommitRecord) -> Iterator[str]:
    for name, value in commit.counts.items():
        ours = getattr(race.counts, name)
        if ours != value:
            yield f"count of {name}: {value} committed, {ours} refolded"


def _compare_balance(commit: CommitRecord) -> Iterator[str]:
    """Every accepted event has one fate, in what was committed; a record of before they were counted is passed over."""
    known = settled(commit)
    if commit.counts.get("accepted", known) != known:
        yield f"counts: {commit.counts['accepted']} events accepted, but {known} of known fate ({', '.join(FATES)})"


def _compare_sets(race: Race, recount: Recount, snapshot: Snapshot, report: Report, keys: VenueKeys) -> Iterator[str]:
    """What differs of the sets. Window and delta are compared where the log reaches back far enough."""
    standings = {runner: 0.0 - score for runner, score in enumerate(race.scores.tolist())}
    yield from _compare("standings", snapshot.sets.pop(keys.standings), standings, 0.0, report)
    window, base = recount.sums(race.moment_ms)
    exact = recount.exact(race.moment_ms)
    if not exact:
        what = "buckets were cut anew" if recount.cut_ms else "the refolded log begins"
        report.notes.append(f"{what} less than two windows ago: window and delta sums are not recounted")
    for measure, name in enumerate(measure_names(race)):
        if measure >= race.windows.total.shape[1]:
            break
        column = race.windows.total[:, measure]
        expected = {int(runner): float(column[runner]) for runner in column.nonzero()[0]}
        yield from _compare(f"total:{name}", _set(snapshot, keys.sums("total", name)), expected, 0.0, report)
        if not exact:
            continue
        now, before = _of(window, name), _of(base, name)
        delta = {runner: now.get(runner, 0.0) - before.get(runner, 0.0) for runner in now.keys() | before.keys()}
        yield from _compare(f"window:{name}", _set(snapshot, keys.sums("window", name)), now, _NEAR, report)
        yield from _compare(f"delta:{name}", _set(snapshot, keys.sums("delta", name)), delta, _NEAR, report)


def _set(snapshot: Snapshot, key: str) -> dict[int, float]:
    return snapshot.sets.get(key, {})


def _of(sums: Sums, name: str) -> dict[int, float]:
    return {runner: value for (measure, runner), value in sums.items() if measure == name}


def _compare(
    name: str, held: dict[int, float], expected: dict[int, float], near: float, report: Report
) -> Iterator[str]:
    """What differs of one set, beyond the bound; the first few runners by name."""
    report.members += len(expected)
    wrong = [
        runner
        for runner in sorted(held.keys() | expected.keys())
        if abs(held.get(runner, 0.0) - expected.get(runner, 0.0)) > near
        or (name == "standings" and (runner in held) != (runner in expected))
    ]
    for runner in wrong[:_SHOWN_MAX]:
        yield f"{name}: runner {runner} is {held.get(runner)}, recomputed {expected.get(runner)}"
    if len(wrong) > _SHOWN_MAX:
        yield f"{name}: and {len(wrong) - _SHOWN_MAX} more runners"
