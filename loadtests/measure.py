"""A measured stretch: what the service's processes used, over what was committed while they did.

A stretch begins and ends quiet: everything appended is committed and shown in the sorted sets. So every event
counted in it was also received, appended, folded and written in it, and no work is left for later.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Self

import psutil

from loadtests.processes import BenchError, Worker, cpu_s
from loadtests.stack import Cpu, Stack
from racing.store.commit import CommitRecord

WARM_UP_S = 1.5
_DRAIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a stack at one moment."""

    cpu: Cpu
    record: CommitRecord
    wall_s: float
    busy_s: float
    """CPU seconds of the whole machine, idle ones left out."""

    @property
    def counted(self) -> int:
        """Events counted since the race began."""
        return self.record.counts.get("counted", 0)


def busy_s() -> float:
    """CPU seconds that the machine's cores have worked so far, for whomever."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def snapshot(stack: Stack) -> Snapshot:
    """Now."""
    return Snapshot(stack.cpu(), stack.record(), time.time(), busy_s())


@dataclass(frozen=True, slots=True)
class Stretch:
    """What lies between two snapshots, in a venue with buckets of so many seconds."""

    before: Snapshot
    after: Snapshot
    bucket_s: int
    load_cpu_s: float = 0.0
    """CPU seconds of those who made the load, and of what else of ours ran beside."""

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.after.wall_s - self.before.wall_s

    @property
    def events(self) -> int:
        """Events committed."""
        return self.after.counted - self.before.counted

    @property
    def commits(self) -> int:
        """Commits that committed them. Raises BenchError if the scorer was replaced meanwhile."""
        if self.after.record.epoch != self.before.record.epoch:
            raise BenchError("the scorer was fenced or restarted while it was measured")
        return self.after.record.number - self.before.record.number

    @property
    def boundaries(self) -> int:
        """Bucket boundaries within it."""
        return int(self.after.wall_s // self.bucket_s) - int(self.before.wall_s // self.bucket_s)

    def cpu_s(self, part: str) -> float:
        """CPU seconds of one part."""
        return float(getattr(self.after.cpu, part) - getattr(self.before.cpu, part))

    @property
    def others_cpu_share(self) -> float:
        """Share of the machine that worked for none of ours: above a few percent, repeat the run."""
        ours = (self.after.cpu - self.before.cpu).total + self.load_cpu_s
        others = self.after.busy_s - self.before.busy_s - ours
        return max(0.0, others / self.seconds / (psutil.cpu_count() or 1))


def figures_of(*stretches: Stretch) -> dict[str, Any]:
    """CPU per event in all and by part, rates and commit sizes, over all of them together.

    Raises BenchError where nothing was committed.
    """
    events, commits = sum(each.events for each in stretches), sum(each.commits for each in stretches)
    if events <= 0:
        raise BenchError("no event was committed in the measured stretch")
    seconds = sum(each.seconds for each in stretches)
    boundaries = sum(each.boundaries for each in stretches)
    parts = {part: sum(each.cpu_s(part) for each in stretches) for part in ("api", "scorer", "server")}
    others = sum(each.others_cpu_share * each.seconds for each in stretches) / seconds
    return {
        "cpu_us_per_event": round(1e6 * sum(parts.values()) / events, 3),
        "parts_us_per_event": {part: round(1e6 * used_s / events, 3) for part, used_s in parts.items()},
        "events_per_s": round(events / seconds),
        "events": events,
        "events_per_bucket": round(events / seconds * stretches[0].bucket_s),
        "commits": commits,
        "events_per_commit": round(events / max(1, commits), 1),
        "boundaries": boundaries,
        "seconds": round(seconds, 2),
        "others_cpu_share": round(others, 3),
    }


def measure(
    stack: Stack, worker: Worker, *, seconds: float, bucket_s: int, rate_per_s: float | None = None
) -> dict[str, Any]:
    """Figures of a stretch in which a sender keeps the service busy, after a warm-up; with the sender's own.

    Raises BenchError, with what the service said, where it took nothing.
    """
    warmed_s = warm_up(stack, worker, rate_per_s=rate_per_s)
    stretch, sent = busy(stack, worker, seconds=seconds, bucket_s=bucket_s, warmed_s=warmed_s, rate_per_s=rate_per_s)
    sender = {name: sent[name] for name in ("requests", "requests_per_s", "p50_ms", "p99_ms", "statuses")}
    return {**figures_of(stretch), "drain_s": sent["drain_s"], "sender": sender}


def warm_up(stack: Stack, worker: Worker, *, rate_per_s: float | None = None) -> float:
    """Let a sender run for a while; the CPU seconds that it has used so far. Raises BenchError as refused."""
    warm = worker.run(WARM_UP_S, rate_per_s=rate_per_s)
    refused(warm)
    stack.caught_up(within_s=_DRAIN_S)
    return float(warm["cpu_s"])


def busy(
    stack: Stack,
    worker: Worker,
    *,
    seconds: float,
    bucket_s: int,
    warmed_s: float = 0.0,
    rate_per_s: float | None = None,
) -> tuple[Stretch, dict[str, Any]]:
    """A stretch in which a sender keeps the service busy, and what the sender says of it. Raises BenchError as refused.

    warmed_s: CPU seconds that the sender had used before. drain_s is put to what it says: how long after its last
    answer everything was committed and shown.
    """
    before = snapshot(stack)
    sent = worker.run(seconds, rate_per_s=rate_per_s)
    refused(sent)
    sent_s = time.time()
    stack.caught_up(within_s=_DRAIN_S + seconds)
    after = snapshot(stack)
    stretch = Stretch(before, after, bucket_s, load_cpu_s=sent["cpu_s"] - warmed_s)
    return stretch, {**sent, "drain_s": round(after.wall_s - sent_s, 2)}


def refused(sent: dict[str, Any]) -> None:
    """Raise BenchError if a worker's requests were answered with errors, or not at all."""
    bad = {status: count for status, count in sent["statuses"].items() if int(status) >= 400}
    if bad:
        statuses = ", ".join(f"{status} ({count} times)" for status, count in bad.items())
        raise BenchError(f"the service answered {statuses}: {sent['refusal']}")
    if sent["broken"] or not sent["statuses"]:
        raise BenchError(f"{sent['broken']} requests broke off, {sent['unanswered']} were not answered")


class RivalClock:
    """CPU of a rival's client (this process) and of its server, over a stretch of work."""

    def __init__(self, server_pid: int | None = None) -> None:
        self._server_pid = server_pid
        self._client_s = self._server_s = 0.0
        self.client_s = self.server_s = 0.0

    def __enter__(self) -> Self:
        self._server_s = cpu_s(self._server_pid) if self._server_pid else 0.0
        self._client_s = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.client_s += time.process_time() - self._client_s
        if self._server_pid:
            self.server_s += cpu_s(self._server_pid) - self._server_s

    @property
    def total_s(self) -> float:
        """Both, over every stretch so far."""
        return self.client_s + self.server_s
