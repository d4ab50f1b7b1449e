"""Request bodies, encoded before the clock runs: a sender only stamps times and ids into them.

Bodies are templates of fixed length. Where events carry their time or an id, the template holds a placeholder
that is overwritten at each send: an id is told twice by no two sends, and a time is that of the send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import msgspec
import numpy as np

from loadtests.traffic import KINDS, SEGMENTS, Events, Traffic, product_of

Form = Literal["json", "packed"]

CONTENT_TYPES: dict[Form, str] = {"json": "application/json", "packed": "application/vnd.msgpack"}
USERS = 1_000_000
"""Users drawn from, where events name one."""
_TIME_MS = 1_000_000_000_000
_SERIAL = "~serial~"
_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Mix:
    """What the events of a sender carry beside kind, product and amount. tag: tells its ids from other senders'."""

    id_share: float = 0.0
    users: bool = False
    times: bool = False
    segments: bool = False
    tag: str = "e"


@dataclass(frozen=True, slots=True)
class Body:
    """One body as a template."""

    form: Form
    template: bytes
    events: int
    mix: Mix = Mix()

    def at(self, now_ms: int, serial: int) -> bytes:
        """The body for one send at a moment; serial: how many were sent before, below 2**32."""
        data = self.template
        if self.mix.id_share:
            data = data.replace(_SERIAL.encode(), b"%08x" % serial)
        if self.mix.times:
            data = data.replace(_time_bytes(self.form, _TIME_MS), _time_bytes(self.form, now_ms))
        return data


def _time_bytes(form: Form, ms: int) -> bytes:
    return b"%d" % ms if form == "json" else ms.to_bytes(8, "little")


def make_bodies(traffic: Traffic, form: Form, *, batch: int, bodies: int, mix: Mix) -> list[Body]:
    """So many different bodies of so many events each. Raises ValueError for segments in packed columns."""
    if mix.segments and form == "packed":
        raise ValueError("packed columns carry no segment: send JSON")
    events = traffic.draw(batch * bodies, purpose=100, segments=mix.segments)
    extras = _extras(len(events), mix, traffic.seed)
    encode = _json if form == "json" else _packed
    return [
        Body(form, encode(events.part(start, start + batch), extras.part(start, start + batch)), batch, mix)
        for start in range(0, batch * bodies, batch)
    ]


@dataclass(frozen=True, slots=True)
class _Extras:
    """The optional columns; None where no event has it."""

    times: bool
    users: list[str] | None
    ids: list[str | None] | None

    def part(self, start: int, end: int) -> _Extras:
        return _Extras(
            self.times,
            None if self.users is None else self.users[start:end],
            None if self.ids is None else self.ids[start:end],
        )


def _extras(count: int, mix: Mix, seed: int) -> _Extras:
    rng = np.random.default_rng([seed, 2])
    users = [f"u-{number}" for number in rng.integers(0, USERS, count).tolist()] if mix.users else None
    chosen = (rng.random(count) < mix.id_share).tolist()
    ids = (
        [f"{mix.tag}-{_SERIAL}-{place}" if one else None for place, one in enumerate(chosen)] if mix.id_share else None
    )
    return _Extras(mix.times, users, ids)


def _json(events: Events, extras: _Extras) -> bytes:
    docs: list[dict[str, Any]] = []
    for place, (kind, runner, amount) in enumerate(zip(*_lists(events), strict=True)):
        doc: dict[str, Any] = {"type": KINDS[kind], "product": product_of(runner)}
        if amount:
            doc["amount"] = amount
        if events.segment is not None:
            doc["segment"] = SEGMENTS[events.segment[place]]
        if extras.times:
            doc["ts_ms"] = _TIME_MS
        if extras.users is not None:
            doc["user"] = extras.users[place]
        if extras.ids is not None and extras.ids[place] is not None:
            doc["id"] = extras.ids[place]
        docs.append(doc)
    return _encode_json({"events": docs})


def _packed(events: Events, extras: _Extras) -> bytes:
    """The columns body: a msgpack map; arrays are little-endian bytes, strings come as tables or lists.

    The only place that knows this form: kinds (table), kind (uint8), products (table), product (uint32), amount
    (int64), and where given ts_ms (int64), users and ids (str or nil each).
    """
    runners, product = np.unique(events.runner, return_inverse=True)
    columns: dict[str, Any] = {
        "kinds": list(KINDS),
        "kind": events.kind.astype("u1").tobytes(),
        "products": [product_of(runner) for runner in runners.tolist()],
        "product": product.astype("<u4").tobytes(),
    }
    if events.amount.any():
        columns["amount"] = events.amount.astype("<i8").tobytes()
    if extras.times:
        columns["ts_ms"] = np.full(len(events), _TIME_MS, "<i8").tobytes()
    if extras.users is not None:
        columns["users"] = extras.users
    if extras.ids is not None:
        columns["ids"] = extras.ids
    return _encode_msgpack(columns)


def _lists(events: Events) -> tuple[list[int], list[int], list[int]]:
    return events.kind.tolist(), events.runner.tolist(), events.amount.tolist()


def request_bytes(
    method: str, path: str, *, body: bytes = b"", content_type: str = "", headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """One HTTP/1.1 request, whole."""
    lines = [f"{method} {path} HTTP/1.1", "Host: saima", *(f"{name}: {value}" for name, value in headers)]
    if content_type:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def supply_of_bodies(bodies: Sequence[Body], now_ms: Callable[[], int]) -> Iterator[bytes]:
    """These bodies in turn, for ever, each stamped as it is sent."""
    for serial, body in enumerate(cycle(bodies)):
        yield body.at(now_ms(), serial)


def supply_of(path: str, bodies: Sequence[Body], now_ms: Callable[[], int]) -> Iterator[bytes]:
    """The requests that send these bodies in turn, for ever; whole ones are made once where nothing is stamped."""
    kind, mix = CONTENT_TYPES[bodies[0].form], bodies[0].mix
    if not (mix.id_share or mix.times):
        return cycle([request_bytes("POST", path, body=body.template, content_type=kind) for body in bodies])
    stamped = supply_of_bodies(bodies, now_ms)
    return (request_bytes("POST", path, body=body, content_type=kind) for body in stamped)
