"""Prepared bodies say what the events are, in both forms, and are stamped as they are sent."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pytest

from api.ingest import decode
from api.packed import decode_packed
from loadtests.bodies import Form, Mix, make_bodies, request_bytes, supply_of
from loadtests.traffic import KINDS, SEGMENT_SHARES, SEGMENTS, Traffic, product_of

NOW_MS = 1_762_790_400_123
TRAFFIC = Traffic(200)
FULL = Mix(id_share=1.0, users=True, times=True, tag="t")


def events_of(form: Form, body: bytes) -> list[dict[str, Any]]:
    """The events in a body, decoded as plainly as can be."""
    if form == "json":
        events: list[dict[str, Any]] = msgspec.json.decode(body)["events"]
        return events
    found = msgspec.msgpack.decode(body)
    kind, product = np.frombuffer(found["kind"], "u1"), np.frombuffer(found["product"], "<u4")
    columns: dict[str, Any] = {
        "type": [found["kinds"][each] for each in kind],
        "product": [found["products"][each] for each in product],
        **{name: np.frombuffer(found[name], "<i8").tolist() for name in ("amount", "ts_ms") if name in found},
        **{name[:-1]: found[name] for name in ("users", "ids") if name in found},
    }
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value}
        for row in zip(*columns.values(), strict=True)
    ]


@pytest.mark.parametrize("form", ["json", "packed"])
@pytest.mark.parametrize("mix", [Mix(), FULL])
def test_a_body_holds_the_events_that_were_drawn(form: Form, mix: Mix) -> None:
    first, _ = make_bodies(TRAFFIC, form, batch=50, bodies=2, mix=mix)
    drawn = TRAFFIC.draw(100, purpose=100).part(0, 50)
    events = events_of(form, first.at(NOW_MS, 0))
    assert [event["type"] for event in events] == [KINDS[kind] for kind in drawn.kind]
    assert [event["product"] for event in events] == [product_of(runner) for runner in drawn.runner]
    assert [event.get("amount", 0) for event in events] == drawn.amount.tolist()


@pytest.mark.parametrize("form", ["json", "packed"])
def test_times_and_ids_are_those_of_the_send(form: Form) -> None:
    """Every send tells the moment, and no id twice."""
    (body,) = make_bodies(TRAFFIC, form, batch=50, bodies=1, mix=FULL)
    sent = [event for serial in (0, 1, 0xFFFFFFFF) for event in events_of(form, body.at(NOW_MS, serial))]
    assert {event["ts_ms"] for event in sent} == {NOW_MS}
    assert len({event["id"] for event in sent}) == len(sent) == 150
    assert len(body.at(NOW_MS, 7)) == len(body.template)


def test_events_carry_their_segments_and_are_the_same_ones_otherwise() -> None:
    plain, segmented = (
        events_of("json", make_bodies(TRAFFIC, "json", batch=500, bodies=1, mix=mix)[0].template)
        for mix in (Mix(), Mix(segments=True))
    )
    shares = Counter(event.pop("segment") for event in segmented)
    assert segmented == plain
    assert [shares[name] / 500 for name in SEGMENTS] == pytest.approx(SEGMENT_SHARES, abs=0.1)


def test_packed_columns_carry_no_segment() -> None:
    with pytest.raises(ValueError, match="send JSON"):
        make_bodies(TRAFFIC, "packed", batch=1, bodies=1, mix=Mix(segments=True))


def test_a_share_of_ids_is_about_that_share() -> None:
    (body,) = make_bodies(TRAFFIC, "json", batch=2_000, bodies=1, mix=Mix(id_share=0.05))
    events = events_of("json", body.at(NOW_MS, 0))
    assert sum("id" in event for event in events) == pytest.approx(100, abs=40)


@pytest.mark.parametrize("mix", [Mix(), FULL])
def test_the_service_takes_both_forms(mix: Mix) -> None:
    """Whatever the service demands of a body, ours must have: else a bench would measure refusals."""
    (body,) = make_bodies(TRAFFIC, "json", batch=50, bodies=1, mix=mix)
    decoded = decode(body.at(NOW_MS, 0), events_max=1_000)
    assert (len(decoded.places), decoded.refused) == (50, [])
    (packed,) = make_bodies(TRAFFIC, "packed", batch=50, bodies=1, mix=mix)
    assert len(decode_packed(packed.at(NOW_MS, 0), events_max=1_000)) == 50


def test_requests_come_in_turn_for_ever() -> None:
    bodies = make_bodies(TRAFFIC, "json", batch=3, bodies=2, mix=Mix())
    requests = list(islice(supply_of("/x", bodies, lambda: NOW_MS), 4))
    assert requests[:2] == requests[2:]
    assert requests[0] != requests[1]
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_request_without_a_body_has_none() -> None:
    whole = request_bytes("GET", "/y", headers=[("If-None-Match", "*")])
    assert whole == b"GET /y HTTP/1.1\r\nHost: saima\r\nIf-None-Match: *\r\n\r\n"
