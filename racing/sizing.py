"""How much memory a Redis needs for a venue: an estimate from above, from what was measured of each part.

The weights are those of Valkey 9.1 and Redis 7.0 on 64 bits, by MEMORY USAGE of whole keys: 5,000 runners with titles
of 40 letters, and 100,000 events with users in batches of 1,000, under the default rule. A test holds the estimate
against what a real server says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

FULL_AT = 0.6
"""From this share of its bound on a server trims its log to two windows: what is asked for must fit below."""

_RUNNER_BYTES = 260
"""Its number, its data, its place in the roll: 246. It is also a member of the merchants' set."""
_MEMBER_BYTES = 105
"""One runner in one sorted set: 79 in Valkey, 102 in Redis."""
_SETS_PER_MEASURE = 3
_CELL_BYTES = 16
"""Of a checkpoint: bucket, measure, runner, sum."""
_ID_BYTES = 20
_RECORDS = 4
"""All checkpoints together weigh about so many full ones."""
_EVENT_BYTES, _ENTRY_BYTES = 25, 200
"""Of the log: 22 with a user, 25 with an id as well; an entry names the one before it."""
_KEY_BYTES = 230
"""An Idempotency-Key and its answer: 202 to 215."""
_GENERATIONS = 2
"""Answers are kept for twice their time at most."""
_FRAMES, _FRAME_BYTES, _SLOT_BYTES = 3_000, 400, 430
_SERVER_BYTES = 32_000_000
"""The server itself, and 512 entries on their way to a scorer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one venue is to carry. id_share: part of the events that have an id; key_share: batches with a key."""

    runners: int
    events_per_s: float
    measures: int = 6
    window_s: int = 300
    bucket_s: int = 10
    slots: int = 50
    batch_events: int = 100
    id_share: float = 1.0
    key_share: float = 1.0
    log_keep_s: int = 3_600
    idempotency_s: int = 900


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes by part."""

    server: int
    runners: int
    sorted_sets: int
    checkpoints: int
    log: int
    idempotency_keys: int
    frames: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())

    @property
    def bound(self) -> int:
        """What to set maxmemory to, bytes: so that all parts fit before the log has to give way."""
        return int(self.total / FULL_AT)


def memory_needed(plan: Plan) -> Need:
    """The most that each part comes to when windows and log are full. Cost: O(1)."""
    buckets = 2 * plan.window_s // plan.bucket_s
    cells = buckets * min(plan.runners * plan.measures, int(2 * plan.events_per_s * plan.bucket_s))
    ids = plan.id_share * plan.events_per_s * max(2 * plan.window_s, 900)
    kept_s = max(plan.log_keep_s, 2 * plan.window_s) + 2 * plan.window_s
    batches_per_s = plan.events_per_s / plan.batch_events
    return Need(
        server=_SERVER_BYTES,
        runners=plan.runners * (_RUNNER_BYTES + _MEMBER_BYTES),
        sorted_sets=plan.runners * _MEMBER_BYTES * (1 + _SETS_PER_MEASURE * plan.measures),
        checkpoints=int(_RECORDS * (cells * _CELL_BYTES + ids * _ID_BYTES)),
        log=int(kept_s * (plan.events_per_s * _EVENT_BYTES + batches_per_s * _ENTRY_BYTES)),
        idempotency_keys=int(plan.key_share * batches_per_s * plan.idempotency_s * _GENERATIONS * _KEY_BYTES),
        frames=_FRAMES * (_FRAME_BYTES + min(plan.slots, plan.runners) * _SLOT_BYTES),
    )
