"""What time does to scores: silence, steadiness under constant traffic, and the tide that lifts every boat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from racing.entries import Enrolment, Entry, RuleChange, Tick
from racing.events import NO_TIME_MS, EventBatch
from racing.model import FloatArray, Position
from racing.race import Race
from racing.rule import DEFAULT_RULE
from tests.laws.compare import check_against
from tests.laws.logs import EVERY_SIGNAL, START_MS, Log, entries_of, law, logs, rule_of, runner_of
from tests.laws.oracle import recount

_OF_THE_WINDOWS = [term for term in EVERY_SIGNAL if term.get("signal", "total") != "total"]
"""Terms that look back two windows and no further: neither totals nor attributes."""


def _under(terms: list[dict[str, Any]], log: Log) -> Log:
    """The same log scored by other terms."""
    moment_ms, first = log[0]
    return [(moment_ms, {"rule": {**first["rule"], "terms": terms}}), *log[1:]]


# -- silence -------------------------------------------------------------------------------------------------


@law(25)
@given(logs(entries=12))
def test_in_silence_levels_only_fall_and_scores_move_by_steps_alone(log: Log) -> None:
    """A score moves when a bucket or a tenth of one moves, and then exactly as the recount says."""
    race, log = Race(), list(_under(EVERY_SIGNAL, log))
    race.apply(entries_of(log))
    step_ms, scores, levels = race.next_step_ms(), race.scores.copy(), race.windows.window.copy()
    quiet_ms = log[-1][0]
    for index in range(1, 160):
        moment_ms = quiet_ms + 100 * index
        race.apply([Entry(Position(moment_ms, 10**6), Tick())])

        assert (race.windows.window <= levels).all()
        assert moment_ms >= step_ms or scores.tobytes() == race.scores.tobytes()
        if index % 12 == 0:
            check_against(recount(log[0][1]["rule"], [*log, (moment_ms, {"tick": True})]), race)
        step_ms, scores, levels = race.next_step_ms(), race.scores.copy(), race.windows.window.copy()


@law(40)
@given(logs(entries=12))
def test_a_runner_silent_for_two_windows_scores_like_one_without_events(log: Log) -> None:
    """Though the others go on, so that the venue's own means and tide are not those of silence."""
    log = _under(_OF_THE_WINDOWS, log)
    log.insert(1, (log[0][0], {"enrol": {4: {}, 5: {}}}))  # number 5 never has an event
    quiet_ms = log[-1][0]
    window_ms = 1000 * log[0][1]["rule"]["window_s"]
    for age_ms in range(0, 2 * window_ms + 1, 250):
        kinds = ("click", "pay", "click", "order")[age_ms // 250 % 4 :]
        events = [{"runner": 4, "type": kind, "amount": 7} for kind in kinds]
        log.append((quiet_ms + age_ms, {"events": events}))
    race = Race()
    race.apply(entries_of(log))

    assert [race.scores[5]] * 3 == race.scores[:3].tolist()
    assert 0 == race.scores[5]


# -- constant traffic ----------------------------------------------------------------------------------------

_STEADY_TERMS: dict[str, dict[str, Any]] = {
    "uplift": {"metric": "click", "signal": "uplift", "weight": 1},
    "uplift, tide": {"metric": "click", "signal": "uplift", "weight": 1, "tide": True},
    "growth": {"metric": "click", "signal": "growth", "weight": 1},
    "growth, tide": {"metric": "click", "signal": "growth", "weight": 1, "tide": True},
    "surge": {"metric": "click", "signal": "surge", "weight": 1},
    "surge, tide": {"metric": "click", "signal": "surge", "weight": 1, "tide": True},
    "surge of amounts": {"metric": "pay_amount", "signal": "surge", "weight": 1, "tide": True},
    "rate": {"ratio": ["pay", "click"], "signal": "rate", "weight": 1},
    "rate_uplift": {"ratio": ["pay", "click"], "signal": "rate_uplift", "weight": 1},
}


def _means_by_tenth(term: dict[str, Any], bucket_s: int) -> FloatArray:
    """Each runner's mean score in each tenth of a bucket, (10, runners), over two buckets of steady traffic.

    Per bucket runner 0 has 100 clicks and 50 payments, runner 1 has 50 and 50, at even intervals.
    """
    race, interval_ms, window_s = Race(), 10 * bucket_s, 4 * bucket_s
    start_ms = 1_200_000 * bucket_s
    race.apply(
        entries_of(
            [
                (start_ms, {"rule": rule_of(term, window_s=window_s, bucket_s=bucket_s)}),
                (start_ms, {"enrol": {0: {}, 1: {}}}),
            ]
        )
    )
    even = _events([("click", 0), ("pay", 0), ("pay", 1), ("click", 1)])
    odd = _events([("click", 0)])
    means = np.zeros((10, 2))
    for index in range(1000, 1000 + 100 * 12):
        moment_ms = start_ms + index * interval_ms
        race.apply([Entry(Position(moment_ms, 0), odd if index % 2 else even)])
        if index >= 1000 + 100 * 10:  # two windows and a bucket of traffic before it
            means[index % 100 // 10] += race.scores[:2] / 20
    return means


def _events(rows: list[tuple[str, int]]) -> EventBatch:
    kinds = tuple(dict.fromkeys(kind for kind, _ in rows))
    return EventBatch(
        kinds=kinds,
        kind=np.array([kinds.index(kind) for kind, _ in rows], np.int64),
        runner=np.array([runner for _, runner in rows], np.int64),
        time_ms=np.full(len(rows), NO_TIME_MS),
        amount=np.array([7 * (kind == "pay") for kind, _ in rows], np.int64),
    )


@pytest.mark.parametrize("bucket_s", [1, 3])
@pytest.mark.parametrize("term", _STEADY_TERMS.values(), ids=_STEADY_TERMS)
def test_under_constant_traffic_the_mean_score_does_not_depend_on_the_moment_in_the_bucket(
    term: dict[str, Any], bucket_s: int
) -> None:
    """Were the base longer than the window, scores would fall by a quarter window at each boundary.

    For runner 0 that is 100 in uplift, 0.25 in growth and 3.5 in surge. What is left is under 2 % of it, for
    relative signals are taken of windows that grow by a bucket while it runs.
    """
    means = _means_by_tenth(term, bucket_s)
    allowed = {"uplift": 1e-9, "growth": 0.005, "surge": 0.05, "rate": 0.005, "rate_uplift": 0.005}

    assert np.ptp(means, axis=0).max() <= allowed[term["signal"]]


# -- the tide ------------------------------------------------------------------------------------------------

BEST, MIDDLE, SMALL, SILENT = range(4)
_KINDS = ("click", "order", "pay")
_DEMAND = np.array([[20.0, 1.0, 0.8], [5.0, 0.3, 0.2], [1.0, 0.05, 0.04], [0.0, 0.0, 0.0]])
"""Events per second of each runner by kind: of the size of a busy venue's sellers."""


def _tide(rule: dict[str, Any], factor: float, ramp_s: float, *, density: int = 1) -> FloatArray:
    """Scores at each step while all demand moves by a factor within ramp_s, (steps, runners).

    Steady for two windows and a bucket before that, which are not told, and for two after it. Time steps by
    tenths of a bucket; each runner's events come at even intervals.
    """
    window_s, bucket_s = rule["window_s"], rule["bucket_s"]
    step_ms, begin_s = 100 * bucket_s, 2 * window_s + bucket_s
    race, due, told = Race(), np.zeros_like(_DEMAND), []
    race.apply(
        [
            Entry(Position(START_MS, 0), RuleChange(version=1, rule=rule)),
            Entry(Position(START_MS, 1), Enrolment([(number, runner_of(number, {})) for number in range(4)])),
        ]
    )
    for index in range(int((begin_s + ramp_s + 2 * window_s) * 1000 / step_ms)):
        after_s = index * step_ms / 1000 - begin_s
        share = min(max(after_s / ramp_s, 0.0), 1.0) if ramp_s else float(after_s >= 0)
        due += _DEMAND * factor**share * step_ms / 1000 * density
        arrived = np.floor(due + 1e-9).astype(np.int64)
        due -= arrived
        race.apply([Entry(Position(START_MS + index * step_ms, 2), _arrived(arrived))])
        if after_s >= 0:
            told.append(race.scores.copy())
    return np.array(told)


def _arrived(counts: Any) -> EventBatch:
    runner, kind = np.divmod(np.repeat(np.arange(counts.size), counts.reshape(-1)), len(_KINDS))
    amount = np.where(kind == _KINDS.index("pay"), 1000, 0)
    return EventBatch(_KINDS, kind, runner, np.full(len(kind), NO_TIME_MS), amount)


_DEFAULT: dict[str, Any] = {
    **DEFAULT_RULE.model_dump(mode="json", exclude_none=True),
    "window_s": 60,
    "bucket_s": 2,
}
"""The default rule with all times a fifth as long, so that demand is five times as dense."""


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("ramp_s", [0, 30])
def test_when_all_demand_changes_by_one_factor_no_silent_runner_passes_the_best_seller(
    factor: float, ramp_s: int
) -> None:
    """Under the default rule, at once or bit by bit; the best seller stays first, too."""
    scores = _tide(_DEFAULT, factor, ramp_s, density=5)

    assert (scores[:, BEST] > scores[:, SILENT]).all()
    assert (scores[:, BEST] == scores.max(axis=1)).all()


_UPLIFT: dict[str, Any] = {"metric": "click", "signal": "uplift", "weight": 1}


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("ramp_s", [0, 10])
def test_the_tide_leaves_of_a_common_change_what_two_buckets_of_it_bring(factor: float, ramp_s: int) -> None:
    """Held while a bucket runs, g lags: uplifts are off by what two of the window's twenty buckets change.

    Silent runners stay at 0.
    """
    rule = rule_of({**_UPLIFT, "tide": True}, window_s=20, bucket_s=1)
    scores = _tide(rule, factor, ramp_s)
    change_per_bucket = abs(factor - 1) * _DEMAND[:, 0] * max(1.0, factor)

    assert (np.abs(scores).max(axis=0) <= 2 * change_per_bucket + 2 * max(1.0, factor)).all()
    assert (scores[:, SILENT] == 0).all()


def test_without_the_tide_the_ebb_puts_the_best_seller_last() -> None:
    """What the option is for: the plain rise then ranks by how much there was to lose."""
    scores = _tide(rule_of(_UPLIFT, window_s=20, bucket_s=1), 0.1, 0)
    deepest = int(scores[:, BEST].argmin())

    assert [SILENT, SMALL, MIDDLE, BEST] == np.argsort(-scores[deepest]).tolist()
    assert scores[deepest, BEST] < -0.8 * 20 * _DEMAND[BEST, 0]
