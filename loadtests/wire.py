"""The load generator: requests over keep-alive sockets, closed loop or open loop, in one thread.

Closed loop: every connection asks again as soon as it is answered. Open loop: request k is due at k / rate after
the start whatever became of those before it, and its latency counts from when it was due, so that a server that
stalls is charged for all who had to wait. About 10 us of the generator's CPU a request.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

Address = tuple[str, int]

GRACE_S = 5.0
"""How long answers are waited for when the time is up."""
ROWS_MAX = 5_000_000
"""Latencies kept of one run; requests beyond are counted only."""
_RECEIVE_BYTES = 1 << 20
_LAST_WAIT_S = 0.05
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_POSITION = re.compile(rb'"position":"(\d+)-(\d+)"')
_NO_BODY = {204, 304}

Position = tuple[int, int]
"""(ms, seq) of a log position."""


def position_in(body: bytes) -> Position | None:
    """The first log position that a JSON answer names."""
    found = _POSITION.search(body)
    return (int(found[1]), int(found[2])) if found else None


class Line:
    """One connection with at most one request under way. Raises OSError where the server is gone."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.scheduled_s = 0.0
        self._out = memoryview(b"")
        self._in = b""
        self.socket = self._connected()

    def _connected(self) -> socket.socket:
        made = socket.create_connection(self._address, timeout=5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)  # noqa: FBT003  # the standard library's own signature
        return made

    def ask(self, request: bytes, scheduled_s: float) -> bool:
        """Begin a request; whether all of it is on its way, else call flush when the socket can be written.

        Never raises: a connection that the server has closed tells so when it is written or read next.
        """
        self.scheduled_s = scheduled_s
        self._out = memoryview(request)
        try:
            return self.flush()
        except OSError:
            return False

    def flush(self) -> bool:
        """Send what is left of the request; whether nothing is left."""
        try:
            while self._out:
                self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            return False
        return True

    def answer(self) -> tuple[int, bytes] | None:
        """(status, whole response) once all of it is here. Raises ConnectionError where the server hung up."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionError("the server closed the connection before it answered")
        if self._in:
            data = self._in + data
        whole = response_bytes(data)
        if whole is None or len(data) < whole:
            self._in = data
            return None
        self._in = b""
        return int(data[9:12]), data

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def response_bytes(data: bytes) -> int | None:
    """Length of the response that begins here, head included; None while its head is not complete."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    if int(data[9:12]) in _NO_BODY:
        return head_end + 4
    found = _LENGTH.search(data, 0, head_end + 2)
    return head_end + 4 + (int(found[1]) if found else 0)


@dataclass
class Tally:
    """What came of a run."""

    seconds: float = 0.0
    sent: int = 0
    unsent: int = 0
    unanswered: int = 0
    broken: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    refusal: str = ""
    slips_s: array[float] = field(default_factory=lambda: array("d"))
    """How much later than due requests left although a connection was free: the generator's own fault."""
    scheduled_s: array[float] = field(default_factory=lambda: array("d"))
    answered_s: array[float] = field(default_factory=lambda: array("d"))
    positions: list[Position | None] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Requests and latencies (ms, from when each was due) as numbers for a result."""
        found: dict[str, float] = {
            "requests": self.sent,
            "requests_per_s": round(len(self.answered_s) / self.seconds, 1) if self.seconds else 0.0,
            "unsent": self.unsent,
            "unanswered": self.unanswered,
            "broken": self.broken,
        }
        if len(self.answered_s):
            late_ms = 1000 * (np.array(self.answered_s) - np.array(self.scheduled_s))
            for percent in (50, 99):
                found[f"p{percent}_ms"] = round(float(np.percentile(late_ms, percent)), 3)
        if len(self.slips_s):
            found["slip_p99_ms"] = round(1000 * float(np.percentile(np.array(self.slips_s), 99)), 3)
        return found


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to go on, at which rate (None: closed loop), and whether to read the positions in the answers."""

    seconds: float
    rate_per_s: float | None = None
    positions: bool = False


