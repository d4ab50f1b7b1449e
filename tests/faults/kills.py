"""kill -9 of scorer, API and server under load: nothing acknowledged is lost, nothing is counted twice."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from racing.errors import StoreError
from racing.store.client import connect
from racing.store.commit import NO_COMMIT, CommitRecord, read_commit
from racing.store.keys import VenueKeys
from tests.faults.counting import Counted, count_again
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.senders import Journal, Sender
from tests.stack import Stack
from tests.waiting import until

VENUE = "hall-1"
PRODUCTS = [f"p-{index}" for index in range(40)]
TARGETS = ("scorer", "api", "server")
RULE = {
    "window_s": 3600,
    "bucket_s": 5,
    "metrics": {"click": {"event": "click"}, "pay_amount": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1},
        {"metric": "pay_amount", "signal": "root", "weight": 1},
    ],
}
"""A window longer than any run, so that its sums are what was ever sent; a checkpoint every 5 s."""

_SENDERS = 4
_RECOVERY_S = 30.0
_AT_ONCE = 0.3
"""Share of kills that do not wait until the one before is mended."""


@dataclass
class Result(Counted):
    """What a run of kills came to. It holds if nothing is lost, doubled or otherwise wrong."""

    rounds: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    recovery_s_max: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return self.right


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Kill each of the three, so many rounds, while senders send; then count again."""
    begun_s = time.monotonic()
    result = Result(rounds=rounds, kills=dict.fromkeys(TARGETS, 0))
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        stack = Stack(Path(folder), SAIMA_APPENDFSYNC="always", SAIMA_LEASE_MS="1000")
        stack.serve()
        try:
            _open_venue(stack)
            journal = _load_and_kill(stack, result, random.Random(seed), tell)
            count_again(stack.redis_url, VENUE, journal, result)
        except BaseException:
            tell(stack.said())
            raise
        finally:
            stack.stop()
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _open_venue(stack: Stack) -> None:
    stack.wait_ready()
    assert stack.post("/v1/venues", {"venue": VENUE, "rule": RULE}).status_code == 201
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    assert stack.post(f"/v1/venues/{VENUE}/runners/bulk", {"runners": runners}).status_code == 201


def _load_and_kill(stack: Stack, result: Result, rng: random.Random, tell: Tell) -> Journal:
    """The journal of senders that sent all the while."""
    journal = Journal()
    senders = [Sender(stack.base, VENUE, PRODUCTS, journal, seed=rng.getrandbits(32)) for _ in range(_SENDERS)]
    for sender in senders:
        sender.start()
    try:
        until(lambda: len(journal.acknowledged) > 50, within_s=_RECOVERY_S, what="batches are acknowledged")
        for number in range(result.rounds):
            for target in rng.sample(TARGETS, len(TARGETS)):
                time.sleep(rng.uniform(0.0, 0.8))  # any moment of a commit
                stack.kill(target)
                result.kills[target] += 1
                if rng.random() >= _AT_ONCE:
                    recovery_s = _recovered_s(stack, target, journal)
                    result.recovery_s_max[target] = max(result.recovery_s_max.get(target, 0.0), recovery_s)
            tell(f"round {number + 1} of {result.rounds}: {journal.events} events acknowledged")
    finally:
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join(_RECOVERY_S)
    assert not any(sender.is_alive() for sender in senders), "a sender waits for an answer that does not come"
    return journal


def _recovered_s(stack: Stack, target: str, journal: Journal) -> float:
    """Wait until batches are acknowledged and counted again. Returns how long that took, s."""
    killed_s = time.monotonic()
    acknowledged = len(journal.acknowledged)
    until(
        lambda: len(journal.acknowledged) > acknowledged + 20,
        within_s=_RECOVERY_S,
        what=f"batches are acknowledged after {target} was killed",
    )
    position = until(lambda: _commit(stack), within_s=_RECOVERY_S, what="there is a commit").position
    until(
        lambda: (_commit(stack) or NO_COMMIT).position not in {position, NO_COMMIT.position},
        within_s=_RECOVERY_S,
        what=f"events are counted after {target} was killed",
    )
    return round(time.monotonic() - killed_s, 2)


def _commit(stack: Stack) -> CommitRecord | None:
    client = connect(stack.redis_url)
    try:
        return read_commit(client, VenueKeys(VENUE))
    except StoreError:
        return None
    finally:
        client.close()


# -- command line --------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("kills", run, arguments, rounds=10, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
