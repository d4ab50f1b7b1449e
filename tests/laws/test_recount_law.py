"""Incremental equals from scratch: what a race keeps up to date is what a recount of its whole log finds."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from racing.race import Race
from tests.laws.compare import check_against
from tests.laws.logs import CUTS, EVERY_SIGNAL, KINDS, START_MS, Log, cells_of, entries_of, law, logs, raced, rule_of
from tests.laws.oracle import Recount


def _check_each_step(log: Log) -> None:
    race, recounted = Race(), Recount(log[0][1]["rule"])
    for entry, (moment_ms, body) in zip(entries_of(log), log, strict=True):
        race.apply([entry])
        recounted.fold(moment_ms, body)
        if recounted.attributes:
            check_against(recounted, race)


_OF_MONEY = [term for term in EVERY_SIGNAL if term.get("metric", "").startswith("pay")]


def _events(moment_ms: int, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return START_MS + moment_ms, {"events": [{"runner": 0, **event} for event in events]}


def _log(*steps: tuple[int, dict[str, Any]]) -> Log:
    return [(START_MS, {"rule": rule_of(*EVERY_SIGNAL)}), (START_MS, {"enrol": {0: {}, 1: {}}}), *steps]


@law(150)
@given(logs())
@example(  # an id is remembered for a quarter of an hour, to the millisecond
    _log(
        _events(1, {"type": "click", "id": "a"}),
        _events(900_000, {"type": "click", "id": "a"}),
        _events(900_001, {"type": "click", "id": "a"}),
    )
)
def test_every_sum_signal_and_score_is_what_a_recount_of_the_log_finds(log: Log) -> None:
    _check_each_step(log)


@law(40)
@given(logs(terms=EVERY_SIGNAL))
def test_every_signal_at_once_is_what_a_recount_finds(log: Log) -> None:
    _check_each_step(log)


@law(60)
@given(logs(entries=14, terms=_OF_MONEY, money=True))
def test_refunds_take_back_what_a_recount_finds(log: Log) -> None:
    _check_each_step(log)


_SHORTER_AND_LONGER_AGAIN = [
    (START_MS + 6000, {"rule": rule_of(*EVERY_SIGNAL, window_s=2, bucket_s=2)}),
    (START_MS + 6000, {"rule": rule_of(*EVERY_SIGNAL, window_s=6, bucket_s=2)}),
]


@law(60)
@given(st.booleans().flatmap(lambda money: logs(entries=14, rule_changes=True, terms=EVERY_SIGNAL, money=money)))
@example(  # a refund finds its payment in the bucket that the cells went to
    _log(
        _events(3500, {"type": "pay", "amount": 7, "id": "a"}),
        (START_MS + 4000, {"rule": rule_of(*EVERY_SIGNAL, window_s=4, bucket_s=1)}),
        _events(4000, {"type": "refund", "id": "a"}),
        (START_MS + 6000, {"tick": True}),
        (START_MS + 7000, {"tick": True}),
    )
)
@example(  # a longer window does not bring back what has left the base, nor what refunds would take from it
    _log(
        _events(100, {"type": "pay", "amount": 7, "id": "a"}),
        *_SHORTER_AND_LONGER_AGAIN,
        _events(6100, {"type": "refund", "id": "a"}),
    )
)
@example(_log(_events(2100, {"type": "click"}), *_SHORTER_AND_LONGER_AGAIN))
@example(  # the venue's sums reach back two windows from the running bucket, also where they were just cut
    _log(
        _events(0, *[{"type": "click"}] * 5),
        _events(2500, {"type": "click"}, {"type": "click", "runner": 1}),
        (START_MS + 4000, {"rule": rule_of(*EVERY_SIGNAL, window_s=2, bucket_s=1)}),
    )
)
def test_rule_changes_in_the_middle_of_a_log_are_recounted_alike(log: Log) -> None:
    _check_each_step(log)


_UNNAMED = st.fixed_dictionaries(
    {
        "runner": st.integers(0, 2),
        "type": st.sampled_from(KINDS),
        "ts_ms": st.integers(START_MS, START_MS + 9000),
        "amount": st.sampled_from([None, 3, 100]),
    }
)


@law(60)
@given(st.lists(_UNNAMED, max_size=12), st.randoms(use_true_random=False), st.sampled_from(CUTS))
def test_the_order_in_which_events_arrive_changes_no_sum(
    events: list[dict[str, Any]], random: Any, cut: tuple[int, int]
) -> None:
    """Each counts at its own time: in order, or shuffled and all at once, while they are not late."""
    window_s, bucket_s = cut
    end_ms = START_MS + 9000 - 9000 % (1000 * bucket_s)
    timely = [event for event in events if event["ts_ms"] > end_ms - 1000 * (2 * window_s - bucket_s)]
    in_order = sorted(timely, key=lambda event: int(event["ts_ms"]))
    shuffled = random.sample(timely, len(timely))
    rule = rule_of(*EVERY_SIGNAL, window_s=window_s, bucket_s=bucket_s)
    first: Log = [(START_MS - 1, {"rule": rule}), (START_MS - 1, {"enrol": {0: {}, 1: {}, 2: {}}})]
    last = (START_MS + 9001, {"tick": True})
    live = raced(entries_of([*first, *((e["ts_ms"], {"events": [e]}) for e in in_order), last]))
    late = raced(entries_of([*first, (START_MS + 9000, {"events": shuffled}), last]))

    for part in ("window", "base_tenths", "total"):
        assert cells_of(getattr(live.windows, part)) == cells_of(getattr(late.windows, part))
    assert live.counts == late.counts