class Generator:
    """So many connections to one server."""

    def __init__(self, address: Address, connections: int) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._lines = {self._line() for _ in range(connections)}

    def _line(self) -> Line:
        line = Line(self._address)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        return line

    def close(self) -> None:
        """Hang up all."""
        for line in self._lines:
            line.close()
        self._selector.close()

    def run(self, requests: Iterator[bytes], pace: Pace) -> Tally:
        """Ask until the time is up, then wait for what is under way, or was due and is not sent, at most GRACE_S.

        Raises OSError where the server no longer takes connections.
        """
        for line in list(self._lines):
            self._replaced(line)  # those that were idle for long may have been closed
        run = _Run(requests, pace, list(self._lines))
        while True:
            now_s = time.monotonic()
            for line in run.ask(now_s):
                self._selector.modify(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)
            if now_s >= run.end_s and (len(run.idle) == len(self._lines) or now_s > run.end_s + GRACE_S):
                break
            for key, mask in self._selector.select(run.wait_s()):
                self._heed(run, key.data, mask)
        run.finish(len(self._lines))
        return run.tally

    def _heed(self, run: _Run, line: Line, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE and line.flush():
                self._selector.modify(line.socket, selectors.EVENT_READ, line)
            answer = line.answer() if mask & selectors.EVENT_READ else None
        except OSError:
            if line in run.idle:
                run.idle.remove(line)  # closed for having nothing to ask for too long: no harm done
            else:
                run.tally.broken += 1
            run.idle.append(self._replaced(line))
            return
        if answer is not None:
            run.idle.append(line)
            run.note(line.scheduled_s, answer)

    def _replaced(self, line: Line) -> Line:
        self._selector.unregister(line.socket)
        line.close()
        made = self._line()
        self._lines.remove(line)
        self._lines.add(made)
        return made


class _Run:
    """One run: what is due, who is free to ask it, and what came of it."""

    def __init__(self, requests: Iterator[bytes], pace: Pace, idle: list[Line]) -> None:
        self._requests = requests
        self._pace = pace
        self.idle = idle
        self.tally = Tally()
        self.start_s = time.monotonic()
        self.end_s = self.start_s + pace.seconds
        self._free = True  # whether a connection was free while we waited: else the service made us late

    def _due_s(self, now_s: float) -> float:
        """When the next request is due: in a closed loop at once."""
        rate = self._pace.rate_per_s
        return now_s if rate is None else self.start_s + self.tally.sent / rate

    def ask(self, now_s: float) -> Iterator[Line]:
        """Send what is due on the connections that are free; yields those that could not send all of it yet."""
        while self.idle:
            due_s = self._due_s(now_s)
            if due_s > now_s or due_s >= self.end_s:
                return
            line = self.idle.pop()
            self.tally.sent += 1
            if self._free and len(self.tally.slips_s) < ROWS_MAX:
                self.tally.slips_s.append(now_s - due_s)
            if not line.ask(next(self._requests), due_s):
                yield line

    def note(self, scheduled_s: float, answer: tuple[int, bytes]) -> None:
        """Count one answer."""
        tally, (status, data) = self.tally, answer
        tally.statuses[status] += 1
        if status >= 400 and not tally.refusal:
            tally.refusal = data.partition(b"\r\n\r\n")[2][:400].decode(errors="replace")
        if len(tally.answered_s) < ROWS_MAX:
            tally.scheduled_s.append(scheduled_s)
            tally.answered_s.append(time.monotonic())
            if self._pace.positions:
                tally.positions.append(position_in(data))

    def wait_s(self) -> float:
        """How long to wait for answers: until the next request is due, where a connection is free for it."""
        now_s = time.monotonic()
        self._free = bool(self.idle)
        if now_s >= self.end_s:
            return _LAST_WAIT_S
        return max(0.0, min(self.end_s, self._due_s(now_s) if self.idle else self.end_s) - now_s)

    def finish(self, connections: int) -> None:
        """Settle the tally. Closed loop: up to the last answer; open loop: the planned time."""
        pace, tally = self._pace, self.tally
        tally.seconds = time.monotonic() - self.start_s if pace.rate_per_s is None else pace.seconds
        tally.unanswered = connections - len(self.idle)
        if pace.rate_per_s is not None:
            tally.unsent = max(0, int(pace.rate_per_s * pace.seconds) - tally.sent)
