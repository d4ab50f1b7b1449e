"""Work in turns: in order, so much between two looks at the sockets, and refused where it would wait for long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from api.turns import BYTES_MAX, FULL_TURN_S, LOOKS_MAX, TURN_S, WAIT_MAX_S, Turns
from racing.errors import OverloadedError


class Clock:
    """Time that passes only by work."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("api.turns.perf_counter", made)
    return made


class Desk:
    """Notes what was done."""

    def __init__(self, clock: Clock) -> None:
        self.done: list[int] = []
        self._clock = clock

    def work(self, number: int, takes_s: float) -> Callable[[], None]:
        def do() -> None:
            self._clock.now_s += takes_s
            self.done.append(number)

        return do

    def fill(self, turns: Turns) -> int:
        """Let batches of a turn each come until one is refused; how many were taken."""
        number = 0
        while turns.why_not(100) is None:
            turns.take(self.work(number, TURN_S), 100)
            number += 1
        return number

    async def look(self, times: int = 1) -> None:
        """Let the loop look at its sockets."""
        for _ in range(times):
            await asyncio.sleep(0)


async def test_work_is_refused_that_would_wait_for_long(clock: Clock) -> None:
    """As long as what waits before it takes, by what such has taken so far."""
    turns, desk = Turns(), Desk(clock)
    number = desk.fill(turns)
    assert "send again later" in str(turns.why_not(100))
    assert (number - 1) * TURN_S == pytest.approx(WAIT_MAX_S, abs=1.01 * TURN_S)
    await desk.look(2)
    assert turns.why_not(100) is None
    await desk.look(number)
    assert desk.done == list(range(number))


