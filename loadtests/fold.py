"""The fold alone: CPU of Race.apply per event, in this process, by number of runners. No server, no API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

from loadtests.prefill import Span
from loadtests.stack import ENROL_MAX
from loadtests.traffic import KINDS, Events, Traffic, product_of, rule_document
from racing.entries import Enrolment, Entry, RuleChange, Runner
from racing.events import EventBatch
from racing.model import Position
from racing.race import Race

START_MS = 1_762_790_400_000
_BATCH = 500
_COMMITS_PER_ROUND = 20
"""Commits from one round of set members to the next, which takes the changes: 600 ms of them at saturation."""


def fold_us_per_event(
    runners: int, span: Span, *, events_per_commit: int, events_per_bucket: int, buckets: int = 3
) -> float:
    """CPU microseconds per event of folding and reading the board once per commit, boundaries included.

    The window is filled first. Commits and buckets are as large as the live measurement had them.
    """
    traffic, race, sequence = Traffic(runners), Race(), count(1)
    _open(race, runners, span, sequence)
    first = START_MS // (1000 * span.bucket_s)
    variants = [traffic.cells(events_per_bucket, purpose=400 + index) for index in range(3)]
    for bucket in range(first, first + span.buckets):
        race.apply(_entries(variants[bucket % len(variants)], bucket * 1000 * span.bucket_s, sequence))
        race.take_changes()
    drawn = traffic.draw(events_per_bucket, purpose=410)
    spent_s, folded = 0.0, 0
    for bucket in range(first + span.buckets, first + span.buckets + buckets):
        for commit, start in enumerate(range(0, len(drawn), events_per_commit)):
            part = drawn.part(start, start + events_per_commit)
            entries = list(_entries(part, bucket * 1000 * span.bucket_s, sequence))
            begun_s = time.process_time()
            race.apply(entries)
            race.slots()
            if commit % _COMMITS_PER_ROUND == 0:
                race.take_changes()
            spent_s += time.process_time() - begun_s
            folded += len(part)
    return round(1e6 * spent_s / folded, 3)


def _open(race: Race, runners: int, span: Span, sequence: Iterator[int]) -> None:
    rule = rule_document(window_s=span.window_s, bucket_s=span.bucket_s)
    race.apply([Entry(Position(START_MS - 1, next(sequence)), RuleChange(1, rule))])
    for start in range(0, runners, ENROL_MAX):
        numbers = range(start, min(runners, start + ENROL_MAX))
        enrolment = Enrolment([(number, Runner(product_of(number), "m-1", "")) for number in numbers])
        race.apply([Entry(Position(START_MS - 1, next(sequence)), enrolment)])


def _entries(events: Events, moment_ms: int, sequence: Iterator[int]) -> Iterator[Entry]:
    for start in range(0, len(events), _BATCH):
        part = events.part(start, start + _BATCH)
        batch = EventBatch(kinds=KINDS, kind=part.kind, runner=part.runner, time_ms=None, amount=part.amount)
        yield Entry(Position(moment_ms, next(sequence)), batch)
