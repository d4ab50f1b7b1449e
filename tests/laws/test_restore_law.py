"""Restore equals never stopped: from any checkpoint and the log after it, bit for bit, again and again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from racing.columns import pack
from racing.entries import Entry, Tick
from racing.errors import CorruptRecordError
from racing.model import Position
from racing.race import Race
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, entries_of, law, logs, raced, rule_of, state


class Records:
    """What a store keeps of a race's checkpoints: the last full record and those after it."""

    def __init__(self, kept: list[bytes] | None = None) -> None:
        self.kept = [] if kept is None else list(kept)

    def take(self, race: Race, *, full: bool = False) -> None:
        """One more checkpoint."""
        record, is_full = race.checkpoint(full=full)
        self.kept = [record] if is_full else [*self.kept, record]


def _raced_with_checkpoints(race: Race, records: Records, entries: list[Entry], plan: list[int]) -> None:
    """Fold entry by entry; the plan's number for each says: 0, 1 none; 2 a checkpoint; 3 a full one."""
    for entry, choice in zip(entries, plan, strict=True):
        race.apply([entry])
        if choice >= 2:
            records.take(race, full=choice == 3)


def _plans(size: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from([0, 0, 1, 2, 2, 3]), min_size=size, max_size=size)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Log, list[int]]:
    log = draw(logs(entries=18, rule_changes=draw(st.booleans())))
    return log, draw(_plans(len(log)))


_LATE_BEFORE_THE_CHECKPOINT: Log = [
    (START_MS, {"rule": rule_of(*EVERY_SIGNAL)}),
    (START_MS, {"enrol": {0: {}, 1: {"entry_score": 4.0}}}),
    (
        START_MS + 1900,
        {"events": [{"runner": 0, "type": "click"}, {"runner": 1, "type": "pay", "amount": 9}]},
    ),
    # late events leave the held sums alone: a race that counted them anew would show another tide
    (START_MS + 4100, {"events": [{"runner": 0, "type": "click", "ts_ms": START_MS + 3000}] * 3}),
    (START_MS + 4200, {"events": [{"runner": 0, "type": "click"}]}),
    (START_MS + 8200, {"tick": True}),
]

_ID_AT_ITS_EXPIRY: Log = [
    (START_MS, {"rule": rule_of(*EVERY_SIGNAL)}),
    (START_MS, {"enrol": {0: {}}}),
    (START_MS, {"events": [{"runner": 0, "type": "pay", "amount": 9, "id": "a"}]}),
    (START_MS + 899_999, {"tick": True}),
    (START_MS + 900_000, {"tick": True}),
    (START_MS + 900_001, {"tick": True}),
    (START_MS + 900_001, {"events": [{"runner": 0, "type": "refund", "id": "a"}]}),
    (START_MS + 900_001, {"events": [{"runner": 0, "type": "pay", "amount": 9, "id": "a"}]}),
]


@law(100)
@given(_cases())
@example((_LATE_BEFORE_THE_CHECKPOINT, [2, 2, 2, 2, 2, 2]))
@example((_LATE_BEFORE_THE_CHECKPOINT, [2, 0, 0, 0, 3, 2]))
@example((_ID_AT_ITS_EXPIRY, [2, 2, 2, 2, 2, 2, 2, 2]))
@example(([_ID_AT_ITS_EXPIRY[0], *_ID_AT_ITS_EXPIRY[1:3], *_ID_AT_ITS_EXPIRY[5:]], [2, 2, 2, 2, 2, 2]))
def test_a_race_restored_from_any_checkpoint_goes_on_as_if_it_had_never_stopped(
    case: tuple[Log, list[int]],
) -> None:
    log, plan = case
    entries = entries_of(log)
    never_stopped, records = Race(), Records()
    records.take(never_stopped)
    chains = [(0, records.kept)]
    for index, (entry, choice) in enumerate(zip(entries, plan, strict=True)):
        never_stopped.apply([entry])
        if choice >= 2:
            records.take(never_stopped, full=choice == 3)
            chains.append((index + 1, records.kept))
            assert state(never_stopped) == state(Race.restore(records.kept))
    expected = state(never_stopped)

    for folded, kept in chains:
        race = Race.restore(kept)
        race.apply(entries[folded:])

        assert expected == state(race)


@law(80)
@given(_cases(), st.data())
@example((_LATE_BEFORE_THE_CHECKPOINT, [2, 2, 2, 2, 2, 2]), None)
def test_a_race_that_is_restored_at_every_checkpoint_loses_and_doubles_nothing(
    case: tuple[Log, list[int]], data: st.DataObject | None
) -> None:
    log, plan = case
    entries = entries_of(log)
    records = Records()
    race = Race()
    records.take(race)
    folded = 0
    for index, choice in enumerate(plan):
        race.apply(entries[folded : index + 1])
        folded = index + 1
        if choice >= 2:
            records.take(race, full=choice == 3)
            # the owner dies here; or it lives on beside the one that restores, which must be no different
            if data is None or data.draw(st.booleans()):
                race = Race.restore(records.kept)
    race.apply(entries[folded:])

    assert state(raced(entries)) == state(race)


@law(50)
@given(_cases())
def test_what_was_folded_after_the_checkpoint_is_folded_again_from_the_log(
    case: tuple[Log, list[int]],
) -> None:
    log, plan = case
    entries = entries_of(log)
    race, records = Race(), Records()
    records.take(race)
    _raced_with_checkpoints(race, records, entries, plan)
    restored = Race.restore(records.kept)
    # the whole log comes: what the checkpoint holds is passed over
    restored.apply(entries)

    assert state(race) == state(restored)


def test_a_race_restored_from_nothing_is_a_new_one() -> None:
    """Its first checkpoint is a full one, from which a race can be restored again."""
    race = Race.restore([])
    race.apply([Entry(Position(START_MS, 0), Tick())])
    record, full = race.checkpoint()

    assert full
    assert state(race) == state(Race.restore([record]))


def test_a_race_is_not_restored_from_a_record_of_changes_alone() -> None:
    race = raced(entries_of(_LATE_BEFORE_THE_CHECKPOINT))
    race.checkpoint()
    record, full = race.checkpoint()

    assert not full
    with pytest.raises(CorruptRecordError, match="not a full one"):
        Race.restore([record])


@pytest.mark.parametrize("missing", ["full", "position", "rule", "rule_version", "kinds", "counts", "runners"])
def test_a_record_of_something_else_is_refused_as_such(missing: str) -> None:
    """A sound checksum over other content is named a corrupt record, not any other error."""
    header: dict[str, Any] = {
        "full": True,
        "position": "0-0",
        "rule": rule_of(*EVERY_SIGNAL),
        "rule_version": 1,
        "kinds": [],
        "counts": {},
        "runners": [],
    }
    del header[missing]

    with pytest.raises(CorruptRecordError):
        Race.restore([pack(header, {})])
