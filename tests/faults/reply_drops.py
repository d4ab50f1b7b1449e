"""Replies dropped, of every kind of command that our processes send: nothing is counted twice, nothing is lost.

A whole Saima stands behind a proxy that lets the server carry a command out and ends the connection instead of passing
its reply on. Senders, one of which has no Idempotency-Key but ids, try again until they hear 202; an operator enrols
products and changes the rule, and looks before it tries again. Then everything is counted again from their journal.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from racing.store.client import connect
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from tests.faults.counting import Counted, count_again
from tests.faults.drops import WRITES, DropProxy, Drops
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.kills import PRODUCTS, RULE, VENUE
from tests.faults.senders import Journal, Sender
from tests.stack import Stack
from tests.waiting import until

LONG_DROPS = 1_500
QUICK_S = 25.0
"""Of load. The first reply of each of some 30 kinds is dropped, at which the race stands still for the first 10 s."""
_EVERY = 6
_SENDERS = 3
_PATIENCE_S = 60.0
_KEEP_ON_S = 900.0


@dataclass
class Result(Counted):
    """What the dropped replies came to."""

    rounds: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    spared: list[str] = field(default_factory=list)
    """Kinds that came only when the drops were over."""
    decisions: int = 0
    lost_decisions: int = 0
    doubled_decisions: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept, and replies of all kinds that write were dropped."""
        wrong = self.lost_decisions or self.doubled_decisions
        return bool(self.right and self.drops.keys() >= WRITES and not wrong)


class Operator(threading.Thread):
    """Enrols a product or changes the rule again and again, each until it knows that it is done, and done once."""

    def __init__(self, base: str, journal: Journal) -> None:
        super().__init__(name="operator", daemon=True)
        self._client = httpx2.Client(base_url=base, timeout=3)
        self._journal = journal
        self._halt = threading.Event()
        self.enrolled = self.rules = 0

    def stop(self) -> None:
        """Begin nothing new."""
        self._halt.set()

    def run(self) -> None:
        """Decide until stopped."""
        while not self._halt.wait(0.2):
            self._enrol(f"new-{self.enrolled}")
            self.enrolled += 1
            self._change_rule(2 + self.rules)
            self.rules += 1
            for path in ("", "/runners", "/slots"):
                self._ask("GET", path)
            with contextlib.suppress(httpx2.HTTPError):
                self._client.get("/readyz")
        self._client.close()

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """An answer that is not 503, however often it takes."""
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                answer = self._client.request(method, f"/v1/venues/{VENUE}{path}", **options)
                if answer.status_code != 503:
                    return answer
            assert time.monotonic() < until_s, f"{method} {path}: nothing but 503 for {_PATIENCE_S} s"
            time.sleep(0.05)

    def _enrol(self, product: str) -> None:
        answer = self._ask("POST", "/runners", json={"product": product, "merchant": "m", "title": "t"})
        if answer.status_code != 201:
            self._journal.troubles.append(f"enrolment: {answer.status_code} {answer.text[:200]}")

    def _change_rule(self, weight: int) -> None:
        """PUT under If-Match; looks after a lost answer whether the current rule is this very change."""
        rule = {**RULE, "terms": [{"metric": "click", "signal": "surge", "weight": weight}]}
        while True:
            before = self._ask("GET", "/rule")
            if before.json()["terms"][0]["weight"] == weight:
                return
            answer = self._ask("PUT", "/rule", json=rule, headers={"If-Match": before.headers["ETag"]})
            if answer.status_code not in {200, 202, 412}:
                self._journal.troubles.append(f"rule: {answer.status_code} {answer.text[:200]}")
                return


