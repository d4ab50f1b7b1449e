"""Batches of events at a venue's door, for tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from api.door import Door
from api.ingest import decode
from api.sent_events import EventIn
from api.taken import Decoded, RefusedEvent, Rows, Taken
from racing.events import EventBatch
from racing.rule import parse_rule

SECRET = bytes(32)
NOW_MS = 1_763_740_805_250
RULE: dict[str, Any] = {
    "window_s": 60,
    "bucket_s": 10,
    "clock_skew_s": 5,
    "metrics": {"shares": {"event": "share"}},
    "terms": [{"metric": "shares", "signal": "level", "weight": 1}],
}
NUMBERS = {"p-1": 0, "p-2": 7}


def decoded(*events: object) -> Decoded:
    return decode(json.dumps({"events": events}).encode(), events_max=1000)


def event(**fields: Any) -> EventIn:
    return EventIn(**{"type": "click", "product": "p-1", **fields})


def door(**given_rule: Any) -> Door:
    rule = parse_rule({**RULE, **given_rule})
    kinds = {kind: code for code, kind in enumerate(sorted(rule.kinds()))}
    return Door("hall-1", rule, kinds, NUMBERS, NOW_MS)


def sorted_out(found: Decoded, at: Door | None = None) -> tuple[Taken, list[RefusedEvent]]:
    """What the door takes and refuses of a batch."""
    return (at or door()).sort_out(found)


def codes_of(*events: EventIn, at: Door | None = None) -> list[str]:
    """What the door says of each event: a code, or "" where it is taken."""
    taken, refused = sorted_out(Decoded(Rows.of(events), range(len(events))), at)
    codes = {each.index: each.code for each in refused}
    assert len(taken) + len(refused) == len(events)
    return [codes.get(index, "") for index in range(len(events))]


def event_of(product: str) -> dict[str, Any]:
    return {"type": "click", "product": product}


def columns_of(*events: EventIn, secret: bytes = SECRET) -> EventBatch:
    return taken_of(*events).batch(secret)


def taken_of(*events: EventIn) -> Taken:
    """Events of any kind and time as taken."""
    rows = Rows.of(events)
    kinds = {kind: code for code, kind in enumerate(sorted({"click", *rows.type}))}
    kind = bytes(map(kinds.__getitem__, rows.type))
    return Taken(rows, tuple(kinds), kind, np.array([NUMBERS[product] for product in rows.product], np.int64))
