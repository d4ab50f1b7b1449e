"""What a process knows of one venue: how old it is, and the bodies that are made of its frame."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from api.view import STALE_MS
from tests.unit.api.fake_store import frame_of, runner_of, view_of


def test_data_before_the_first_commit_has_no_age_and_is_not_stale() -> None:
    view = view_of()
    assert (view.age(), view.stale()) == (None, False)


def test_data_grows_old_by_the_clock_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of Redis is needed for it: that is just when it matters."""
    view = view_of()
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    view.age_ms, view.age_read_s = 120.0, 10.0
    assert (view.age(), view.stale()) == (120, False)
    monkeypatch.setattr(time, "monotonic", lambda: 10.0 + (STALE_MS - 120) / 1000)
    assert view.stale() is False
    monkeypatch.setattr(time, "monotonic", lambda: 20.0)
    assert (view.age(), view.stale()) == (10_120, True)


def test_a_body_shows_the_slots_with_the_data_of_their_runners() -> None:
    """What a runner was not given is left out."""
    view = view_of()
    view.show(frame_of("p-1", "p-2"), {0: runner_of("p-1", price=5, tier="A"), 1: runner_of("p-2")})
    terms = [{"name": "click level", "weight": 0.5, "value": 3.0, "contribution": 1.5}]
    assert json.loads(view.slots(50, stale=False).body) == {
        "venue": "hall-1",
        "frame": 1,
        "epoch": 7,
        "position": "1-0",
        "at_ms": 1000,
        "rule_version": 1,
        "runners": 2,
        "served": "race",
        "phase": "",
        "phase_ends_ms": None,
        "told": [],
        "conflicts": 0,
        "moved_since_ms": None,
        "stale": False,
        "evolved": False,
        "next": None,
        "slots": [
            {
                "slot": 1,
                "product": "p-1",
                "merchant": "m-1",
                "title": "The p-1",
                "tier": "A",
                "price": 5,
                "score": 1.5,
                "terms": terms,
            },
            {"slot": 2, "product": "p-2", "merchant": "m-1", "title": "The p-2", "score": 1.5, "terms": terms},
        ],
    }


def test_a_slot_whose_runner_is_not_known_is_shown_without_data() -> None:
    view = view_of()
    view.show(frame_of("p-1"), {})
    assert json.loads(view.slots(1, stale=False).body)["slots"][0]["product"] == "p-1"


def test_a_body_is_encoded_once_for_each_limit_and_state() -> None:
    """Limits beyond the board are one."""
    view = view_of("p-1", "p-2")
    body = view.slots(2, stale=False).body
    assert view.slots(2, stale=False).body is body
    assert view.slots(1000, stale=False).body is body
    assert len(json.loads(view.slots(1, stale=False).body)["slots"]) == 1
    stale = json.loads(view.slots(2, stale=True).body)
    assert stale == {**json.loads(body), "stale": True, "served": "last_frame"}


def test_a_new_frame_has_bodies_of_its_own() -> None:
    view = view_of("p-1")
    before = view.slots(1, stale=False).body
    view.show(frame_of("p-2", number=2), {0: runner_of("p-2")})
    assert json.loads(view.slots(1, stale=False).body)["frame"] == 2
    assert json.loads(before)["frame"] == 1


def test_whoever_asks_for_every_limit_does_not_fill_the_memory() -> None:
    view = view_of(*(f"p-{n}" for n in range(100)))
    for limit in range(1, 101):
        assert len(json.loads(view.slots(limit, stale=False).body)["slots"]) == limit
    assert len(view._slots) <= 16


async def test_a_new_frame_wakes_whoever_waits_for_it() -> None:
    view = view_of()
    waiting = asyncio.create_task(view.shown.wait())
    await asyncio.sleep(0)
    view.show(frame_of("p-1", number=2), {})
    await asyncio.wait_for(waiting, 30)
    assert not view.shown.is_set()