@contextlib.contextmanager
def _proxied(drops: Drops) -> Iterator[Stack]:
    """A whole Saima behind the proxy."""
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        folder = Path(name)
        server = EmbeddedServer(folder / "data")
        server.start()
        proxy = DropProxy(folder, server.socket, drops)
        segments = str(folder / "segments")
        stack = Stack(
            folder,
            SAIMA_REDIS_URL=proxy.url,
            SAIMA_LEASE_MS="1000",
            SAIMA_SEGMENTS_DIR=segments,
            SAIMA_LOG_AHEAD_MAX_MS="600000",  # the scorer is held up on purpose: senders go on meanwhile
        )
        try:
            stack.serve()
            stack.wait_ready()
            yield stack
        finally:
            stack.stop()
            proxy.close()
            server.stop()


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, within_s: float = _KEEP_ON_S) -> Result:
    """Drop so many replies under load, or as many as within_s allows; then count again. rounds: of drops.

    It goes on until a reply of every kind that writes was dropped.
    """
    begun_s = time.monotonic()
    drops, result, journal = Drops(_EVERY), Result(), Journal()
    with _proxied(drops) as stack:
        drops.on = True
        _open_venue(stack)
        operator = Operator(stack.base, journal)
        rng = random.Random(seed)
        senders = [
            Sender(stack.base, VENUE, PRODUCTS, journal, seed=rng.getrandbits(32), keyed=index > 0)
            for index in range(_SENDERS)
        ]
        workers: list[Sender | Operator] = [operator, *senders]
        for worker in workers:
            worker.start()
        loaded_s = time.monotonic()

        def enough() -> bool:
            over = drops.dropped.total() >= rounds or time.monotonic() - loaded_s > within_s
            return over and drops.dropped.keys() >= WRITES

        while not enough() and time.monotonic() - loaded_s < _KEEP_ON_S:
            time.sleep(1)
            if not drops.dropped["EVAL drop_lease"] and time.monotonic() - loaded_s > within_s / 2:
                stack.terminate("scorer")
            tell(f"{drops.dropped.total()} replies dropped of {len(drops.dropped)} kinds, {journal.events} events")
        drops.on = False
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(_PATIENCE_S)
        assert not any(worker.is_alive() for worker in workers), "somebody waits for an answer that does not come"
        count_again(stack.redis_url, VENUE, journal, result)
        _count_decisions(stack.redis_url, operator, result)
    result.rounds = drops.dropped.total()
    result.drops, result.spared = dict(sorted(drops.dropped.items())), drops.spared
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _open_venue(stack: Stack) -> None:
    """Open a venue through the drops: what is refused as done already was done by the try before."""
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in PRODUCTS]

    def done(path: str, body: Any) -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            return stack.post(path, body).status_code in {201, 409}
        return False

    until(lambda: done("/v1/venues", {"venue": VENUE, "rule": RULE}), within_s=_PATIENCE_S, what="the venue is open")
    path = f"/v1/venues/{VENUE}/runners/bulk"
    until(lambda: done(path, {"runners": runners}), within_s=_PATIENCE_S, what="its runners are enrolled")


def _count_decisions(url: str, operator: Operator, result: Result) -> None:
    """Enrolments and rule versions against what the operator knows to be done."""
    client: Any = connect(url)
    keys = VenueKeys(VENUE)
    made = {
        "runners": (len(PRODUCTS) + operator.enrolled, client.hlen(keys.products)),
        "rule versions": (1 + operator.rules, int(client.hget(keys.rules, "current"))),
        "entries": (2 + operator.enrolled + operator.rules, _decisions(client, keys)),
    }
    client.close()
    result.decisions = operator.enrolled + operator.rules
    for expected, found in made.values():
        result.lost_decisions += max(0, expected - found)
        result.doubled_decisions += max(0, found - expected)


def _decisions(client: Any, keys: VenueKeys) -> int:
    return sum(b"decision" in fields for _, fields in client.xrange(keys.log))


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; rounds are drops."""
    within_s = QUICK_S if "--quick" in arguments else _KEEP_ON_S

    def bounded(rounds: int, *, seed: int, tell: Tell) -> Result:
        return run(max(rounds, LONG_DROPS), seed=seed, tell=tell, within_s=within_s)

    return run_from_command_line("reply_drops", bounded, arguments, rounds=LONG_DROPS, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
