"""kill -9 of scorer, API and server under load: nothing acknowledged is lost, nothing is counted twice.

That is safe mode. In fast mode a killed server may lose what was acknowledged in its last two seconds: how much that
was is reported, and held against what was acknowledged then; nothing is counted twice there either.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

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


LONG_KILLS, LONG_EVENTS = 200, 1_000_000
QUICK_ROUNDS, QUICK_EVENTS = 5, 20_000
_FAST_SHARE = 3
"""Of so many rounds in safe mode one is done in fast mode too."""
_LOST_MAX_S = 2.0
LOAD_MAX_S = 3600.0


@dataclass
class Result(Counted):
    """What a run of kills came to. It holds if nothing is wrong but what fast mode may lose."""

    durability: str = "safe"
    appendfsync: str = ""
    rounds: int = 0
    complete: bool = False
    """Whether all the rounds and events that were asked for were done in time."""
    kills: dict[str, int] = field(default_factory=dict)
    at_risk: int = 0
    """Events acknowledged in the last two seconds before each kill of the server."""
    lost_s: float = 0.0
    """The loss in seconds of load, for each kill of the server."""
    recovery_s_max: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    fast: dict[str, Any] = field(default_factory=dict)
    """The same of the run in fast mode."""

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        if self.durability == "safe":
            return self.right and self.complete and self.fast.get("holds", True)
        return bool(
            self.acknowledged
            and self.complete
            and self.verify_clean
            and not (self.doubled or self.troubles)
            and self.lost <= self.at_risk
            and self.lost_s <= _LOST_MAX_S
        )


def run(
    rounds: int,
    *,
    seed: int = 1,
    tell: Tell = silent,
    events: int = 0,
    durability: str = "safe",
    within_s: float = LOAD_MAX_S,
) -> Result:
    """Kill each of the three, so many rounds and until so many events, while senders send; then count again.

    After within_s it counts what there is, and is not complete. In fast mode only the server is killed: the others
    lose no more than in safe mode.
    """
    begun_s = time.monotonic()
    targets = TARGETS if durability == "safe" else ("server",)
    result = Result(kills=dict.fromkeys(targets, 0), durability=durability)
    sync = "always" if durability == "safe" else "everysec"
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        stack = Stack(Path(folder), SAIMA_DURABILITY=durability, SAIMA_APPENDFSYNC=sync, SAIMA_LEASE_MS="1000")
        stack.serve()
        try:
            _open_venue(stack)
            journal = _load_and_kill(stack, result, random.Random(seed), tell, (rounds, events, within_s))
            count_again(stack.redis_url, VENUE, journal, result)
            result.appendfsync = _appendfsync(stack.redis_url)
        except BaseException:
            tell(stack.said())
            raise
        finally:
            stack.stop()
    load_s = journal.moments_s[-1] - journal.moments_s[0]
    result.lost_s = round(result.lost / (result.acknowledged / load_s) / max(1, result.kills["server"]), 3)
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def run_both(rounds: int, *, seed: int = 1, tell: Tell = silent, events: int = 0) -> Result:
    """In safe mode, and some rounds in fast mode."""
    result = run(rounds, seed=seed, tell=tell, events=events)
    fast = run(max(3, rounds // _FAST_SHARE), seed=seed, tell=tell, durability="fast")
    result.fast = {**asdict(fast), "holds": fast.holds}
    return result


def _appendfsync(url: str) -> str:
    client = connect(url)
    found = client.config_get("appendfsync")["appendfsync"]
    client.close()
    return str(found)


def _open_venue(stack: Stack) -> None:
    stack.wait_ready()
    assert stack.post("/v1/venues", {"venue": VENUE, "rule": RULE}).status_code == 201
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]
    assert stack.post(f"/v1/venues/{VENUE}/runners/bulk", {"runners": runners}).status_code == 201


def _load_and_kill(
    stack: Stack, result: Result, rng: random.Random, tell: Tell, asked: tuple[int, int, float]
) -> Journal:
    """The journal of senders that sent all the while. In fast mode none refunds a payment that may be lost."""
    rounds, events, within_s = asked
    journal, begun_s = Journal(), time.monotonic()
    refunds = result.durability == "safe"
    senders = [
        Sender(stack.base, VENUE, PRODUCTS, journal, seed=rng.getrandbits(32), refunds=refunds) for _ in range(_SENDERS)
    ]
    for sender in senders:
        sender.start()
    try:
        until(lambda: len(journal.acknowledged) > 50, within_s=_RECOVERY_S, what="batches are acknowledged")
        while result.rounds < rounds and time.monotonic() - begun_s < within_s:
            _kill_each(stack, result, rng, journal)
            result.rounds += 1
            told = f"recovery at most {result.recovery_s_max} s"
            tell(f"round {result.rounds} of {rounds}: {journal.events} events acknowledged, {told}")
        while journal.events < events and time.monotonic() - begun_s < within_s:
            time.sleep(0.1)
        result.complete = result.rounds == rounds and journal.events >= events
    except AssertionError as exc:  # a bound is broken; what was acknowledged until then is counted again all the same
        result.troubles.append(str(exc))
        tell(stack.said())
    finally:
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join(_RECOVERY_S)
    assert not any(sender.is_alive() for sender in senders), "a sender waits for an answer that does not come"
    return journal


def _kill_each(stack: Stack, result: Result, rng: random.Random, journal: Journal) -> None:
    """One round: each target once, some of them before the one before has recovered."""
    for target in rng.sample(sorted(result.kills), len(result.kills)):
        time.sleep(rng.uniform(0.0, 0.8))  # any moment of a commit
        stack.kill(target)
        result.kills[target] += 1
        if target == "server":
            result.at_risk += journal.since(time.monotonic() - _LOST_MAX_S)
        if rng.random() >= _AT_ONCE:
            recovery_s = _recovered_s(stack, target, journal)
            result.recovery_s_max[target] = max(result.recovery_s_max.get(target, 0.0), recovery_s)


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
    run_some = partial(run_both, events=QUICK_EVENTS if "--quick" in arguments else LONG_EVENTS)
    rounds = -(-LONG_KILLS // len(TARGETS))
    return run_from_command_line("kills", run_some, arguments, rounds=rounds, about=__doc__, quick=QUICK_ROUNDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
