"""Event sources that never give up, and the journal from which what must have been counted is counted again.

Each batch is sent, with one Idempotency-Key, until it is answered 202. The journal holds what the senders know
and nothing that Saima says, and its recount is plain dicts: the two can only agree if Saima is right.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests import asking

KINDS = ("click", "click", "click", "cart", "order", "pay")
_TIMEOUT_S = 3.0
_IMPATIENT, _IMPATIENT_S = 0.1, 0.005
"""Share of batches whose sender hangs up before it has read the answer, and how soon: most are in the log by then."""
_PAUSE_S = 0.05
"""Between two tries."""
_BREATH_S = 0.01
"""Between two batches, so that senders leave the processor to what they test."""
_ID_SHARE = 0.3
_POOL_MAX = 400
_FIELDS = ("type", "product", "amount", "id", "ts_ms")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is sent."""

    type: str
    product: str
    amount: int | None = None
    id: str | None = None
    ts_ms: int | None = None

    def json(self) -> dict[str, Any]:
        """Its fields as they stand in a batch."""
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}


@dataclass
class Journal:
    """Every event of every acknowledged batch, and the pools from which senders send again and refund."""

    acknowledged: list[tuple[Event, ...]] = field(default_factory=list)
    moments_s: list[float] = field(default_factory=list)
    """When each batch was acknowledged, on the monotonic clock."""
    troubles: list[str] = field(default_factory=list)
    retries: int = 0
    issued: deque[Event] = field(default_factory=lambda: deque(maxlen=_POOL_MAX))
    paid: deque[Event] = field(default_factory=lambda: deque(maxlen=_POOL_MAX))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, events: tuple[Event, ...]) -> None:
        """Take note of a batch that was answered 202."""
        with self.lock:
            self.acknowledged.append(events)
            self.moments_s.append(time.monotonic())
            self.paid.extend(event for event in events if event.type == "pay" and event.id)

    @property
    def events(self) -> int:
        """How many events were acknowledged, repeats included."""
        return sum(map(len, self.acknowledged))

    def since(self, moment_s: float) -> int:
        """How many events were acknowledged from a moment on."""
        with self.lock:
            return sum(map(len, self.acknowledged[bisect_left(self.moments_s, moment_s) :]))

    def recount(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        """(counts, amounts) by (kind, product): each id once, refunded payments taken back."""
        counts: Counter[tuple[str, str]] = Counter()
        amounts: Counter[tuple[str, str]] = Counter()
        seen: set[tuple[str, str]] = set()
        payments: dict[str, Event] = {}
        refunds: list[Event] = []
        for event in (event for batch in self.acknowledged for event in batch):
            if event.id is not None:
                if (event.type, event.id) in seen:
                    continue
                seen.add((event.type, event.id))
                if event.type == "pay":
                    payments[event.id] = event
                elif event.type == "refund":
                    refunds.append(event)
            counts[event.type, event.product] += 1
            amounts[event.type, event.product] += event.amount or 0
        for refund in refunds:
            payment = payments[refund.id or ""]
            counts["pay", payment.product] -= 1
            amounts["pay", payment.product] -= payment.amount or 0
        return counts, amounts


class Sender(threading.Thread):
    """One event source: batch after batch, each until it is acknowledged. Without a key every event has an id.

    base: address of an API, or what tells one for each try.
    """

    def __init__(
        self,
        base: str | Callable[[], str],
        venue: str,
        products: list[str],
        journal: Journal,
        seed: int,
        *,
        keyed: bool = True,
        refunds: bool = True,
        breath_s: float = _BREATH_S,
        id_share: float = _ID_SHARE,
    ) -> None:
        super().__init__(name=f"sender-{seed}", daemon=True)
        self._base = base if callable(base) else lambda: base
        self._path = f"/v1/venues/{venue}/events"
        self._products = products
        self._journal = journal
        self._keyed = keyed
        self._refunds = refunds
        self._breath_s = breath_s
        self._id_share = id_share if keyed else 1.0
        self._rng = random.Random(seed)
        self._halt = threading.Event()

    def stop(self) -> None:
        """Send no further batch; the present one is still delivered."""
        self._halt.set()

    def run(self) -> None:
        """Send until stopped."""
        with httpx2.Client(timeout=_TIMEOUT_S, verify=asking.NO_TLS) as client:
            while not self._halt.wait(self._breath_s):
                events = self._batch()
                body = json.dumps({"events": [event.json() for event in events]}).encode()
                if self._deliver(client, body):
                    self._journal.acknowledge(events)

    def _deliver(self, client: httpx2.Client, body: bytes) -> bool:
        headers = {"Content-Type": "application/json"}
        if self._keyed:
            headers["Idempotency-Key"] = str(uuid.UUID(int=self._rng.getrandbits(128)))
        patience_s = _IMPATIENT_S if self._rng.random() < _IMPATIENT else _TIMEOUT_S
        while True:
            try:
                answer = client.post(f"{self._base()}{self._path}", content=body, headers=headers, timeout=patience_s)
            except httpx2.HTTPError:
                pass
            else:
                if answer.status_code == 202:
                    if answer.json()["refused"]:
                        self._journal.troubles.append(answer.text[:300])
                    return True
                if answer.status_code != 503:
                    self._journal.troubles.append(f"{answer.status_code} {answer.text[:300]}")
                    return False
            patience_s = _TIMEOUT_S
            self._journal.retries += 1
            time.sleep(_PAUSE_S)

    def _batch(self) -> tuple[Event, ...]:
        """New events, some of them with an id; some that were sent before; some refunds of acknowledged payments."""
        rng, journal = self._rng, self._journal
        events = [self._event() for _ in range(rng.randrange(1, 50))]
        with journal.lock:
            if self._refunds and journal.paid and rng.random() < 0.2:
                paid = rng.choice(list(journal.paid))
                events.append(Event("refund", paid.product, id=paid.id))
            again = list(journal.issued)
            journal.issued.extend(event for event in events if event.id is not None)
            if again and rng.random() < 0.5:
                events += rng.sample(again, min(5, len(again)))
        rng.shuffle(events)
        return tuple(events)

    def _event(self) -> Event:
        rng = self._rng
        kind = rng.choice(KINDS)
        return Event(
            type=kind,
            product=self._products[min(int(rng.expovariate(0.1)), len(self._products) - 1)],
            amount=rng.randrange(1, 100_000) if kind == "pay" else None,
            id=f"{rng.getrandbits(64):x}" if rng.random() < self._id_share else None,
            ts_ms=time.time_ns() // 1_000_000 - rng.randrange(20_000) if rng.random() < 0.3 else None,
        )
