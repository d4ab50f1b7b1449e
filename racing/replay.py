"""Replay: recorded events sent to a running service, shifted to now and compressed by a speed.

It speaks HTTP as any event source does. Every batch has an Idempotency-Key and is sent again, unchanged, until it
is answered, so that what is accepted is counted once whatever restarts on the way.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import httpx2
import msgspec
import numpy as np

from racing.backtest import MERCHANT
from racing.model import ID_PATTERN, FloatArray
from racing.recorded import Recorded
from racing.resending import Clock, Line, ReplayError, steady_clock

TICK_S = 0.05
"""What has become due is collected this often."""
BATCH_MAX = 500
"""Events of one request: half of what the service takes."""
ENROL_MAX = 1000
"""Runners of one request, the service's own bound; also its longest page."""
SLOT_MAX = 10_000
"""Positions beyond it are no slots that the service knows."""
TEXT_MAX = 200
"""Longest category that the service takes."""
SAMPLES_MAX = 5
"""Refused events that are told in words; the others are only counted."""
_EXISTS = 409
_REPORT_S = 1.0
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to replay where. run names this replay in its Idempotency-Keys."""

    venue: str
    speed: float = 1.0
    give_up_after_s: float = 60.0
    run: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the replay is: runners while it enrols, rows while it sends.

    refused: number by the service's code. eta_s: seconds to the end at the speed asked for, longer where the
    service takes events more slowly; None while it enrols.
    """

    phase: Literal["enrol", "send"]
    done: int
    total: int
    accepted: int = 0
    duplicate: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    events_per_s: float = 0.0
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the replay: sent = accepted + duplicate + all that was refused.

    enrolled: products that the venue did not have. samples: the first refusals in words. retries: requests that
    were sent again. position: the log entry of the last batch of which anything was accepted.
    """

    venue: str
    enrolled: int
    sent: int
    accepted: int
    duplicate: int
    refused: dict[str, int]
    samples: tuple[str, ...]
    batches: int
    retries: int
    seconds: float
    position: str | None


def replay(
    client: httpx2.Client,
    recorded: Recorded,
    plan: Plan,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Summary:
    """Create and fill the venue where it is missing, then send every row when its time has come.

    client: its base_url is the service; headers such as a key are its own. A row's time is the start of sending
    plus its distance from the first row over plan.speed; rows go in order of time. Products that are enrolled
    already are left as they are. Requests are repeated with the same body and key on 429, 502, 503, 504 and
    while there is no connection, for at most plan.give_up_after_s each.
    Raises ReplayError. What was answered before it stays counted.
    """
    _check(recorded, plan)
    clock = clock or steady_clock()
    line = Line(client, plan.give_up_after_s, clock, sleep)
    report = on_progress or (lambda _: None)
    enrolled = _enrol(line, recorded, plan.venue, report)
    return _Sending(line, recorded, plan, enrolled).run(report)


def _check(recorded: Recorded, plan: Plan) -> None:
    if not re.fullmatch(ID_PATTERN, plan.venue):
        raise ReplayError(f"venue {plan.venue!r}: 1 to 64 letters, digits, dots, underscores or hyphens")
    if not 0 < plan.speed < float("inf"):
        raise ReplayError(f"a speed of {plan.speed} cannot be: give a number above 0, for example 60")
    if not len(recorded):
        raise ReplayError("the file has no event to send: every row was refused, or there is none")


def _enrol(line: Line, recorded: Recorded, venue: str, report: Callable[[Progress], None]) -> int:
    """How many products were enrolled: those that the venue did not have, in order of first appearance."""
    made = line.ask("POST", "/v1/venues", _encode({"venue": venue, "title": venue}), fine=_EXISTS)
    known = _products_of(line, venue) if made.status_code == _EXISTS else set()
    docs = [doc for doc in _runner_docs(recorded) if doc["product"] not in known]
    for start in range(0, len(docs), ENROL_MAX):
        report(Progress("enrol", start, len(docs)))
        some = docs[start : start + ENROL_MAX]
        line.ask("POST", f"/v1/venues/{venue}/runners/bulk", _encode({"runners": some}))
    report(Progress("enrol", len(docs), len(docs)))
    return len(docs)


def _products_of(line: Line, venue: str) -> set[str]:
    """The products that are enrolled: their data is the venue's own, not to be replaced by a file's."""
    found: set[str] = set()
    cursor: str | None = "0"
    while cursor is not None:
        path = f"/v1/venues/{venue}/runners?limit={ENROL_MAX}&cursor={cursor}"
        page = line.read(line.ask("GET", path), _Page)
        found.update(runner.product for runner in page.runners)
        cursor = page.next_cursor
    return found


class _Enrolled(msgspec.Struct):
    product: str


class _Page(msgspec.Struct):
    runners: list[_Enrolled]
    next_cursor: str | None = None


def _runner_docs(recorded: Recorded) -> list[dict[str, Any]]:
    """A runner to enrol per product; category and price are those of its first row that has one."""
    docs = [{"product": product, "merchant": MERCHANT, "title": product} for product in recorded.products]
    rows = zip(recorded.product.tolist(), recorded.category, recorded.amount.tolist(), strict=True)
    for number, category, amount in rows:
        if category and len(category) <= TEXT_MAX:
            docs[number].setdefault("category", category)
        if amount:
            docs[number].setdefault("price", amount)
    return docs


class _Refused(msgspec.Struct):
    index: int
    reason: str
    code: str = ""


class _Answer(msgspec.Struct):
    accepted: int
    duplicate: int
    refused: list[_Refused]
    position: str | None = None


class _Sending:
    """The rows by time, when each is due, and what has become of those sent."""

    def __init__(self, line: Line, recorded: Recorded, plan: Plan, enrolled: int) -> None:
        self._line, self._recorded, self._plan, self._enrolled = line, recorded, plan, enrolled
        self._order = np.argsort(recorded.ts_ms, kind="stable")
        passed_ms = recorded.ts_ms[self._order] - int(recorded.ts_ms.min())
        self._due_s: FloatArray = passed_ms / 1000 / plan.speed
        self._start_s = line.clock()
        self._asked_s = 0.0
        self._sent = self._batches = 0
        self._accepted = self._duplicate = 0
        self._refused: Counter[str] = Counter()
        self._samples: list[str] = []
        self._position: str | None = None

    def run(self, report: Callable[[Progress], None]) -> Summary:
        """Send all rows, each when it is due."""
        total = len(self._due_s)
        while self._sent < total:
            due = int(np.searchsorted(self._due_s, self._passed_s(), side="right"))
            if self._sent < due:
                self._send(min(due, self._sent + BATCH_MAX))
            if due <= self._sent < total:
                wait_s = float(self._due_s[self._sent]) - self._passed_s()
                self._line.sleep(max(TICK_S, min(wait_s, _REPORT_S)))
            report(self._progress())
        return self._summary()

    def _passed_s(self) -> float:
        return self._line.clock() - self._start_s

    def _send(self, end: int) -> None:
        """Send the rows up to end as one batch, and take note of the answer."""
        body = _encode({"events": self._docs(end)})
        key = f"{self._plan.run}-{self._sent}"
        begun_s = self._line.clock()
        response = self._line.ask("POST", f"/v1/venues/{self._plan.venue}/events", body, key=key)
        answer = self._line.read(response, _Answer)
        self._sent, self._batches = end, self._batches + 1
        self._asked_s += self._line.clock() - begun_s
        self._accepted += answer.accepted
        self._duplicate += answer.duplicate
        self._refused.update(each.code or each.reason for each in answer.refused)
        self._samples += [each.reason for each in answer.refused][: SAMPLES_MAX - len(self._samples)]
        self._position = answer.position or self._position

    def _docs(self, end: int) -> list[dict[str, Any]]:
        recorded, rows = self._recorded, self._order[self._sent : end]
        start_ms = round(1000 * self._start_s)
        docs = []
        for row, due_s in zip(rows.tolist(), self._due_s[self._sent : end].tolist(), strict=True):
            doc: dict[str, Any] = {
                "type": recorded.kinds[recorded.kind[row]],
                "product": recorded.products[recorded.product[row]],
                "ts_ms": start_ms + int(1000 * due_s),
            }
            given = {"user": recorded.user[row], "amount": int(recorded.amount[row]), "slot": self._slot(row)}
            docs.append(doc | {name: value for name, value in given.items() if value})
        return docs

    def _slot(self, row: int) -> int | None:
        position = self._recorded.position[row] or ""
        slot = int(position) if re.fullmatch("[0-9]{1,5}", position) else 0
        return slot if 1 <= slot <= SLOT_MAX else None

    def _progress(self) -> Progress:
        passed_s = self._passed_s()
        return Progress(
            phase="send",
            done=self._sent,
            total=len(self._due_s),
            accepted=self._accepted,
            duplicate=self._duplicate,
            refused=dict(self._refused),
            events_per_s=self._sent / passed_s if passed_s > 0 else 0.0,
            eta_s=self._eta_s(passed_s),
        )

    def _eta_s(self, passed_s: float) -> float:
        """Seconds until the last row is due, and what answers to the rows overdue will take beyond that."""
        overdue = int(np.searchsorted(self._due_s, passed_s, side="right")) - self._sent
        asking_s = overdue * self._asked_s / self._sent if self._sent else 0.0
        return max(float(self._due_s[-1]) - passed_s, 0.0) + asking_s

    def _summary(self) -> Summary:
        return Summary(
            venue=self._plan.venue,
            enrolled=self._enrolled,
            sent=self._sent,
            accepted=self._accepted,
            duplicate=self._duplicate,
            refused=dict(self._refused),
            samples=tuple(self._samples),
            batches=self._batches,
            retries=self._line.retries,
            seconds=self._passed_s(),
            position=self._position,
        )
