"""Batches equal single entries: the same log gives the same bits, however its entries were batched."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from racing.entries import (
    DECISION_FIELD,
    EVENTS_FIELD,
    Enrolment,
    Entry,
    RuleChange,
    decode_body,
    encode_decision,
)
from racing.events import EventBatch
from racing.race import Race
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, entries_of, law, logs, raced, rule_of, state

_ANY_LOG = st.tuples(st.booleans(), st.sampled_from([None, EVERY_SIGNAL])).flatmap(
    lambda drawn: logs(entries=20, rule_changes=drawn[0], terms=drawn[1])
)


def _split(entries: list[Entry], cuts: list[int]) -> list[list[Entry]]:
    edges = [0, *sorted(cut % (len(entries) + 1) for cut in cuts), len(entries)]
    return [entries[start:end] for start, end in itertools.pairwise(edges)]


_CUTS = st.lists(st.integers(0, 40), max_size=5)

_TWO_PAYMENTS_OF_ONE_STEP_EXPIRE: Log = [
    (START_MS, {"rule": rule_of(*EVERY_SIGNAL)}),
    (START_MS, {"enrol": {0: {}}}),
    (START_MS + 1, {"events": [{"runner": 0, "type": "pay", "amount": 9, "id": "a"}]}),
    (START_MS + 2, {"events": [{"runner": 0, "type": "pay", "amount": 9, "id": "b"}]}),
    # the first step after the quarter of an hour falls between the two ids' expiries
    (START_MS + 900_001, {"tick": True}),
    (START_MS + 900_001, {"events": [{"runner": 0, "type": "refund", "id": "a"}]}),
]

_A_PAYMENT_COMES_AGAIN_AFTER_ITS_REFUND: Log = [
    *_TWO_PAYMENTS_OF_ONE_STEP_EXPIRE[:3],
    (START_MS + 900_001, {"events": [{"runner": 0, "type": "refund", "id": "a"}]}),
    (START_MS + 900_002, {"events": [{"runner": 0, "type": "pay", "amount": 8, "id": "a"}]}),
]

_ON_THE_BOUNDARY: Log = [
    *_TWO_PAYMENTS_OF_ONE_STEP_EXPIRE[:2],
    (START_MS + 1, {"events": [{"runner": 0, "type": "pay", "amount": 10}]}),
    (START_MS + 3999, {"events": [{"runner": 0, "type": "pay", "amount": 50}]}),
    # the mean payment held from here on is of both before, the one of a millisecond ago included
    (START_MS + 4000, {"events": [{"runner": 0, "type": "pay", "amount": 50}]}),
]


@law(100)
@given(_ANY_LOG, _CUTS)
@example(_TWO_PAYMENTS_OF_ONE_STEP_EXPIRE, [])
@example(_ON_THE_BOUNDARY, [])
@example(_A_PAYMENT_COMES_AGAIN_AFTER_ITS_REFUND, [])
def test_any_split_of_a_log_into_batches_gives_the_same_bits(log: Log, cuts: list[int]) -> None:
    entries = entries_of(log)
    one_by_one, batched = Race(), Race()
    for entry in entries:
        one_by_one.apply([entry])
    for batch in _split(entries, cuts):
        batched.apply(batch)

    assert state(one_by_one) == state(batched)


@law(60)
@given(_ANY_LOG, _CUTS)
def test_every_position_of_a_log_has_one_board(log: Log, cuts: list[int]) -> None:
    """A frame that is published after any batch is the one that single entries would have published there."""
    entries = entries_of(log)
    one_by_one, batched = Race(), Race()
    boards: dict[Any, Any] = {}
    for entry in entries:
        one_by_one.apply([entry])
        boards[one_by_one.position] = state(one_by_one)
    for batch in _split(entries, cuts):
        batched.apply(batch)
        if batch:
            assert boards[batched.position] == state(batched)


@law(60)
@given(_ANY_LOG, _CUTS)
def test_folding_entries_again_changes_nothing(log: Log, cuts: list[int]) -> None:
    entries = entries_of(log)
    race = Race()
    for batch in _split(entries, cuts):
        race.apply(batch)
        before, scores = state(race), race.scores.copy()
        race.take_changes()
        race.apply(batch)
        race.apply(entries[: entries.index(batch[-1]) + 1] if batch else [])

        assert before == state(race)
        assert scores.tobytes() == race.scores.tobytes()
        assert (0, 0) == tuple(map(len, (race.take_changes().runners, race.take_changes().keys)))


@law(60)
@given(_ANY_LOG)
def test_a_log_read_back_from_its_bytes_gives_the_same_bits(log: Log) -> None:
    """What the log keeps of an entry is all that the fold needs."""

    def stored(entry: Entry) -> Entry:
        if isinstance(entry.body, EventBatch):
            return Entry(entry.position, decode_body({EVENTS_FIELD: entry.body.pack()}))
        if isinstance(entry.body, Enrolment | RuleChange):
            return Entry(entry.position, decode_body({DECISION_FIELD: encode_decision(entry.body)}))
        return entry

    entries = entries_of(log)

    assert state(raced(entries)) == state(raced([stored(entry) for entry in entries]))


@law(60)
@given(logs(), st.randoms(use_true_random=False))
def test_ticks_in_between_change_no_score(log: Log, random: Any) -> None:
    """Time that stops at more places on its way shows the same board at the end.

    (Held sums are taken when a bucket begins, so a tick in a bucket that had no entry changes none of them.)
    """
    ticked: Log = []
    for (moment_ms, body), following in itertools.zip_longest(log, log[1:]):
        ticked.append((moment_ms, body))
        if following is not None and following[0] > moment_ms:
            places = sorted(random.randint(moment_ms, following[0]) for _ in range(random.randint(0, 3)))
            ticked += [(place, {"tick": True}) for place in places]
    plain, often = raced(entries_of(log)), raced(entries_of(ticked))

    assert plain.scores.tobytes() == often.scores.tobytes()
    assert state(plain)["counts"] == state(often)["counts"]
    assert state(plain)["shown"] == state(often)["shown"]
