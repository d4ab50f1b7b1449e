"""Logs for the laws: strategies that draw tiny ones full of edges, and the race that folds them.

Windows last 2 to 6 seconds and buckets 1 to 3, so that a drawn log of some seconds crosses bucket edges,
tenths and whole windows many times. Three runners are enrolled; number 3 never is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from racing.entries import Body as RaceBody
from racing.entries import Enrolment, Entry, OrdersChange, RuleChange, Runner, Tick, Unreadable
from racing.events import NO_TIME_MS, EventBatch, hash_id
from racing.model import IntArray, Position
from racing.race import Race
from tests.laws.oracle import Body

START_MS = 1_200_000
"""Log time at which drawn logs begin: an edge of every bucket length used."""

Log = list[tuple[int, Body]]

METRICS: dict[str, dict[str, str]] = {
    "click": {"event": "click"},
    "order": {"event": "order"},
    "pay": {"event": "pay"},
    "pay_amount": {"event": "pay", "sum": "amount"},
    "refund_amount": {"event": "refund", "sum": "amount"},
    "scan": {"event": "scan"},
}
KINDS = ("click", "click", "order", "pay", "pay", "refund", "refund", "scan")
CUTS = ((2, 1), (2, 2), (3, 1), (3, 3), (4, 1), (4, 2), (6, 1), (6, 2), (6, 3))
"""(window_s, bucket_s) of drawn rules."""


def law(examples: int) -> settings:
    """Settings of a law: the same examples in every run, however slow the machine."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# -- rules -------------------------------------------------------------------------------------------------

_WEIGHTS = st.sampled_from([1, -1, 0.5, 0.3, 2.25, 0])
_PRIORS = st.sampled_from([None, 0.5, 1, 10])


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


_PLAIN = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(sorted(METRICS)),
        "signal": st.sampled_from(["level", "root", "total"]),
        "weight": _WEIGHTS,
    }
)
_RISES = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(sorted(METRICS)),
        "signal": st.sampled_from(["growth", "surge"]),
        "weight": _WEIGHTS,
        "prior": _PRIORS,
        "tide": st.booleans(),
    }
).map(_without_none)
_UPLIFTS = st.fixed_dictionaries(
    {
        "metric": st.sampled_from(sorted(METRICS)),
        "signal": st.just("uplift"),
        "weight": _WEIGHTS,
        "tide": st.booleans(),
    }
)
_RATIOS = st.fixed_dictionaries(
    {
        "ratio": st.permutations(sorted(METRICS)).map(lambda names: names[:2]),
        "signal": st.sampled_from(["rate", "rate_uplift"]),
        "weight": _WEIGHTS,
        "prior": _PRIORS,
    }
).map(_without_none)
_ATTRIBUTES = st.fixed_dictionaries({"attribute": st.sampled_from(["entry_score", "margin"]), "weight": _WEIGHTS})
TERMS = st.one_of(_PLAIN, _RISES, _RISES, _UPLIFTS, _RATIOS, _ATTRIBUTES)


_CUT = st.sampled_from(CUTS)
_LATENESS_S = {window_s: st.sampled_from([None, None, 2 * window_s, window_s, 1, 0]) for window_s, _ in CUTS}
_SKEWS_S = st.sampled_from([0, 1, 300])
_TERM_LISTS = st.lists(TERMS, min_size=1, max_size=4)
_SLOTS = st.sampled_from([1, 2, 50])


