"""Targets over HTTP: refused, kept, audited, and told beside what the race has come to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.running import Running
from tests.waiting import until

SLOW_S = 60
"""A follower is a Python that starts; a loaded machine takes its time."""


def reached(service: Running, venue: str) -> dict[str, Any]:
    answer = service.http.get(f"/v1/venues/{venue}/targets", timeout=SLOW_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"gmv": 5}, "gmv: no such field; there are whole, phases, sources"),
        ({"whole": {"conversion": 7}}, "whole.conversion: must be at most 1, not 7"),
        ({"sources": {"search": {"traffic": -1}}}, "sources.search.traffic: must be at least 0, not -1"),
    ],
)
def test_wrong_targets_are_refused_by_field_and_value(service: Running, document: dict[str, Any], told: str) -> None:
    refused = service.http.put(f"/v1/venues/{service.made_venue()}/targets", json=document)
    assert (refused.status_code, refused.json()["detail"]) == (422, told)


def test_what_was_reached_is_told_beside_the_targets_and_who_set_them_is_kept(service: Running) -> None:
    """Three users came by the search, two of them paid 400 together of the 1,000 wanted."""
    venue = service.made_venue("p-1", "p-2")
    wanted = {"whole": {"sales": 1000, "traffic": 3, "basket": 400}, "sources": {"search": {"sales": 400}}}
    put = service.http.put(f"/v1/venues/{venue}/targets", json=wanted)
    assert put.status_code == 200, put.text
    sent = service.send(
        venue,
        {"type": "click", "product": "p-1", "user": "u1", "source": "search"},
        {"type": "impression", "product": "p-1", "user": "u2", "source": "search", "slot": 1},
        {"type": "pay", "product": "p-1", "user": "u2", "source": "search", "amount": 300, "slot": 1},
        {"type": "pay", "product": "p-2", "user": "u3", "source": "search", "amount": 100},
    )
    service.folded(venue, sent.json()["position"])
    until(lambda: reached(service, venue)["whole"]["sales"]["actual"] == 400, within_s=SLOW_S, what="all is counted")

    found = reached(service, venue)
    assert found["whole"]["sales"]["delta"] == pytest.approx(-0.6)
    assert found["whole"]["traffic"]["actual"] == pytest.approx(3, rel=0.01)
    assert found["whole"]["conversion"]["actual"] == pytest.approx(2 / 3, rel=0.01)
    assert found["whole"]["basket"]["actual"] == pytest.approx(200, rel=0.01)
    assert found["whole"]["short"] == "basket"
    assert found["sources"]["search"]["sales"]["delta"] == 0.0
    assert [(each["slot"], each["paid"]) for each in found["slots"]] == [(1, 300)]
    assert found["sharing"]["largest"][0]["paid"] == 400

    audit = service.http.get(f"/v1/venues/{venue}/audit").json()["decisions"]
    assert audit[0]["changes"][0]["of"] == "targets"