async def test_what_comes_alone_is_never_refused(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    for number in range(3):
        assert turns.why_not(1) is None
        turns.take(desk.work(number, 10 * WAIT_MAX_S), 1)
        await desk.look(2)
    assert desk.done == [0, 1, 2]


class Senders:
    """Batches that come on schedule, whatever becomes of them."""

    def __init__(self, clock: Clock, takes_s: Callable[[float], float]) -> None:
        """takes_s: what a batch takes that is worked off at a moment."""
        self.turns, self._clock, self._takes_s = Turns(), clock, takes_s
        self.waited_s: list[tuple[float, float]] = []
        self.refused_s: list[float] = []
        self._due_s = 0.0

    def _worked_off(self, came_s: float) -> None:
        self._clock.now_s += self._takes_s(self._clock.now_s)
        self.waited_s.append((came_s, self._clock.now_s - came_s))

    async def send(self, seconds: float, apart_s: float, size: int = 40_000) -> None:
        """One at each moment that is so long after the last; a look at the sockets finds all that came meanwhile."""
        end_s = self._clock.now_s + seconds
        self._due_s = max(self._due_s, self._clock.now_s)
        while self._clock.now_s < end_s:
            while self._due_s <= self._clock.now_s:
                came_s, self._due_s = self._due_s, self._due_s + apart_s
                if self.turns.why_not(size) is None:
                    self.turns.take(partial(self._worked_off, came_s), size)
                else:
                    self.refused_s.append(came_s)
            before_s = self._clock.now_s
            await asyncio.sleep(0)
            if self._clock.now_s == before_s:  # nothing was left to do
                self._clock.now_s = self._due_s

    def longest_s(self, since_s: float) -> float:
        """The longest wait of those that came since."""
        return max(waited_s for came_s, waited_s in self.waited_s if came_s >= since_s)


@pytest.mark.parametrize("times", [1.5, 3, 10])
async def test_what_is_let_in_waits_no_longer_however_many_come(clock: Clock, times: float) -> None:
    """And as many are worked off as can be, evenly: in each tenth of a second some are refused and some are not."""
    takes_s = 0.002
    senders = Senders(clock, lambda _: takes_s)
    await senders.send(5.0, takes_s / times)
    assert senders.longest_s(0.0) <= WAIT_MAX_S + 3 * takes_s
    assert len(senders.waited_s) * takes_s >= 0.98 * clock.now_s
    for begin_s in np.arange(0.5, 4.8, 0.1):
        assert any(begin_s <= came_s < begin_s + 0.1 for came_s, _ in senders.waited_s)
        assert any(begin_s <= came_s < begin_s + 0.1 for came_s in senders.refused_s)


async def test_nothing_is_refused_that_can_be_worked_off(clock: Clock) -> None:
    rng = np.random.default_rng(1)
    senders = Senders(clock, lambda _: float(rng.exponential(0.002)))
    await senders.send(20.0, 0.002 / 0.8)
    assert senders.refused_s == []


@pytest.mark.parametrize(("paused_s", "at"), [(5.0, 0), (5.0, 5), (1.0, 5)])
async def test_a_pause_is_soon_forgotten(clock: Clock, paused_s: float, at: int) -> None:
    """Ten batches at once each second, 2 % of what can be worked off; the process was paused during one of them."""
    turns, refused = Turns(), []
    for second in range(5):
        clock.now_s += 1.0
        refused.append(0)
        for number in range(10):
            work = partial(clock.pass_s, paused_s if (second, number) == (0, at) else 0.002)
            if turns.why_not(40_000) is None:
                turns.take(work, 40_000)
            else:
                refused[-1] += 1
        for _ in range(12):
            await asyncio.sleep(0)
    assert refused[2:] == [0, 0, 0]


async def test_any_number_of_empty_ones_is_taken(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    for number in range(20_000):
        turns.take(desk.work(number, 0.0), 0)
    turns.take(desk.work(20_000, TURN_S), 0)
    turns.take(desk.work(20_001, TURN_S), 100)
    assert turns.why_not(100) is None
    await desk.look(2)
    assert desk.done == list(range(20_002))


@pytest.mark.parametrize("times", [0.1, 5])
async def test_how_fast_they_are_worked_off_may_change(clock: Clock, times: float) -> None:
    """Within half a second the waits are as they should be, and as many are taken."""
    senders = Senders(clock, lambda now_s: 0.002 if now_s < 2 else 0.002 * times)
    await senders.send(2.0, 0.002 / 3)
    changed_s = clock.now_s
    await senders.send(3.0, 0.002 * times / 3)
    assert senders.longest_s(changed_s + 0.5) <= WAIT_MAX_S * 1.1 + 3 * 0.002 * times
    late = sum(came_s >= changed_s + 0.5 for came_s, _ in senders.waited_s)
    assert late * 0.002 * times >= 0.9 * 2.5


async def test_no_more_bytes_wait_than_are_bounded(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    turns.take(desk.work(0, TURN_S), BYTES_MAX)
    turns.take(desk.work(1, TURN_S), BYTES_MAX - 1_001)  # each counts for some bytes more
    assert turns.why_not(1) is None
    turns.take(desk.work(2, TURN_S), 1)
    assert isinstance(turns.why_not(1), OverloadedError)
    await desk.look(2)
    assert desk.done == [0, 1, 2]
    assert turns.why_not(BYTES_MAX) is None


async def test_work_of_one_turn_is_bounded_and_the_rest_follows_in_order(clock: Clock) -> None:
    """Ten batches of 0.4 turns each: three at once, and three after each look at the sockets."""
    turns, desk = Turns(), Desk(clock)
    for number in range(10):
        turns.take(desk.work(number, 0.4 * TURN_S), 1)
    done = [len(desk.done)]
    for _ in range(3):
        await desk.look()
        done.append(len(desk.done))
    assert done == [3, 6, 9, 10]
    assert desk.done == list(range(10))


async def test_turns_are_longer_while_the_queue_is_nearly_full(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    number = desk.fill(turns)
    done = [len(desk.done)]
    while len(desk.done) < number:
        await desk.look()
        done.append(len(desk.done))
    steps = np.diff(done).tolist()
    assert set(steps[1:10]) == {math.ceil(FULL_TURN_S / TURN_S)}
    assert set(steps[-20:]) == {1}


async def test_work_waits_while_new_connections_come_but_not_for_long(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    for number in range(2):
        turns.take(desk.work(number, TURN_S), 1)
    turns.came()
    await desk.look()
    assert desk.done == [0]
    await desk.look()
    assert desk.done == [0, 1]
    for number in (2, 3):
        turns.take(desk.work(number, TURN_S), 1)
    for _ in range(LOOKS_MAX + 2):
        turns.came()
        await desk.look()
    assert desk.done == [0, 1, 2, 3]


async def test_light_work_is_done_at_once(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    for number in range(5):
        turns.take(desk.work(number, 0.01 * TURN_S), 1)
    assert len(desk.done) == 5
    await desk.look(2)
    turns.take(desk.work(5, 0.01 * TURN_S), 1)
    assert len(desk.done) == 6
