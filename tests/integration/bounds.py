"""Every bound on a request: what is sent at it, one beyond it and a hundred times it, and what must be answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.keyed import OPEN, OWN

BODY_MAX_BYTES, BATCH_MAX = 65_536, 50
"""Set low, so that a hundred times them is still sent in no time."""
SETTINGS: dict[str, Any] = {"body_max_bytes": BODY_MAX_BYTES, "batch_max_events": BATCH_MAX}
V = f"/v1/venues/{OPEN}"


@dataclass(frozen=True)
class Sent:
    """A request of the admin."""

    method: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Bound:
    """A bound of n: the request for a size, the answer up to n, and the answer beyond it."""

    name: str
    n: int
    request: Callable[[int], Sent]
    within: frozenset[int]
    beyond: frozenset[int]

    def expected(self, size: int) -> frozenset[int]:
        """What must be answered to a request of a size."""
        return self.within if size <= self.n else self.beyond


def _json(method: str, path: str, document: Any) -> Sent:
    return Sent(method, path, json.dumps(document).encode())


def _event(**fields: Any) -> Sent:
    return _json("POST", f"{V}/events", {"events": [{"type": "click", "product": OWN, **fields}]})


def _padded(size: int) -> Sent:
    body = json.dumps({"events": [{"type": "click", "product": OWN}]}).encode()
    return Sent("POST", f"{V}/events", body + b" " * (size - len(body)))


def _nested(depth: int) -> Sent:
    return Sent("PUT", f"{V}/access", b'{"beacon_kinds":' + b"[" * depth + b"]" * depth + b"}")


def _bulk(size: int) -> Sent:
    runners = [{"product": f"b-{n}", "merchant": "m", "title": "t"} for n in range(size)]
    return _json("POST", f"{V}/runners/bulk", {"runners": runners})


def _beacons(size: int) -> Sent:
    body = b'{"batch":"b-%d","events":[{"type":"click","product":"%b"}]}' % (size, OWN.encode())
    return Sent("POST", f"{V}/beacons", body + b" " * (size - len(body)))


def _lines(size: int) -> Sent:
    body = b'{"type":"click","product":"%b"}\n' % OWN.encode() * size
    return Sent("POST", f"{V}/events", body, (("Content-Type", "application/x-ndjson"),))


def _keyed(size: int) -> Sent:
    sent = _event()
    return Sent(sent.method, sent.path, sent.body, (*sent.headers, ("Idempotency-Key", "k" * size)))


def _noted(size: int) -> Sent:
    return _json("PUT", f"{V}/rule?note={'n' * size}", _RULE)


_RULE = {
    "metrics": {"click": {"event": "click"}},
    "terms": [{"metric": "click", "signal": "level", "weight": 1}],
}

GOOD, MADE, TAKEN = frozenset({200}), frozenset({201, 409}), frozenset({202})
INVALID, TOO_LARGE, MALFORMED = frozenset({422}), frozenset({413}), frozenset({400})
BOUNDS = (
    Bound("body, bytes", BODY_MAX_BYTES, _padded, TAKEN, TOO_LARGE),
    Bound("body of beacons, bytes", 65_536, _beacons, TAKEN, TOO_LARGE),
    Bound(
        "events of a batch",
        BATCH_MAX,
        lambda n: _json("POST", f"{V}/events", {"events": [{"type": "click", "product": OWN}] * n}),
        TAKEN,
        TOO_LARGE,
    ),
    Bound("lines of a batch", BATCH_MAX, _lines, TAKEN, TOO_LARGE),
    Bound("Idempotency-Key, letters", 255, _keyed, TAKEN, MALFORMED | {431}),
    Bound("slots of a page", 1000, lambda n: Sent("GET", f"{V}/slots?limit={n}"), GOOD, INVALID),
    Bound("venues of a page", 200, lambda n: Sent("GET", f"/v1/venues?limit={n}"), GOOD, INVALID),
    Bound("runners of a page", 1000, lambda n: Sent("GET", f"{V}/runners?limit={n}"), GOOD, INVALID),
    Bound("runners of a bulk", 1000, _bulk, MADE, INVALID | TOO_LARGE),
    Bound("id of a venue, letters", 64, lambda n: _json("POST", "/v1/venues", {"venue": "v" * n}), MADE, INVALID),
    Bound(
        "id of a product, letters",
        64,
        lambda n: _json("POST", f"{V}/runners", {"product": "p" * n, "merchant": "m", "title": "t"}),
        MADE,
        INVALID,
    ),
    Bound("note of a rule change, letters", 200, _noted, frozenset({200, 202}), INVALID | {431}),
    Bound(
        "kinds for beacons",
        64,
        lambda n: _json("PUT", f"{V}/access", {"beacon_kinds": [f"k{i}" for i in range(n)]}),
        GOOD,
        INVALID,
    ),
)
EVENT_BOUNDS = (
    ("user, letters", 128, lambda n: _event(user="u" * n)),
    ("id of an event, letters", 64, lambda n: _event(id="i" * n)),
    ("kind, letters", 32, lambda n: _event(type="click" if n <= 32 else "k" * n)),  # the bound itself
    ("amount", 10**12, lambda n: _event(amount=n)),
    ("quantity", 10**9, lambda n: _event(quantity=n)),
)
"""Bounds on one event of a batch: beyond them that event is refused alone, and the batch is answered 202."""
