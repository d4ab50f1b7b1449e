"""What a seed means: how long a run is, who takes part, and which faults come when. Nothing else decides anything."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.laws.logs import METRICS

_TERMS: list[dict[str, Any]] = [
    {"metric": "click", "signal": "level", "weight": 1},
    {"metric": "click", "signal": "surge", "weight": 2, "prior": 3, "tide": True},
    {"metric": "pay_amount", "signal": "root", "weight": 0.1},
    {"metric": "pay", "signal": "uplift", "weight": 3},
    {"metric": "pay_amount", "signal": "total", "weight": 0.001},
    {"ratio": ["pay", "click"], "signal": "rate", "weight": 5, "prior": 4},
]
_LASTS_S = (0.05, 0.3, 0.8, 1.5)
_JUMPS_S = (-3600.0, -5.0, -1.0, 0.5, 5.0, 60.0)
"""How far the server's clock is set: ahead by less than answers to an Idempotency-Key are kept; back by so little that
the lease of an owner that dies just then ends before the run must have settled, or by more than any lease lasts."""
_CLOCK_JUMPS = 0.05
_CUTS = ((2, 1), (2, 2), (4, 2), (6, 2), (6, 3))


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: what, to whom, when and for how long, in seconds of the run."""

    at_s: float
    what: str
    who: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    run_s: float
    scorers: int
    apis: int
    senders: int
    runners: int
    rule: dict[str, Any]
    frame_ms: int
    keyed: float
    packed: float
    repeated: float
    slow: float
    lost: float
    black_hole: float
    skew_s: float
    small_checkpoints: bool
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed."""
        rng = random.Random(f"plan {seed}")
        run_s = rng.uniform(2.5, 4.5)
        scorers, apis = rng.choice([2, 2, 2, 3]), rng.choice([1, 2])
        plan = cls(
            seed=seed,
            run_s=run_s,
            scorers=scorers,
            apis=apis,
            senders=rng.choice([1, 2, 3]),
            runners=rng.choice([1, 3, 8]),
            rule=rule_of(rng),
            frame_ms=rng.choice([0, 100, 250]),
            keyed=rng.choice([1.0, 0.7]),
            packed=rng.choice([0.0, 0.3]),
            repeated=rng.choice([0.0, 0.2]),
            slow=rng.choice([0.0, 0.0, 0.01, 0.05]),
            lost=rng.choice([0.0, 0.005, 0.02, 0.05]),
            black_hole=rng.choice([0.0, 0.5, 1.0]),
            skew_s=rng.choice([0.0, 0.5, 3600.0]),
            small_checkpoints=rng.random() < 0.5,
        )
        plan.faults.extend(sorted(_faults(rng, plan), key=lambda each: each.at_s))
        return plan


def rule_of(rng: random.Random) -> dict[str, Any]:
    """A small rule."""
    window_s, bucket_s = rng.choice(_CUTS)
    terms = rng.sample(_TERMS, rng.randint(1, 4))
    return {
        "window_s": window_s,
        "bucket_s": bucket_s,
        "metrics": METRICS,
        "terms": terms,
        "board": {"slots": rng.choice([1, 3, 10])},
    }


def _faults(rng: random.Random, plan: Plan) -> list[Fault]:
    scorers = [f"scorer-{index}" for index in range(plan.scorers)]
    apis = [f"api-{index}" for index in range(plan.apis)]
    kinds = ["kill_scorer", "pause_scorer", "pause_scorer", "kill_api", "cut", "restart_server"]
    bearers = {"kill_api": apis, "cut": scorers + apis, "restart_server": ["server"], "set_server_clock": ["server"]}
    found = []
    for _ in range(rng.randint(1, 6)):
        what = "set_server_clock" if rng.random() < _CLOCK_JUMPS else rng.choice(kinds)
        at_s, who = rng.uniform(0.2, plan.run_s), rng.choice(bearers.get(what, scorers))
        found.append(Fault(at_s, what, who, rng.choice(_JUMPS_S if what == "set_server_clock" else _LASTS_S)))
    return found
