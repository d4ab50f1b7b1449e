"""Incremental equals from scratch: what a race keeps up to date is what a recount of its whole log finds."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given

from racing.race import Race
from tests.laws.compare import check_against
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, entries_of, law, logs, rule_of
from tests.laws.oracle import Recount


def _check_each_step(log: Log) -> None:
    race, recounted = Race(), Recount(log[0][1]["rule"])
    for entry, (moment_ms, body) in zip(entries_of(log), log, strict=True):
        race.apply([entry])
        recounted.fold(moment_ms, body)
        if recounted.attributes:
            check_against(recounted, race)


def _events(moment_ms: int, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return START_MS + moment_ms, {"events": [{"runner": 0, **event} for event in events]}


def _log(*steps: tuple[int, dict[str, Any]], rule: dict[str, Any] | None = None) -> Log:
    rule = rule_of(*EVERY_SIGNAL) if rule is None else rule
    return [(START_MS, {"rule": rule}), (START_MS, {"enrol": {0: {}, 1: {}}}), *steps]


@law(150)
@given(logs())
def test_every_sum_signal_and_score_is_what_a_recount_of_the_log_finds(log: Log) -> None:
    _check_each_step(log)


@law(60)
@given(logs(entries=14, rule_changes=True))
@example(  # a refund finds its payment in the bucket that the cells went to
    _log(
        _events(2500, {"type": "pay", "amount": 7, "id": "a"}),
        (START_MS + 4000, {"rule": rule_of(*EVERY_SIGNAL, window_s=4, bucket_s=1)}),
        _events(4000, {"type": "refund", "id": "a"}),
        (START_MS + 6000, {"tick": True}),
        (START_MS + 7000, {"tick": True}),
    )
)
@example(  # a longer window does not bring back what has left the base, nor what refunds would take from it
    _log(
        _events(100, {"type": "pay", "amount": 7, "id": "a"}),
        (START_MS + 6000, {"rule": rule_of(*EVERY_SIGNAL, window_s=2, bucket_s=2)}),
        (START_MS + 6000, {"rule": rule_of(*EVERY_SIGNAL, window_s=6, bucket_s=2)}),
        _events(6100, {"type": "refund", "id": "a"}),
    )
)
def test_rule_changes_in_the_middle_of_a_log_are_recounted_alike(log: Log) -> None:
    _check_each_step(log)


@law(40)
@given(logs())
def test_every_signal_at_once_is_what_a_recount_finds(log: Log) -> None:
    rule = {**log[0][1]["rule"], "terms": EVERY_SIGNAL}

    _check_each_step([(log[0][0], {"rule": rule}), *log[1:]])
