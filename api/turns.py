"""Batches take turns with reads: between two looks at the sockets only so much work is done for senders.

A batch of a thousand events takes a millisecond, and a loop that has fifty of them before it would let a reader wait
for all. So what is more than a turn's work waits in a queue, in order; and where the queue is so long that another one
would wait for long, more comes than this process works off: then that one is refused as it comes, before any work is
done for it. How long it would wait is told by the bytes before it, and by how long bytes took lately: from when they
came, whatever else took time meanwhile; of batches that did not have to wait, the work alone.

(How long the first in the queue has waited tells it too late: twice a second all were let in until that was long, and
then none until all of them were done, half a second later.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from racing.errors import OverloadedError

TURN_S = 0.001
"""Work of one turn: the batch during which it is over is still taken. A quarter of it made each batch of 500 events
a turn of its own, and cost 5 to 9 % of an event (ingest_json_500)."""
FULL_TURN_S = 0.0025
"""The same while the queue is nearly full: each look finds batches to refuse then, and a refusal after each batch that
is taken costs half as much again as several at once. In alternating floods of three times the load 7 to 9 % more was
worked off by two batches a turn than by one."""
WAIT_MAX_S = 0.1
"""No batch is let into a queue in which it would, by all that is known, wait longer for its turn."""
_DECAY, _DECAY_S = 1 - 1 / 16, 0.01
"""What each batch, and each 10 ms, leaves of the weight of those before, in telling how fast they are worked off. By
batches alone a process that was paused for 5 s refused most of what came in bursts for 20 s."""
_EACH_BYTES = 1_000
"""What a batch counts for besides its body: one of a single event costs as much as 1.5 to 6 kB of a large one. The low
side of that, so that no large one is refused for it."""
BYTES_MAX = 64 * 1024 * 1024
"""Bodies that wait together."""
LOOKS_MAX = 32
"""Looks at the sockets between two turns, while each finds a new connection: libuv takes one at a look, so that with a
single one a reader who came after a thousand senders waited 3 s to be taken."""
_FULL = OverloadedError("more batches come than this process works off: send again later")

Work = Callable[[], None]


class Turns:
    """The queue of one process. Cost of a batch on an idle process: two looks at a clock, one call put off."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, int, int, Work]] = deque()
        self._size = 0
        self._waited_s = 0.0
        self._waited_size = 1.0
        self._noted_s = 0.0
        self._spent_s = 0.0
        self._awake = False
        self._looks = 0
        self._came = False

    def came(self) -> None:
        """Take note of a new connection: behind it others may wait."""
        self._came = True

    def why_not(self, size: int) -> OverloadedError | None:
        """Why no work is taken with which so many bytes wait, if it is not: too much waits already."""
        if not self._queue or (self.wait_s() <= WAIT_MAX_S and self._size + size <= BYTES_MAX):
            return None
        return _FULL

    def wait_s(self) -> float:
        """How long work would wait that came now, by how long bytes have waited for those before them."""
        return self._size * self._waited_s / self._waited_size

    def _note(self, now_s: float, waited_s: float, size: int) -> None:
        """Take note that so many bytes took so long, up to now, from when the last of them came."""
        left = _DECAY ** max(1.0, (now_s - self._noted_s) / _DECAY_S)
        self._waited_s = left * self._waited_s + waited_s
        self._waited_size = left * self._waited_size + size
        self._noted_s = now_s

    def take(self, work: Work, size: int) -> None:
        """Do the work now if this turn has room for it, else in its turn. size: bytes that wait with it.

        The work must not raise. Whether there is room is to be asked before.
        """
        size += _EACH_BYTES
        if self._queue or self._spent_s >= TURN_S:
            self._size += size
            self._queue.append((perf_counter(), size, self._size, work))
            return
        begun_s = perf_counter()
        work()
        done_s = perf_counter()
        self._spent_s += done_s - begun_s
        self._note(done_s, done_s - begun_s, size)
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """A new turn, when the sockets have been looked at: what waits first, as far as it goes."""
        if self._came and self._queue and self._looks < LOOKS_MAX:
            self._came = False
            self._looks += 1
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._looks = 0
        turn_s = FULL_TURN_S if self.wait_s() > WAIT_MAX_S / 2 else TURN_S
        begun_s = perf_counter()
        self._spent_s = 0.0
        while self._queue and self._spent_s < turn_s:
            came_s, size, waited_size, work = self._queue.popleft()
            self._size -= size
            work()
            done_s = perf_counter()
            self._spent_s = done_s - begun_s
            self._note(done_s, done_s - came_s, waited_size)
        self._awake = bool(self._queue)
        if self._awake:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._spent_s = 0.0
