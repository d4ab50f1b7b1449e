"""Mutated log entries against decoding and the fold: a bad one is counted and passed over, and the race goes on."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from racing.columns import pack
from racing.entries import (
    DECISION_FIELD,
    EVENTS_FIELD,
    NUMBERS_AHEAD_MAX,
    TICK_FIELD,
    Enrolment,
    Entry,
    RuleChange,
    Runner,
    Unreadable,
    decode_body,
    encode_decision,
)
from racing.errors import NewerFormatError
from racing.model import Position
from racing.race import Race
from tests.fuzzing.bodies import NOW_MS, PRODUCTS, RULE, Outcome, race_of
from tests.fuzzing.mutants import changed, mutants
from tests.laws.logs import batch_of, state

Fields = dict[bytes, bytes]
_RUNNERS_MAX = 300_000
"""With so many a race begins anew: a mutant may make NUMBERS_AHEAD_MAX more, and no more than that."""
_RESTORED_EVERY = 500


def valid_batches() -> list[bytes]:
    """Packed batches as they stand in the log."""
    events: list[list[dict[str, Any]]] = [
        [{"type": "click", "runner": 0}],
        [
            {"type": "click", "runner": 1, "ts_ms": NOW_MS + 500},
            {"type": "pay", "runner": 0, "amount": 19_900, "id": "a"},
        ],
        [{"type": "refund", "runner": 0, "amount": 100, "id": "a"}, {"type": "scan", "runner": 3}],
        [{"type": "order", "runner": index % 4, "id": f"o-{index}", "amount": index} for index in range(40)],
    ]
    return [batch_of(each).pack() for each in events]


def valid_decisions() -> list[bytes]:
    """Rules and enrolments as they stand in the log."""
    runner = Runner("p-2", "m", "t", stock=5, price=100, entry_score=1.5, attributes={"margin": 0.25, "label": "x"})
    return [
        encode_decision(RuleChange(2, RULE, "operator", "note")),
        encode_decision(RuleChange(3, {"window_s": 4, "bucket_s": 2, **{k: RULE[k] for k in ("metrics", "terms")}})),
        encode_decision(Enrolment([(1, runner)])),
        encode_decision(Enrolment([(number, Runner(f"p-{number}", "m", "t")) for number in (2, 4, 5)])),
    ]


def sealed(record: bytes) -> bytes:
    """A mutated packed record with its checksum put right: as if whoever wrote it had meant it so."""
    if len(record) < 6 or not record[0]:
        return record
    return record[:1] + struct.pack("<I", zlib.crc32(record[5:], record[0] - 1)) + record[5:]


def extremes(rng: random.Random, count: int) -> Iterator[bytes]:
    """Batches that are packed as they must be, of numbers as large or as many as their columns can hold."""
    numbers = [0, 1, 255, 2**31, 2**32, 2**53, 2**62 - 1, 2**62, 2**63 - 1]
    for _ in range(count):
        size = rng.choice([0, 1, 2, 50])
        columns = {
            name: np.array([rng.choice(numbers) for _ in range(size)], np.uint64)
            for name in rng.sample(["time", "amount", "id_hash", "user_hash", "quantity", "slot", "frame", "source"], 4)
        }
        kinds = rng.choice([["click"], ["pay", "refund"], [f"kind_{index}" for index in range(70)], ["", "馬" * 100]])
        columns["kind"] = np.array([rng.randrange(len(kinds)) for _ in range(size)], np.uint64)
        columns["runner"] = np.array([rng.choice([0, 1, 3, 4, *numbers]) for _ in range(size)], np.uint64)
        base_ms = rng.choice([0, NOW_MS, -NOW_MS, 2**62, -(2**62), 2**63 - 1])
        yield pack({"n": size, "base_ms": base_ms, "kinds": kinds}, columns)


def mutated_entries(*, seed: int, count: int) -> Iterator[Fields]:
    """Two fifths batches with a right checksum, one with a wrong one or of extremes, two decisions."""
    share = count // 5
    for body in mutants(valid_batches(), seed=seed, count=2 * share):
        yield {EVENTS_FIELD: sealed(body)}
    half = share // 2
    for body in mutants(valid_batches(), seed=seed + 1, count=half):
        yield {EVENTS_FIELD: body}
    yield from ({EVENTS_FIELD: body} for body in extremes(random.Random(f"extremes {seed}"), count - 4 * share - half))
    for body in mutants(valid_decisions(), seed=seed + 2, count=share):
        yield {DECISION_FIELD: body}
    rng = random.Random(f"decisions {seed}")
    documents = [json.loads(body) for body in valid_decisions()]
    for _ in range(share):
        document = changed(rng, rng.choice(documents))
        yield {rng.choice([DECISION_FIELD] * 9 + [TICK_FIELD]): msgspec.json.encode(document)}


def try_entries(entries: Iterator[Fields]) -> Outcome:
    """What became of them, each folded by a race that must count a good event after it."""
    outcome, race = Outcome(), race_of(PRODUCTS)
    for fields in entries:
        outcome.tried += 1
        try:
            outcome.became(_folded(race, fields))
            if outcome.tried % _RESTORED_EVERY == 0 or len(race.products) > _RUNNERS_MAX:
                _check_restored(race)
                race = race_of(PRODUCTS)
        except NewerFormatError:  # said so, and soundly: whoever goes on without it would lose it
            outcome.became("newer")
            race = race_of(PRODUCTS)
        except Exception as exc:  # noqa: BLE001  # any is what is looked for
            outcome.crashed(b"".join(fields.values()), exc)
            race = race_of(PRODUCTS)
    return outcome


def _folded(race: Race, fields: Fields) -> str:
    """What became of an entry: counted as unreadable, or folded."""
    body = decode_body(fields)
    unreadable, runners = race.counts.unreadable, len(race.products)
    race.apply([Entry(Position(race.position.ms + 13, 0), body)])
    refused = race.counts.unreadable - unreadable
    assert refused == 1 if isinstance(body, Unreadable) else refused in (0, 1), "a bad entry is counted once"
    room = NUMBERS_AHEAD_MAX + (len(body.runners) if isinstance(body, Enrolment) else 0)
    assert len(race.products) <= runners + room, "an entry has made more runners than there is room for"
    counted = race.counts.counted
    race.apply([Entry(Position(race.position.ms + 1, 0), _good())])
    assert race.counts.counted == counted + 1, "the race no longer counts"
    assert len(race.slots()) <= race.rule.board.slots, "more slots than the rule has"
    return type(body).__name__ if not refused else f"{type(body).__name__} refused"


def _good() -> Any:
    return batch_of([{"type": "click", "runner": 0}])


def _check_restored(race: Race) -> None:
    """What the entries have made of a race can be written and read back."""
    record, _ = race.checkpoint(full=True)
    restored = Race.restore([record])
    ours, theirs = state(race), state(restored)
    different: Sequence[str] = [name for name, value in ours.items() if value != theirs[name]]
    assert not different, f"a restored race differs in {', '.join(different)}"
