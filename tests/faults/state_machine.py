"""The whole of append, fold and commit against a naive model, in any order that Hypothesis can think of.

Senders send, and send again; events come late; the rule changes and products enrol; API processes and owners die at any
point; a paused owner goes on; the server falls back to an earlier moment, as after a failover that lost its last
writes. After every turn of the owner its race must say what the recount of the journal says, and in the end the sets,
the standings and the frame too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from racing.errors import FencedError
from racing.model import Position
from racing.scorer import HEARTBEAT_MS
from racing.store.client import connect
from racing.store.log import read_after
from tests.contract.track import Track, sets_of
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.mortal import Fate
from tests.faults.world import KEYS, VENUE, Sending, World, hear, our_clock, recounted, totals
from tests.laws.compare import check_against
from tests.laws.logs import event, rules
from tests.laws.oracle import Body

LONG_EXAMPLES = 5_000
QUICK_EXAMPLES = 60
_STEPS = 20
_TOLD_EVERY = 50
_RUNNERS_MAX = 6
_SETTLE_STEPS = 20
_AFTER_MS = st.sampled_from([0, 1, 99, 100, 400, 999, 1000, 2000, 3500, 9000])
_FOLDED = st.booleans()
"""Whether the owner's turn comes at once."""
_CRASH = st.one_of(st.none(), st.integers(0, 3))
_CRASH_OF_OWNER = st.one_of(st.none(), st.integers(0, 25))
"""At which of the coming points a process dies, if there are so many."""