@st.composite
def rules(draw: st.DrawFn, terms: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A tiny rule over every metric, of these terms or of any."""
    window_s, bucket_s = draw(_CUT)
    return _without_none(
        {
            "window_s": window_s,
            "bucket_s": bucket_s,
            "lateness_s": draw(_LATENESS_S[window_s]),
            "clock_skew_s": draw(_SKEWS_S),
            "metrics": METRICS,
            "terms": draw(_TERM_LISTS) if terms is None else terms,
            "board": {"slots": draw(_SLOTS)},
        }
    )


EVERY_SIGNAL: list[dict[str, Any]] = [
    {"metric": "click", "signal": "level", "weight": 1},
    {"metric": "pay_amount", "signal": "root", "weight": 0.3},
    {"metric": "order", "signal": "root", "weight": 0.3},
    {"metric": "pay_amount", "signal": "total", "weight": 0.001},
    {"metric": "click", "signal": "uplift", "weight": 1},
    {"metric": "click", "signal": "uplift", "weight": 0.7, "tide": True},
    {"metric": "pay", "signal": "growth", "weight": 2, "prior": 3},
    {"metric": "click", "signal": "growth", "weight": 2, "tide": True},
    {"metric": "pay_amount", "signal": "surge", "weight": 2, "prior": 10},
    {"metric": "pay_amount", "signal": "surge", "weight": 2, "tide": True},
    {"ratio": ["order", "click"], "signal": "rate", "weight": 20, "prior": 5},
    {"ratio": ["pay_amount", "click"], "signal": "rate_uplift", "weight": 3},
    {"attribute": "entry_score", "weight": 1.5},
]
"""One term or more of every signal."""


def rule_of(*terms: dict[str, Any], window_s: int = 4, bucket_s: int = 2, **fields: Any) -> dict[str, Any]:
    """A rule document over every metric with these terms."""
    return {"window_s": window_s, "bucket_s": bucket_s, "metrics": METRICS, "terms": list(terms), **fields}


# -- events and logs -----------------------------------------------------------------------------------------

_STEPS_MS = st.sampled_from(
    [0, 0, 0, 1, 99, 100, 101, 199, 200, 300, 499, 500, 700, 999, 1000, 1001, 1500, 2000, 3000, 4000, 7000]
)
_LONG_STEPS_MS = st.sampled_from([12_000, 24_001, 899_999, 900_000, 903_000])
_AGES_MS = st.sampled_from(
    [
        *(None, None, None, 0, 1, 99, 100, 500, 1000, 1999, 2000, 2001, 3000, 3900, 4000, 5999, 6000, 8000),
        *(11_999, 12_000, 12_001, 30_000, -1, -500, -1000, -1001, -400_000),
    ]
)
_AMOUNTS = st.sampled_from([None, 0, 1, 7, 100, 250, 99_999_999_999])
_IDS = st.sampled_from([None, "a", "a", "b", "c"])
_RUNNERS, _KINDS = st.sampled_from([0, 0, 0, 1, 1, 2, 3]), st.sampled_from(KINDS)
_PAYEES, _PAYMENTS = st.sampled_from([0, 0, 0, 0, 0, 1]), st.sampled_from(["pay", "refund"])
_PAYMENT_IDS = st.sampled_from("abcd")


@st.composite
def event(draw: st.DrawFn, moment_ms: int, *, money: bool) -> dict[str, Any]:
    """An event around a moment: any age, kind, runner, amount and id; or a payment or refund, of a few ids."""
    age_ms = draw(_AGES_MS)
    return {
        "runner": draw(_PAYEES if money else _RUNNERS),
        "type": draw(_PAYMENTS if money else _KINDS),
        "ts_ms": None if age_ms is None else moment_ms - age_ms,
        "amount": draw(_AMOUNTS),
        "id": draw(_PAYMENT_IDS if money else _IDS),
    }


def at_moment(event: dict[str, Any], moment_ms: int) -> dict[str, Any]:
    """An event that was drawn around 0, around this moment."""
    return event if event["ts_ms"] is None else {**event, "ts_ms": moment_ms + event["ts_ms"]}


_EVENT_LISTS = {money: st.lists(event(0, money=money), max_size=4) for money in (False, True)}
"""Made once: a strategy that is made anew for each draw is checked anew, which cost more than the draws."""
_OFFSETS_MS = st.sampled_from([0, 1, 50, 999])
_OTHERS: tuple[st.SearchStrategy[Body], ...] = (
    st.just({"tick": True}),
    st.just({"tick": True}),
    st.just({"unreadable": True}),
    st.sampled_from([{"enrol": {1: {"margin": 3.0}}}, {"enrol": {2: {"entry_score": 8.0}}}]),
)


@st.composite
def logs(
    draw: st.DrawFn,
    *,
    entries: int = 24,
    rule_changes: bool = False,
    terms: list[dict[str, Any]] | None = None,
    money: bool = False,
) -> Log:
    """A log that begins with a rule and enrolments and goes on with anything; or its events are all of money."""
    moment_ms = START_MS + draw(_OFFSETS_MS)
    attributes = {0: {"entry_score": 2.5}, 1: {}, 2: {"entry_score": -1.0, "margin": 0.25}}
    log: Log = [(moment_ms, {"rule": draw(rules(terms))}), (moment_ms, {"enrol": attributes})]
    changed = [rules(terms).map(lambda rule: {"rule": rule})] * 4 if rule_changes else []
    others = st.one_of(*_OTHERS, *changed)
    for _ in range(draw(st.integers(1, entries))):
        moment_ms += draw(_LONG_STEPS_MS if draw(st.integers(0, 15)) == 0 else _STEPS_MS)
        if draw(st.integers(0, 3)):
            body: Body = {"events": [at_moment(one, moment_ms) for one in draw(_EVENT_LISTS[money])]}
        else:
            body = draw(others)
        log.append((moment_ms, body))
    return log


# -- the race that folds them --------------------------------------------------------------------------------


def batch_of(events: list[dict[str, Any]]) -> EventBatch:
    """Event dicts as columns. Cost: Python per event; the door of the service is faster."""
    kinds = tuple(dict.fromkeys(event["type"] for event in events))
    ids = [event.get("id") for event in events]
    times = [event.get("ts_ms") for event in events]
    amounts = [event.get("amount") or 0 for event in events]
    return EventBatch(
        kinds=kinds,
        kind=np.array([kinds.index(event["type"]) for event in events], np.int64),
        runner=np.array([event["runner"] for event in events], np.int64),
        time_ms=np.array([NO_TIME_MS if at_ms is None else at_ms for at_ms in times], np.int64),
        amount=np.array(amounts, np.int64) if any(amounts) else None,
        id_hash=(
            np.array([0 if name is None else hash_id("id", name) for name in ids], np.uint64)
            if any(name is not None for name in ids)
            else None
        ),
    )


def body_of(body: Body, version: int) -> RaceBody:
    """What stands in the venue's log for a body of the oracle's."""
    if "events" in body:
        return batch_of(body["events"])
    if "rule" in body:
        return RuleChange(version=version, rule=body["rule"])
    if "enrol" in body:
        return Enrolment([(number, runner_of(number, given)) for number, given in body["enrol"].items()])
    if "orders" in body:
        return OrdersChange(body["orders"], body.get("withdraw", []))
    return Unreadable("a damaged entry") if "unreadable" in body else Tick()


def runner_of(number: int, attributes: dict[str, float]) -> Runner:
    """A runner with these numeric attributes."""
    given: dict[str, Any] = dict(attributes)
    entry_score = given.pop("entry_score", None)
    return Runner(
        f"product-{number}",
        f"m{number % 2}",
        "title",
        category=f"c{number % 3}",
        tier="hero" if number % 3 == 1 else None,
        entry_score=entry_score,
        attributes=given,
    )


def entries_of(log: Iterable[tuple[int, Body]]) -> list[Entry]:
    """A log as entries, numbered in order."""
    return [Entry(Position(moment_ms, index), body_of(body, index)) for index, (moment_ms, body) in enumerate(log)]


def raced(entries: Iterable[Entry]) -> Race:
    """A race that folded these entries in one go."""
    race = Race()
    race.apply(entries)
    return race


def state(race: Race) -> dict[str, Any]:
    """All that a race shows, bit for bit: two races of one state cannot be told apart."""
    windows = race.windows
    return {
        "position": race.position,
        "moment_ms": race.moment_ms,
        "next_step_ms": race.next_step_ms(),
        "rule": race.rule,
        "rule_version": race.rule_version,
        "kinds": dict(race.kinds),
        "products": list(race.products),
        "counts": {name: getattr(race.counts, name) for name in race.counts.__struct_fields__},
        "window": cells_of(windows.window),
        "base_tenths": cells_of(windows.base_tenths),
        "total": cells_of(windows.total),
        "scores": race.scores.tobytes(),
        "shown": race.shown(),
        "orders": race.steering.save(),
        "memory": race.memory.save(),
        "full_from_ms": race.tally.full_from_ms(),
        "stated": [race.stated_of(number) for number in range(len(race.products))],
    }


def cells_of(sums: IntArray) -> dict[tuple[int, int], int]:
    """Sums that are not 0 by (runner, measure): how much room an array has is no part of a state."""
    return {(row, column): int(sums[row, column]) for row, column in np.argwhere(sums).tolist()}
