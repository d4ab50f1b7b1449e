"""One request again and again over keep-alive connections, in a process of its own, each answer noted apart."""

from __future__ import annotations

import json
import re
import selectors
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

from loadtests.wire import Address, Line

_GRACE_S = 5.0
_WAIT_MAX_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, over how many connections at most, how long, how often a second (None: as soon as one is answered).

    One more is made when something is due and none is free.
    """

    request: bytes
    connections: int
    seconds: float
    rate_per_s: float | None = None

    def parts(self, number: int) -> list[Plan]:
        """The same in so many parts of equal size, each for a process of its own."""
        rate = None if self.rate_per_s is None else self.rate_per_s / number
        return [replace(self, connections=self.connections // number, rate_per_s=rate)] * number


@dataclass(slots=True)
class Answers:
    """Every answer of a plan: its status, and how long after it was due and after it was sent it came, ms."""

    statuses: list[int] = field(default_factory=list)
    since_due_ms: list[float] = field(default_factory=list)
    since_sent_ms: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """What those that were refused were told, its numbers left out."""
    without_retry_after: int = 0
    unanswered: int = 0
    late: int = 0
    """Requests that were due and found no connection free when the time was up."""

    @classmethod
    def of_all(cls, parts: Iterable[Answers]) -> Answers:
        """The answers of several processes as those of one."""
        whole = cls()
        for part in parts:
            for each in fields(cls):
                setattr(whole, each.name, getattr(whole, each.name) + getattr(part, each.name))
        return whole

    def of(self, status: int) -> list[float]:
        """ms after sending of the answers with a status."""
        return [ms for found, ms in zip(self.statuses, self.since_sent_ms, strict=True) if found == status]


def flood(address: Address, plan: Plan) -> Answers:
    """Send as planned, then wait for what is under way. Raises OSError where the server is gone."""
    with selectors.DefaultSelector() as selector:
        run = _Run(address, plan, selector)
        while run.goes_on():
            run.ask()
            for key, mask in selector.select(run.wait_s()):
                run.heed(key.data, mask)
        return run.close()


class _Run:
    def __init__(self, address: Address, plan: Plan, selector: selectors.BaseSelector) -> None:
        self._address = address
        self._plan = plan
        self._broken = 0
        self._selector = selector
        self._lines: list[Line] = []
        self._idle: list[Line] = []
        self._sent_s: dict[Line, float] = {}
        self._sent = 0
        self._answers = Answers()
        self._start_s = time.monotonic()
        self._end_s = self._start_s + plan.seconds

    def goes_on(self) -> bool:
        """Whether something is due or under way."""
        now_s = time.monotonic()
        return now_s < self._end_s or (bool(self._sent_s) and now_s < self._end_s + _GRACE_S)

    def _due_s(self, now_s: float) -> float:
        rate = self._plan.rate_per_s
        return now_s if rate is None else self._start_s + self._sent / rate

    def ask(self) -> None:
        """Send what is due on the connections that are free."""
        now_s = time.monotonic()
        while self._has_room() and now_s < self._end_s and (due_s := self._due_s(now_s)) <= now_s:
            line = self._idle.pop() if self._idle else self._made()
            self._sent += 1
            self._sent_s[line] = now_s
            if not line.ask(self._plan.request, due_s):
                self._selector.modify(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._lines) < self._plan.connections

    def _made(self) -> Line:
        made = Line(self._address)
        self._selector.register(made.socket, selectors.EVENT_READ, made)
        self._lines.append(made)
        return made

    def wait_s(self) -> float:
        """How long nothing is due."""
        now_s = time.monotonic()
        if not self._has_room() or now_s >= self._end_s:
            return _WAIT_MAX_S
        return min(_WAIT_MAX_S, max(0.0, self._due_s(now_s) - now_s))

    def heed(self, line: Line, mask: int) -> None:
        """Go on with one connection; one that was idle for long is closed by the server, and made anew."""
        try:
            if mask & selectors.EVENT_WRITE and line.flush():
                self._selector.modify(line.socket, selectors.EVENT_READ, line)
            answer = line.answer() if mask & selectors.EVENT_READ else None
        except OSError:
            self._replace(line)
            return
        if answer is None:
            return
        now_s, (status, data) = time.monotonic(), answer
        answers = self._answers
        answers.statuses.append(status)
        answers.since_due_ms.append(1000 * (now_s - line.scheduled_s))
        answers.since_sent_ms.append(1000 * (now_s - self._sent_s.pop(line)))
        answers.without_retry_after += status == 503 and b"\r\nretry-after:" not in data.lower()
        if status >= 400:  # where refusals begin
            answers.reasons[_reason(data.partition(b"\r\n\r\n")[2])] += 1
        self._idle.append(line)

    def _replace(self, line: Line) -> None:
        self._broken += self._sent_s.pop(line, None) is not None
        self._selector.unregister(line.socket)
        line.close()
        self._lines.remove(line)
        self._idle = [*(each for each in self._idle if each is not line), self._made()]

    def close(self) -> Answers:
        """Hang up; what came of it."""
        self._answers.unanswered = len(self._sent_s) + self._broken
        if self._plan.rate_per_s is not None:
            self._answers.late = max(0, int(self._plan.rate_per_s * self._plan.seconds) - self._sent)
        for line in self._lines:
            line.close()
        return self._answers


@lru_cache(maxsize=64)
def _reason(body: bytes) -> str:
    return re.sub(r"[\d.]+", "#", str(json.loads(body)["detail"]))