@dataclass
class Result:
    """What the examples came to."""

    rounds: int = 0
    steps: int = 0
    acknowledged: int = 0
    deaths: int = 0
    fenced: int = 0
    failovers: int = 0
    rule_changes: int = 0
    lost: int = 0
    doubled: int = 0
    failure: str = ""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the race was never anything but what the model says."""
        return bool(self.rounds and self.acknowledged and not (self.lost or self.doubled or self.failure))


@dataclass(frozen=True)
class Snapshot:
    """All that a server held at a moment, and what was acknowledged by then."""

    keys: dict[bytes, bytes]
    journal: list[tuple[int, Body]]
    version: int


class Racing(RuleBasedStateMachine):
    """One venue, its API process and its owner, and the journal of what was acknowledged."""

    url: ClassVar[str]
    result: ClassVar[Result]
    tell = staticmethod(silent)

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(hear)
        self._admin: Any = connect(self.url)
        self._fate = Fate()
        self._sent: list[Sending] = []
        self._names = itertools.count()
        self._snapshots: list[Snapshot] = []
        self._fallen = False
        self._world: World

    @initialize(document=rules())
    def open(self, document: dict[str, Any]) -> None:
        """A venue with three runners."""
        self._world = World(self.url, self._admin, self._fate, document, warm=True)
        self._loop.run_until_complete(self._world.open())

    @rule(data=st.data(), after_ms=_AFTER_MS, crash=_CRASH, folded=_FOLDED)
    def send(self, data: st.DataObject, after_ms: int, crash: int | None, folded: bool) -> None:
        """A batch of events of any age."""
        self._world.let_pass(after_ms)
        events = data.draw(st.lists(event(self._world.now_ms, money=False), min_size=1, max_size=4))
        self._sent.append(Sending(f"key-{next(self._names)}", {"events": events}))
        self._do(self._sent[-1], crash, folded)

    @precondition(lambda self: self._sent)
    @rule(data=st.data(), after_ms=_AFTER_MS, crash=_CRASH, folded=_FOLDED)
    def send_again(self, data: st.DataObject, after_ms: int, crash: int | None, folded: bool) -> None:
        """A batch that was acknowledged before, under its key."""
        self._world.let_pass(after_ms)
        self._do(data.draw(st.sampled_from(self._sent)), crash, folded)

    @rule(document=rules(), number=st.integers(0, _RUNNERS_MAX), crash=_CRASH, folded=_FOLDED)
    def decide(self, document: dict[str, Any], number: int, crash: int | None, folded: bool) -> None:
        """One product more; or another rule, with other windows perhaps."""
        enrolled = sum(len(body.get("enrol", {})) for _, body in self._world.journal)
        if number < enrolled:
            self._do(Sending("", {"rule": document}), crash, folded)
            self.result.rule_changes += 1
        else:
            self._do(Sending("", {"enrol": {enrolled: {}}}), crash, folded)

    @rule(after_ms=_AFTER_MS, crash=_CRASH_OF_OWNER)
    def turn(self, after_ms: int, crash: int | None) -> None:
        """The owner reads, folds and commits."""
        self._remember()
        self._world.let_pass(after_ms)
        if self._fallen:  # what the server has lost its owner finds out when it next writes, at the latest now
            self._world.let_pass(HEARTBEAT_MS)
            self._fallen = False
        with self._fated(crash):
            self._world.turn()
        self._check()

    @precondition(lambda self: self._world.owner is not None)
    @rule(after_ms=_AFTER_MS)
    def paused_owner_goes_on(self, after_ms: int) -> None:
        """Another owner takes over and commits; the first goes on, and writes nothing."""
        paused, self._world.owner = self._world.owner, None
        self._world.let_pass(after_ms)
        self._world.turn()
        written = self._admin.get(KEYS.commit)
        assert paused is not None
        with contextlib.suppress(FencedError):
            record = paused.step(read_after(self._admin, KEYS, paused.race.position), self._world.now_ms + 1000)
            assert record is None, "an owner that is one no longer has committed"
        assert written == self._admin.get(KEYS.commit)
        self._check()

    @precondition(lambda self: self._snapshots)
    @rule(back=st.integers(1, 4))
    def fall_back(self, back: int) -> None:
        """A failover that lost the last writes: log, commit and keys are those of an earlier moment, all together."""
        snapshot = self._snapshots[-back:][0]
        self._admin.delete(*self._admin.keys("saima:*"))
        for key, dump in snapshot.keys.items():
            self._admin.restore(key, 0, dump)
        self._world.journal = list(snapshot.journal)
        self._world.version = snapshot.version
        self._fallen = True
        self.result.failovers += 1

    # -- what must hold --------------------------------------------------------------------------------

    def _do(self, sending: Sending, crash: int | None, folded: bool) -> None:
        self._remember()
        with self._fated(crash):
            self._loop.run_until_complete(self._world.send(sending))
        self.result.acknowledged += len(sending.body.get("events", []))
        if folded:
            self.turn(100, crash)

    def _remember(self) -> None:
        keys = {key: self._admin.dump(key) for key in self._admin.keys("saima:*")}
        self._snapshots.append(Snapshot(keys, list(self._world.journal), self._world.version))

    @contextlib.contextmanager
    def _fated(self, crash: int | None) -> Iterator[None]:
        self._fate.at = None if crash is None else self._fate.passed + crash
        self._fate.armed = True
        self.result.steps += 1
        yield
        self._fate.armed = False

    def _check(self) -> None:
        owner = self._world.owner
        assert owner is not None
        log = self._admin.xrange(KEYS.log)
        assert owner.race.position == Position.parse(log[-1][0])
        check_against(recounted(self._world.journal, log), owner.race)

    def _settle(self) -> None:
        for _ in range(_SETTLE_STEPS):
            self._world.let_pass(1000)
            self._world.turn()
            if self._world.complete():
                return
        raise AssertionError(f"not settled after {_SETTLE_STEPS} s")

    def teardown(self) -> None:
        """In the end everything that Redis shows is what the model says."""
        try:
            if hasattr(self, "_world"):
                self._end()
        finally:
            self._admin.close()
            self._loop.close()

    def _end(self) -> None:
        world = self._world
        try:
            self._settle()
            self._check()
            assert world.owner is not None
            seen, race = world.seen(), world.owner.race
            recount = recounted(world.journal, seen.log)
            expected = {
                (kind, runner): recount.sum(runner, (kind, "count"), "total")
                for kind in ("click", "order", "pay", "refund", "scan")
                for runner in recount.attributes
            }
            found = totals(seen)
            self.result.lost += sum(max(0, int(value) - found[name]) for name, value in expected.items())
            self.result.doubled += sum(max(0, found[name] - int(value)) for name, value in expected.items())
            assert +found == +Counter(expected)
            assert Track(self._admin, VENUE).sets() == sets_of(race)
            assert seen.frames[-1].slots == race.slots()
        finally:
            self.result.rounds += 1
            self.result.deaths += world.retries
            self.result.fenced += world.fenced
            if self.result.rounds % _TOLD_EVERY == 0:
                self.tell(f"{self.result.rounds} examples, {self.result.acknowledged} events acknowledged")
            self._loop.run_until_complete(world.end())


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, derandomize: bool = False) -> Result:
    """So many examples of up to _STEPS steps; the first failure, shrunk, is in the result. Hypothesis draws its own."""
    begun_s = time.monotonic()
    result = Result()
    chosen = settings(
        max_examples=rounds,
        stateful_step_count=_STEPS,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with our_clock() as url:
        machine = type("TestRacing", (Racing,), {"url": url, "result": result, "tell": staticmethod(tell)})
        try:
            run_state_machine_as_test(machine, settings=chosen)
        except Exception as exc:  # noqa: BLE001  # whatever is wrong is the result
            result.failure = "".join(traceback.format_exception(exc))[-6000:]
            tell(result.failure)
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; rounds are examples."""
    return run_from_command_line(
        "state_machine", run, arguments, rounds=LONG_EXAMPLES, about=__doc__, quick=QUICK_EXAMPLES
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
