"""Batches take turns with reads: between two looks at the sockets only so much work is done for senders.

A batch of a thousand events takes a millisecond, and a loop that has fifty of them before it would let a reader wait
for all. So what is more than a turn's work waits in a queue, in order; and where the queue has not moved for long, more
comes than this process works off: then a batch is refused before any work is done for it.
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
WAIT_MAX_S = 0.1
"""No batch is let into a queue whose first one has waited so long."""
BYTES_MAX = 64 * 1024 * 1024
"""Bodies that wait together."""

Work = Callable[[], None]


class Turns:
    """The queue of one process. Cost of a batch on an idle process: two looks at a clock, one call put off."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, int, Work]] = deque()
        self._size = 0
        self._spent_s = 0.0
        self._awake = False

    def take(self, work: Work, size: int) -> None:
        """Do the work now if this turn has room for it, else in its turn. size: bytes that wait with it.

        The work must not raise. Raises OverloadedError where too much waits already; then nothing is done.
        """
        if self._queue or self._spent_s >= TURN_S:
            self._put(work, size)
            return
        begun_s = perf_counter()
        work()
        self._spent_s += perf_counter() - begun_s
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _put(self, work: Work, size: int) -> None:
        now_s = perf_counter()
        waited_s = now_s - self._queue[0][0] if self._queue else 0.0
        if waited_s > WAIT_MAX_S or self._size + size > BYTES_MAX:
            raise OverloadedError("more batches come than this process works off: send again later")
        self._queue.append((now_s, size, work))
        self._size += size

    def _turn(self) -> None:
        """A new turn: what waits first, as far as it goes."""
        begun_s = perf_counter()
        self._spent_s = 0.0
        while self._queue and self._spent_s < TURN_S:
            _, size, work = self._queue.popleft()
            self._size -= size
            work()
            self._spent_s = perf_counter() - begun_s
        self._awake = bool(self._queue)
        if self._awake:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._spent_s = 0.0
