"""Mutated event bodies against the decoders and the door: refused with a reason, or taken and counted. Nothing else."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from api.bodies import JSON, NDJSON
from api.door import Door
from api.ingest import batch_of_lines, decode
from api.packed import MEDIA_TYPE, PackedTaken, decode_packed, sort_out_packed, take_packed
from api.sent_events import AMOUNT_MAX
from api.taken import MalformedBatchError, RefusedEvent, Taken
from racing.entries import Enrolment, Entry, RuleChange, Runner
from racing.events import NO_TIME_MS, EventBatch
from racing.model import Position
from racing.race import Race
from racing.rule import parse_rule
from tests.fuzzing.mutants import changed, mutants
from tests.laws.logs import EVERY_SIGNAL, rule_of

EVENTS_MAX = 1_000
NOW_MS = 1_800_000_000_000
PRODUCTS = ("p-1", "p-2", "p-3", "a.b_C-9")
RULE = rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=10)
_SECRET = b"s" * 32
_TOLD_MAX = 5
_encode = msgspec.json.Encoder().encode


def door() -> Door:
    """A venue's door with four products."""
    rule = parse_rule(RULE)
    kinds = {kind: code for code, kind in enumerate(sorted(rule.kinds()))}
    return Door("hall-1", rule, kinds, {product: number for number, product in enumerate(PRODUCTS)}, NOW_MS)


@dataclass
class Outcome:
    """What became of bodies or entries. It holds if nothing crashed."""

    tried: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing crashed, and the mutants were neither all refused nor all taken."""
        return bool(self.tried) and not self.crashes and len(self.outcomes) > 1

    def became(self, what: str, times: int = 1) -> None:
        """Count what became of one, or of some."""
        self.outcomes[what] = self.outcomes.get(what, 0) + times

    def crashed(self, what: bytes, exc: BaseException) -> None:
        """Remember what did it."""
        self.crashes += 1
        if len(self.told) < _TOLD_MAX:
            self.told.append(f"{exc!r:.300} by {base64.b64encode(what[:1500]).decode()}")


def valid_events() -> list[dict[str, Any]]:
    """Events of every shape that is taken."""
    return [
        {"type": "click", "product": "p-1"},
        {"type": "click", "product": "p-2", "ts_ms": NOW_MS - 1_000},
        {"type": "pay", "product": "p-1", "amount": 19_900, "id": "order-5", "user": "u-1", "ts_ms": NOW_MS},
        {"type": "refund", "product": "p-1", "amount": 9_900, "id": "order-5"},
        {"type": "order", "product": "a.b_C-9", "quantity": 2, "source": "search", "segment": "new", "id": "o-1"},
        {"type": "impression", "product": "p-3", "frame": 17, "slot": 3, "user": "雪 ❄"},
        {"type": "scan", "product": "p-3", "amount": 0, "quantity": 0},
    ]


def valid_packed() -> list[dict[str, Any]]:
    """Packed bodies of every shape that is taken."""
    plain = {
        "kinds": ["click", "pay"],
        "products": ["p-1", "p-2"],
        "kind": bytes([0, 0, 1]),
        "product": np.array([0, 1, 1], "<u4").tobytes(),
    }
    times = np.array([-1, NOW_MS - 1_000, NOW_MS], "<i8").tobytes()
    amounts = np.array([0, 0, 19_900], "<i8").tobytes()
    return [
        plain,
        {**plain, "amount": amounts},
        {**plain, "ts_ms": times, "amount": amounts, "ids": [None, None, "order-5"], "users": ["u-1", None, "雪"]},
    ]


def plain_bodies() -> list[bytes]:
    """JSON batches."""
    events = valid_events()
    batches = [events, events[:2], *([event] for event in events), events * 5]
    return [json.dumps({"events": batch}, ensure_ascii=index % 2 == 0).encode() for index, batch in enumerate(batches)]


def line_bodies() -> list[bytes]:
    """NDJSON batches."""
    events = valid_events()
    return [b"\n".join(json.dumps(event).encode() for event in some) for some in (events, events[:2], events[2:3])]


def packed_bodies() -> list[bytes]:
    """Packed batches."""
    return [msgspec.msgpack.encode(body) for body in valid_packed()]


def mutated_bodies(*, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(media type, body): two fifths JSON, one NDJSON, two packed; a fifth of all changed by value, not by byte."""
    share = count // 25
    yield from ((JSON, body) for body in mutants(plain_bodies(), seed=seed, count=8 * share))
    yield from ((NDJSON, body) for body in mutants(line_bodies(), seed=seed + 1, count=4 * share))
    yield from ((MEDIA_TYPE, body) for body in mutants(packed_bodies(), seed=seed + 2, count=count - 17 * share))
    yield from itertools.islice(_by_value(random.Random(f"values {seed}")), 5 * share)


