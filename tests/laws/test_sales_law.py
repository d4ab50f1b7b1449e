"""What was sold, by source: a race says the same as sets and sums kept by hand, however its log was cut or restored."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.entries import Enrolment, Entry, RuleChange, Runner
from racing.events import EventBatch, hash_user, table_of
from racing.model import Position
from racing.race import Race
from tests.laws.logs import START_MS, law, rule_of

SOURCES = ("search", "live", "feed")
KINDS = ("impression", "click", "pay", "refund")
RULE = rule_of({"metric": "click", "signal": "level", "weight": 1})


class Event(NamedTuple):
    """One event; source and user None where it has none."""

    kind: str
    runner: int
    amount: int
    source: str | None
    user: str | None
    slot: int


events_of = st.builds(
    Event,
    st.sampled_from(KINDS),
    st.integers(0, 2),  # number 2 is not enrolled: its events do not count
    st.integers(0, 9),
    st.sampled_from([None, *SOURCES]),
    st.sampled_from([None, "u1", "u2", "u3", "u4"]),
    st.integers(0, 3),
)
logs = st.lists(st.lists(events_of, min_size=1, max_size=4), max_size=8)


def entry_of(place: int, events: list[Event]) -> Entry:
    """As a batch comes out of the log."""
    source, sources = table_of([event.source for event in events])
    batch = EventBatch(
        kinds=KINDS,
        kind=np.array([KINDS.index(event.kind) for event in events]),
        runner=np.array([event.runner for event in events]),
        amount=np.array([event.amount for event in events]),
        user_hash=np.array([0 if event.user is None else hash_user(b"k", event.user) for event in events], np.uint64),
        slot=np.array([event.slot for event in events]),
        source=source,
        sources=sources,
    )
    return Entry(Position(START_MS + 700 * place, 1), EventBatch.unpack(batch.pack()))


def begun() -> list[Entry]:
    runners = [(number, Runner(f"p{number}", "m", "t")) for number in range(2)]
    return [Entry(Position(START_MS, -2), RuleChange(1, RULE)), Entry(Position(START_MS, -1), Enrolment(runners))]


def told(race: Race, source: str | None) -> tuple[int, int, int, int, int, float, float]:
    took = race.sales.takings(source=source)
    return took.paid, took.payments, took.refunded, took.refunds, took.impressions, took.traffic, took.payers


@law(80)
@given(logs, st.integers(0, 8))
def test_a_race_tells_what_each_source_sold_however_its_log_was_cut(log: list[list[Event]], cut: int) -> None:
    entries = [*begun(), *(entry_of(place, events) for place, events in enumerate(log))]
    race = Race()
    race.apply(entries)
    parts = Race()
    parts.apply(entries[: cut + 2])
    parts = Race.restore([parts.checkpoint(full=True)[0]])
    for entry in entries:
        parts.apply([entry])
    users: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    sums: dict[tuple[str, str | None], int] = defaultdict(int)
    for event in (event for events in log for event in events if event.runner < 2):
        for source in (None, event.source or ""):
            sums[event.kind, source] += 1
            sums[f"{event.kind} amount", source] += event.amount
            if event.user is not None:
                users["seen", source].add(event.user)
                if event.kind == "pay":
                    users["paid", source].add(event.user)
    for source in (None, "", *SOURCES):
        expected = [sums[name, source] for name in ("pay amount", "pay", "refund amount", "refund", "impression")]
        found = told(race, source)
        assert list(found[:5]) == expected
        assert found[5:] == pytest.approx((len(users["seen", source]), len(users["paid", source])), rel=0.01)
        assert told(parts, source) == found
