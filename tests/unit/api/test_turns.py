"""Work in turns: in order, so much between two looks at the sockets, and refused when the queue does not move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from api.turns import BYTES_MAX, LOOKS_MAX, TURN_S, WAIT_MAX_S, Turns
from racing.errors import OverloadedError


class Clock:
    """Time that passes only by work."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


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

    async def look(self, times: int = 1) -> None:
        """Let the loop look at its sockets."""
        for _ in range(times):
            await asyncio.sleep(0)


async def test_work_is_refused_while_the_first_in_the_queue_has_waited_long(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    turns.take(desk.work(0, TURN_S), 1)
    turns.take(desk.work(1, TURN_S), 1)
    assert turns.why_not(1) is None
    clock.now_s += WAIT_MAX_S * 1.01
    assert "send again later" in str(turns.why_not(1))
    await desk.look()
    assert desk.done == [0, 1]
    assert turns.why_not(1) is None


async def test_no_more_bytes_wait_than_are_bounded(clock: Clock) -> None:
    turns, desk = Turns(), Desk(clock)
    turns.take(desk.work(0, TURN_S), BYTES_MAX)
    turns.take(desk.work(1, TURN_S), BYTES_MAX - 1)
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
