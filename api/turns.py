"""Batches take turns with reads: between two looks at the sockets only so much work is done for senders.

A batch of a thousand events takes a millisecond, and a loop that has fifty of them before it would let a reader wait
for all. So what is more than a turn's work waits in a queue, in order; and where the queue has not moved for long, more
comes than this process works off: then a batch is refused as it comes, before any work is done for it.
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
LOOKS_MAX = 32
"""Looks at the sockets between two turns, while each finds a new connection: libuv takes one at a look, so that with a
single one a reader who came after a thousand senders waited 3 s to be taken."""
_FULL = OverloadedError("more batches come than this process works off: send again later")

Work = Callable[[], None]


class Turns:
    """The queue of one process. Cost of a batch on an idle process: two looks at a clock, one call put off."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, int, Work]] = deque()
        self._size = 0
        self._spent_s = 0.0
        self._awake = False
        self._looks = 0
        self._came = False

    def came(self) -> None:
        """Take note of a new connection: behind it others may wait."""
        self._came = True

    def why_not(self, size: int) -> OverloadedError | None:
        """Why no work is taken with which so many bytes wait, if it is not: too much waits already."""
        if not self._queue or (perf_counter() - self._queue[0][0] <= WAIT_MAX_S and self._size + size <= BYTES_MAX):
            return None
        return _FULL

    def take(self, work: Work, size: int) -> None:
        """Do the work now if this turn has room for it, else in its turn. size: bytes that wait with it.

        The work must not raise. Whether there is room is to be asked before.
        """
        if self._queue or self._spent_s >= TURN_S:
            self._queue.append((perf_counter(), size, work))
            self._size += size
            return
        begun_s = perf_counter()
        work()
        self._spent_s += perf_counter() - begun_s
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