def _by_value(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Bodies that are well-formed, with a wrong value somewhere."""
    plain, packed = {"events": valid_events()}, valid_packed()
    while True:
        yield MEDIA_TYPE, msgspec.msgpack.encode(changed(rng, rng.choice(packed)))
        yield JSON, msgspec.json.encode(changed(rng, plain))


def try_bodies(bodies: Iterator[tuple[str, bytes]], *, folded_every: int = 20) -> Outcome:
    """What became of them; of those taken, one in folded_every is folded by a race as well."""
    outcome, race, at = Outcome(), race_of(PRODUCTS), door()
    for media_type, body in bodies:
        outcome.tried += 1
        try:
            what, batch = _taken(media_type, body, at)
            outcome.became(what)
            if batch is not None and outcome.tried % folded_every == 0:
                _fold(race, batch)
        except Exception as exc:  # noqa: BLE001  # any is what is looked for
            outcome.crashed(body, exc)
    return outcome


def race_of(products: Sequence[str]) -> Race:
    """A race with a rule of every signal, and these products."""
    race = Race()
    enrolment = Enrolment([(number, Runner(product, "m", "t")) for number, product in enumerate(products)])
    race.apply([Entry(Position(NOW_MS, 0), RuleChange(1, RULE)), Entry(Position(NOW_MS, 1), enrolment)])
    return race


def _fold(race: Race, batch: EventBatch) -> None:
    before = sum(msgspec.structs.astuple(race.counts))
    race.apply([Entry(Position(race.position.ms + 7, 0), batch)])
    after = sum(msgspec.structs.astuple(race.counts)) - race.counts.unmatched_refund
    assert after >= before + len(batch) - race.counts.unmatched_refund, "events that no counter knows"


def _taken(media_type: str, body: bytes, at: Door) -> tuple[str, EventBatch | None]:
    """(what became of a body, its log entry as the fold reads it). Raises AssertionError for nonsense."""
    try:
        if media_type == MEDIA_TYPE:
            came = decode_packed(body, events_max=EVENTS_MAX)
            size = len(came)
            taken: Taken | PackedTaken
            taken, refused = sort_out_packed(came, at)
            whole = take_packed(came, at) is not None
        else:
            decoded = decode(batch_of_lines(body) if media_type == NDJSON else body, events_max=EVENTS_MAX)
            size = len(decoded.places) + len(decoded.refused)
            taken, refused = at.sort_out(decoded)
            whole = not decoded.refused and at.take(decoded.rows) is not None
    except MalformedBatchError as exc:
        _encode([exc.code, str(exc)])
        return exc.code, None
    _check_refused(refused, size, len(taken))
    assert whole == (not refused), "the short way and the long one differ"
    if not len(taken):
        return "all refused", None
    batch = EventBatch.unpack(taken.batch(_SECRET).pack())
    _check_batch(batch, len(taken), at)
    return "all taken" if whole else "some refused", batch


def _check_refused(refused: list[RefusedEvent], size: int, taken: int) -> None:
    indexes = [each.index for each in refused]
    assert taken + len(refused) == size, "an event is neither taken nor refused"
    assert indexes == sorted(set(indexes)), "an event is refused twice, or out of order"
    assert all(0 <= index < size for index in indexes), "an event is refused that is not there"
    assert all(each.code and each.reason for each in refused), "an event is refused without a reason"
    _encode(refused)


def _check_batch(batch: EventBatch, size: int, at: Door) -> None:
    """What came through the door is what the fold may rely on."""
    assert len(batch) == size, "an event is lost on the way into the log"
    assert int(batch.runner.max()) < len(PRODUCTS), "a runner that does not exist"
    assert int(batch.kind.max()) < len(at.kinds), "a kind that the rule does not know"
    if batch.amount is not None:
        assert int(batch.amount.max()) <= AMOUNT_MAX, "an amount that is too large"
    if batch.time_ms is not None:
        given = batch.time_ms[batch.time_ms < NO_TIME_MS]
        first_ms, last_ms = at.times_ms()
        assert ((given >= first_ms) & (given <= last_ms)).all(), "a time that is not taken"
