"""Failovers of a venue's primary with replication held up: what is lost, in each mode, and that nothing is doubled."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from racing.errors import StoreError
from racing.store.client import connect, store_errors
from racing.store.commit import NO_COMMIT, CommitRecord, read_commit
from racing.store.keys import VenueKeys
from racing.verify import verify
from tests import asking
from tests.cluster import TestCluster, running_cluster
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.senders import KINDS, Event, Journal, Sender
from tests.stack import ROOT, Stack
from tests.waiting import free_port, until

PRODUCTS = [f"p-{index}" for index in range(400)]
_RACING = frozenset(PRODUCTS)
RULE = {
    "window_s": 3600,
    "bucket_s": 5,
    "metrics": {"click": {"event": "click"}, "pay_amount": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1},
        {"metric": "pay_amount", "signal": "root", "weight": 1},
    ],
}
VENUE = {"safe": "hall-1", "fast": "hall-2"}
"""On two nodes."""
FALLS = ("kill", "takeover", "pause")
"""kill: -9. takeover: the replica takes over by itself, the primary goes on until it hears of it. pause: SIGSTOP until
the replica has taken over; then it goes on, with what was in its sockets, until it hears of its fall."""
_SENDERS = 3
_SOON_S = 30.0


class PlainSender(Sender):
    """A sender of new events alone, each batch of one product: what is lost cannot hide what is doubled."""

    def _batch(self) -> tuple[Event, ...]:
        rng: random.Random = self._rng
        product = rng.choice(PRODUCTS)
        return tuple(self._of(rng, product) for _ in range(rng.randrange(1, 30)))

    @staticmethod
    def _of(rng: random.Random, product: str) -> Event:
        kind = rng.choice(KINDS)
        return Event(kind, product, amount=rng.randrange(1, 1_000_000) if kind == "pay" else None)


class Load:
    """Senders that send to a venue for as long as this is entered."""

    def __init__(self, base: str, venue: str, *, seed: int, journal: Journal | None = None) -> None:
        """base: address of the API."""
        self.journal = journal if journal is not None else Journal()
        rng = random.Random(seed)
        self._senders = [
            PlainSender(base, venue, PRODUCTS, self.journal, seed=rng.getrandbits(32)) for _ in range(_SENDERS)
        ]

    def __enter__(self) -> Self:
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.join(_SOON_S)
        if kind is None:
            assert not any(sender.is_alive() for sender in self._senders), "a sender waits in vain for an answer"

    def more(self, batches: int) -> None:
        """Return when so many more batches are acknowledged."""
        before = len(self.journal.acknowledged)
        until(
            lambda: len(self.journal.acknowledged) >= before + batches,
            within_s=_SOON_S,
            what=f"{batches} more batches are acknowledged after {before}",
        )


@dataclass
class Counted:
    """What the journal says against what the venue's sorted sets hold."""

    acknowledged: int
    lost: int
    doubled: int
    wrong_amounts: int


def open_venue(stack: Stack, venue: str) -> None:
    """Make a venue with all products enrolled."""
    made = stack.post("/v1/venues", {"venue": venue, "rule": RULE})
    assert made.status_code == 201, made.text
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    enrolled = stack.post(f"/v1/venues/{venue}/runners/bulk", {"runners": runners})
    assert enrolled.status_code == 201, enrolled.text


Totals = dict[str, Counter[tuple[str, str]]]
"""Per measure, ``count`` or ``amount``: totals by (kind, product)."""


def totals(url: str, venue: str) -> Totals:
    """What the venue's sorted sets hold, once everything in its log is folded and they are complete."""
    client: Any = connect(url, venue=venue)
    keys = VenueKeys(venue)
    try:
        until(lambda: _complete(client, keys), within_s=_SOON_S, what=f"everything in {venue} is folded")
        products = {int(number): product.decode() for product, number in client.hgetall(keys.products).items()}
        return {measure: _totals(client, keys, measure, products) for measure in ("count", "amount")}
    finally:
        client.close()


def counted(url: str, venue: str, journal: Journal, earlier: Totals | None = None) -> Counted:
    """Compare a journal with the venue's totals, less those of an earlier moment.

    wrong_amounts: of the products whose events are all there, those whose amounts are not.
    """
    counts, amounts = journal.recount()
    found = totals(url, venue)
    if earlier is not None:
        for measure, before in earlier.items():
            found[measure].subtract(before)
    cells = {*counts, *found["count"]}
    differences = {cell: found["count"][cell] - counts[cell] for cell in cells}
    return Counted(
        acknowledged=journal.events,
        lost=-sum(min(0, more) for more in differences.values()),
        doubled=sum(max(0, more) for more in differences.values()),
        wrong_amounts=sum(not more and amounts[cell] != found["amount"][cell] for cell, more in differences.items()),
    )


def _complete(client: Any, keys: VenueKeys) -> bool:
    try:
        commit: CommitRecord = read_commit(client, keys)
        with store_errors():
            last = client.xrevrange(keys.log, count=1)[0][0].decode()
    except StoreError:
        return False
    return commit != NO_COMMIT and commit.position == commit.sets_position == last


