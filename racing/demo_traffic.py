"""The demo's shoppers: made-up demand sent to a running service over HTTP, as any event source would.

Nothing is sent twice by mistake and nothing is lost while the service restarts: every batch has an
Idempotency-Key and is sent again, unchanged, until it is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx2
import msgspec

from racing.demand import DEMO, KINDS, ORDER, Demand
from racing.errors import RacingError
from racing.rule import DEFAULT_RULE, Rule

VENUE, TITLE = "demo", "Night market"
STEP_MS = 200
CATCH_UP_MS = 10_000
"""After a pause, or while the service is away, older happenings are left out: the demo does not pile up work."""
BATCH_MAX = 500
ENROL_MAX = 1000
"""The service's own bound on one enrolment."""
_ACCESS = {"details_public": True, "beacon_kinds": ["impression", "click"]}
"""The page is there to show what drives the race; the storefront tells what is seen there."""
_RETRY_S = (0.2, 5.0)
"""Shortest and longest wait before a request is sent again."""
_AGAIN = {429, 503}
_EXISTS = 409
_TIMEOUT_S = 10.0

Sleep = Callable[[float], object]
_encode = msgspec.json.Encoder().encode


class TrafficRefusedError(RacingError):
    """The service answered the demo's traffic with an error that sending it again would not mend."""


def demo_rule() -> Rule:
    """The default rule with a short window, so that a race that has just begun is lively at once."""
    return DEFAULT_RULE.model_copy(update={"window_s": 60, "bucket_s": 2, "lateness_s": None})


def runner_docs(demand: Demand) -> list[dict[str, Any]]:
    """Every product as a runner to enrol, in the order of ``demand.goods``."""
    return [
        {
            "product": good.product,
            "merchant": good.merchant,
            "title": good.title,
            "category": good.category,
            "price": good.price,
        }
        for good in demand.goods
    ]


def event_docs(demand: Demand, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """What happens in [start_ms, end_ms) as events for POST, by time; orders and payments carry ids."""
    happened = demand.events(start_ms, end_ms)
    columns = (happened.kind, happened.product, happened.time_ms, happened.user, happened.amount, happened.serial)
    docs = []
    for kind, product, time_ms, user, amount, serial in zip(*(column.tolist() for column in columns), strict=True):
        doc = {
            "type": KINDS[kind],
            "product": demand.goods[product].product,
            "ts_ms": time_ms,
            "user": f"u{user}",
        }
        if kind >= ORDER:
            doc |= {"amount": amount, "id": f"{demand.seed}-{serial:x}"}
        docs.append(doc)
    return docs


def race(url: str, *, seed: int, products: int, halt: Event, headers: dict[str, str] | None = None) -> None:
    """Race the demo venue of the service at url until halt is set. Raises TrafficRefusedError.

    headers: those of every request, such as a key.
    """
    demand = Demand(products, seed, opening_ms=_now_ms(), market=DEMO)
    with httpx2.Client(base_url=url, timeout=_TIMEOUT_S, headers=headers) as client:
        send(client, VENUE, demand, halt)


def send(
    client: httpx2.Client,
    venue: str,
    demand: Demand,
    halt: Event,
    *,
    clock_ms: Callable[[], int] | None = None,
    sleep: Sleep | None = None,
) -> int:
    """Create and fill the venue, then send every 200 ms what has happened since, until halt is set.

    client: its base_url is the service; headers such as a key are its own. Returns how many events the
    service has answered for. Requests are repeated on 429, 503 and while there is no connection; after more
    than CATCH_UP_MS what is older is left out. Raises TrafficRefusedError on any other error answer.
    """
    clock_ms = clock_ms or _now_ms
    line = _Line(client, halt, sleep or halt.wait)
    _open(line, venue, demand)
    sent, upto_ms = 0, clock_ms()
    while not halt.is_set():
        line.sleep(STEP_MS / 1000)
        start_ms, upto_ms = upto_ms, max(upto_ms, clock_ms())  # a clock set back must not tell anything twice
        for number, body in enumerate(_batches(demand, max(start_ms, upto_ms - CATCH_UP_MS), upto_ms)):
            key = f"{venue}-{demand.seed}-{upto_ms}-{number}"
            if line.post(f"/v1/venues/{venue}/events", body.data, key=key):
                sent += body.events
    return sent


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _open(line: _Line, venue: str, demand: Demand) -> None:
    rule = demo_rule().model_dump(mode="json", exclude_none=True)
    line.post("/v1/venues", _encode({"venue": venue, "title": TITLE, "rule": rule, "access": _ACCESS}), fine=_EXISTS)
    for some in _parts(runner_docs(demand), ENROL_MAX):
        line.post(f"/v1/venues/{venue}/runners/bulk", _encode({"runners": some}))


@dataclass(frozen=True, slots=True)
class _Body:
    data: bytes
    events: int


def _batches(demand: Demand, start_ms: int, end_ms: int) -> Iterator[_Body]:
    for some in _parts(event_docs(demand, start_ms, end_ms), BATCH_MAX):
        yield _Body(_encode({"events": some}), len(some))


def _parts(docs: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    return (docs[start : start + size] for start in range(0, len(docs), size))


@dataclass(frozen=True, slots=True)
class _Line:
    """The connection to the service: posts until there is an answer, or until halt is set."""

    client: httpx2.Client
    halt: Event
    sleep: Sleep

    def post(self, path: str, body: bytes, *, key: str | None = None, fine: int | None = None) -> bool:
        """Whether it was answered well, ``fine`` included; False if halt came first. Raises TrafficRefusedError."""
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        wait_s = _RETRY_S[0]
        while not self.halt.is_set():
            try:
                response = self.client.post(path, content=body, headers=headers)
            except httpx2.TransportError:
                self.sleep(wait_s)
            else:
                if response.is_success or response.status_code == fine:
                    return True
                if response.status_code not in _AGAIN:
                    raise TrafficRefusedError(f"POST {path}: {response.status_code} {response.text[:300]}")
                self.sleep(max(wait_s, _retry_after_s(response)))
            wait_s = min(2 * wait_s, _RETRY_S[1])
        return False


def _retry_after_s(response: httpx2.Response) -> float:
    """What Retry-After asks for, bounded; 0 where it gives no number of seconds."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _RETRY_S[1]) if asked.isdigit() else 0.0