def _totals(client: Any, keys: VenueKeys, measure: str, products: dict[int, str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for kind in sorted(set(KINDS)):
        for member, value in client.zrange(keys.sums("total", f"{kind}:{measure}"), 0, -1, withscores=True):
            if (product := products[int(member)]) in _RACING:
                found[kind, product] = int(value)
    return found


# -- the exercise --------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What a run of failovers came to.

    It holds if in safe mode nothing acknowledged is lost; in fast mode no more than was acknowledged while replication
    was held up; and if nothing is doubled or otherwise wrong in either.
    lost: in safe mode. events_lost_after_failover: in fast mode; acknowledged_in_stall: the bound on them, what was
    acknowledged from the stall's begin to the first batch after the fall. recovery_s_max: from the fall until 15
    batches were acknowledged; in safe mode not before the old primary is back as a replica.
    """

    rounds: int
    mode: str = "safe, fast"
    rounds_by_mode: dict[str, int] = field(default_factory=dict)
    falls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FALLS, 0))
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    wrong_amounts: int = 0
    events_lost_after_failover: int = 0
    acknowledged_in_stall: int = 0
    losses_beyond_stall: int = 0
    not_acknowledged: int = 0
    recovery_s_max: float = 0.0
    differences: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        wrong = self.lost or self.doubled or self.wrong_amounts or self.losses_beyond_stall
        return bool(self.acknowledged and not wrong and not self.differences and not self.troubles)


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """So many failovers, the first half of them (rounded up) in safe mode, the others in fast mode."""
    begun_s = time.monotonic()
    result = Result(rounds)
    rng = random.Random(seed)
    with running_cluster(relayed=True) as cluster, _running(cluster, result) as bases:
        for mode, times in (("safe", (rounds + 1) // 2), ("fast", rounds // 2)):
            result.rounds_by_mode[mode] = times
            journal = Journal()
            for number in range(times):
                _round(cluster, bases[mode], VENUE[mode], journal, result, rng)
                tell(
                    f"{mode} {number + 1} of {times}: {journal.events} acknowledged, {result.lost} lost,"
                    f" {result.events_lost_after_failover} in fast mode, {result.doubled} doubled"
                )
            result.acknowledged += journal.events
            result.not_acknowledged += journal.retries
            result.troubles += journal.troubles[:5]
            if times:
                client = connect(cluster.url, venue=VENUE[mode])
                result.differences += verify(client, VENUE[mode]).differences
                client.close()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


@contextlib.contextmanager
def _running(cluster: TestCluster, result: Result) -> Iterator[dict[str, str]]:
    """One deployment with a venue for each mode, and an API in each: its address by mode."""
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        stack = Stack(Path(folder), SAIMA_REDIS_URL=cluster.url, SAIMA_LEASE_MS="1000")
        stack.serve()
        port = free_port()
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "SAIMA_LOG_LEVEL": "warning",
            "SAIMA_REDIS_URL": cluster.url,
            "SAIMA_KEYS": "off",
            "SAIMA_PORT": str(port),
            "SAIMA_DURABILITY": "safe",
            "SAIMA_SAFE_REPLICAS": "1",
        }
        with stack.log.open("ab") as out:
            safe = subprocess.Popen(stack.command("api"), stdout=out, stderr=out, env=environment, cwd=ROOT)
        bases = {"safe": f"http://127.0.0.1:{port}", "fast": stack.base}
        try:
            stack.wait_ready()
            for mode in bases:
                open_venue(stack, VENUE[mode])
            until(lambda: asking.is_ready(bases["safe"]), within_s=_SOON_S, what="the API in safe mode is ready")
            yield bases
        except BaseException:
            sys.stderr.write(stack.said())
            raise
        finally:
            safe.terminate()
            try:
                safe.wait(_SOON_S)
            finally:
                safe.kill()
                stack.stop()
                result.troubles += [line for line in stack.log.read_text().splitlines() if "unexpected error" in line]


def _round(cluster: TestCluster, base: str, venue: str, journal: Journal, result: Result, rng: random.Random) -> None:
    """One failover under load, with replication held up before it; then count what this round sent."""
    earlier, sent = totals(cluster.url, venue), Journal()
    primary = cluster.owner(venue)
    replica = cluster.replica_of(primary)
    with Load(base, venue, seed=rng.getrandbits(32), journal=sent) as load:
        load.more(15)
        before_stall = sent.events  # what is acknowledged after this moment may be in the stall
        assert primary.relay is not None
        primary.relay.stall()
        time.sleep(rng.uniform(0.3, 1.2))
        fall = rng.choice(FALLS)
        result.falls[fall] += 1
        if fall == "kill":
            primary.kill()
        elif fall == "takeover":
            replica.client.execute_command("CLUSTER FAILOVER", "TAKEOVER")
        else:
            primary.signal(signal.SIGSTOP)
        fallen_s = time.monotonic()
        until(lambda: cluster.serves(replica, venue), within_s=_SOON_S, what="the replica has taken over")
        primary.signal(signal.SIGCONT)
        until(lambda: primary.role() != "master", within_s=_SOON_S, what="the old primary is gone or knows of its fall")
        primary.relay.flow()
        if primary.process is None:  # in safe mode nothing is acknowledged before there is a replica again
            primary.start()
        load.more(1)
        in_stall = sent.events - before_stall  # with what was answered before, and only just heard
        load.more(14)
        result.recovery_s_max = max(result.recovery_s_max, round(time.monotonic() - fallen_s, 2))
    cluster.settled()
    found = counted(cluster.url, venue, sent, earlier)
    journal.acknowledged += sent.acknowledged
    journal.retries += sent.retries
    journal.troubles += sent.troubles
    result.doubled += found.doubled
    result.wrong_amounts += found.wrong_amounts
    if venue == VENUE["safe"]:
        result.lost += found.lost
        return
    result.events_lost_after_failover += found.lost
    result.acknowledged_in_stall += in_stall
    result.losses_beyond_stall += max(0, found.lost - in_stall)


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("failover", run, arguments, rounds=100, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
