"""The sorted sets that everyone may read: the race's own order and sums, complete up to the stated position."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from racing.model import Position
from racing.store.keys import member
from racing.store.protocol import SyncClient
from racing.store.sets import MEMBERS_MAX, MEMBERS_MIN
from tests.contract.track import CLICKS, START_MS, Track, sets_of
from tests.laws.logs import EVERY_SIGNAL, rule_of

Sets = dict[str, dict[int, float]]


@pytest.fixture
def track(client: SyncClient) -> Track:
    return Track(client)


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> int:
    """Commits that take so few members that every round needs several."""
    monkeypatch.setattr("racing.store.sets.MEMBERS_MIN", 5)
    monkeypatch.setattr("racing.store.sets.MEMBERS_MAX", 10)
    return 10


def some_clicks(rng: random.Random, runners: Sequence[int]) -> dict[str, Any]:
    return {"events": [{"type": "click", "runner": runner} for runner in runners for _ in range(rng.randrange(1, 4))]}


def check_complete(sets: Sets, history: list[tuple[Position, Sets]], sets_position: Position) -> None:
    """Every member has the value that it had at some commit from sets_position on: nothing before that is missing."""
    recent = [held for position, held in history if position >= sets_position]
    names = {name for held in (sets, *recent) for name in held}
    for name in names:
        for runner in {runner for held in (sets, *recent) for runner in held.get(name, {})}:
            possible = {held.get(name, {}).get(runner) for held in recent}
            assert sets.get(name, {}).get(runner) in possible, f"{name} of runner {runner} at {sets_position}"


def test_order_in_redis_is_the_order_of_the_race_and_of_a_plain_sort(track: Track) -> None:
    rng = random.Random(5)
    track.begin(rule_of(*EVERY_SIGNAL, window_s=4, bucket_s=2, board={"slots": 1000}), runners=120)
    owner = track.owner()
    lowest = highest = 0.0
    for _ in range(8):
        events = [
            {"type": rng.choice(["click", "pay"]), "runner": rng.randrange(30), "amount": rng.choice([0, 500])}
            for _ in range(40)
        ]
        track.write({"events": events}, after_ms=1000)
        track.settle(owner)
        scores = owner.race.scores.tolist()
        lowest, highest = min(lowest, *scores), max(highest, *scores)
        assert scores.count(0.0) > 60, "there are many ties"
        plain = sorted(range(120), key=lambda runner: (-scores[runner], runner))
        assert track.standings() == owner.race.order().tolist() == plain
        assert [slot.runner for slot in track.frames()[-1].slots] == plain
        for rank, runner in enumerate(plain):
            assert track.raw.zrank(track.keys.standings, member(runner)) == rank
    assert lowest < 0 < highest


def test_order_of_scores_a_hair_apart_is_kept_exactly(track: Track) -> None:
    """Scores go to Redis as shortest decimals that give back the same double."""
    track.begin(rule_of({"attribute": "entry_score", "weight": 1.0}), runners=0)
    scores = [0.1 + 0.2, 0.3, 1e-300, -1e-300, 5e-324, 1e9 + 2**-23, 1e9, -0.0, 2.0 / 3]
    track.write({"enrol": {number: {"entry_score": score} for number, score in enumerate(scores)}})
    owner = track.owner()
    track.settle(owner)
    assert track.sets()["standings"] == {number: -score for number, score in enumerate(scores)}
    assert track.standings() == sorted(range(len(scores)), key=lambda runner: (-scores[runner], runner))


def test_sum_that_moves_to_the_base_leaves_the_window_and_then_the_delta(track: Track) -> None:
    track.begin()
    owner = track.owner()
    track.click(1, 1)
    track.settle(owner)
    assert track.sets() == {
        "standings": {0: 0.0, 1: -2.0, 2: 0.0},
        "window:click:count": {1: 2.0},
        "delta:click:count": {1: 2.0},
        "total:click:count": {1: 2.0},
    }
    for after_ms in (4_000, 6_500, 7_000, 7_999, 8_000):
        track.now_ms = max(track.now_ms, START_MS + after_ms)
        track.write({"tick": True})
        track.settle(owner)
        held = track.sets()
        assert held == sets_of(owner.race)
        assert "window:click:count" not in held
        assert ("delta:click:count" in held) == (after_ms < 8_000)
        assert held["total:click:count"] == {1: 2.0}


def test_refunded_payment_leaves_the_sets_of_payments(track: Track) -> None:
    track.begin(rule_of({"metric": "pay_amount", "signal": "level", "weight": 1}))
    owner = track.owner()
    track.write({"events": [{"type": "pay", "runner": 0, "amount": 500, "id": "order-1"}]})
    track.settle(owner)
    assert track.sets()["window:pay:amount"] == {0: 500.0}
    track.write({"events": [{"type": "refund", "runner": 0, "id": "order-1"}]})
    track.settle(owner)
    held = track.sets()
    assert held == sets_of(owner.race)
    assert set(held) == {"standings", "window:refund:count", "delta:refund:count", "total:refund:count"}


def test_commit_takes_a_bounded_number_of_members_standings_first(track: Track) -> None:
    runners = MEMBERS_MAX + 1_000
    track.begin(runners=runners)
    owner = track.owner()
    for first in range(0, runners, 1000):
        track.click(*range(first, first + 1000))
    track.step(owner)
    assert track.frames()[-1].position == track.last(), "the frame does not wait for the sets"
    assert MEMBERS_MIN <= track.raw.zcard(track.keys.standings) <= MEMBERS_MAX
    assert not track.raw.exists(track.keys.sums("window", "click:count"))
    assert track.commit().sets_position != track.last()
    begun_ms = track.now_ms
    while track.commit().sets_position != track.last():
        assert owner.wait_ms(track.now_ms) <= 10
        track.step(owner, after_ms=5)
    assert track.now_ms - begun_ms <= 1000
    assert track.sets() == sets_of(owner.race)


def test_owner_waits_for_no_more_than_a_slice_while_members_are_pending(track: Track, small_commits: int) -> None:
    track.begin(runners=2 * small_commits)
    owner = track.owner()
    track.step(owner)
    for _ in range(3):  # 20 members, 5 in each commit
        assert owner.wait_ms(track.now_ms) == 10
        track.step(owner, after_ms=10)
    assert owner.wait_ms(track.now_ms) > 10


def test_sets_follow_within_a_second_while_events_keep_coming(track: Track, small_commits: int) -> None:
    """Also what changes just after a round of writing has begun, and so waits for that round and its own."""
    rng = random.Random(2)
    track.begin(runners=300)
    owner = track.owner()
    track.settle(owner)
    positions, waits_ms = [], []
    for _ in range(200):
        track.write(some_clicks(rng, rng.sample(range(300), 60)), after_ms=20)
        record = track.step(owner)
        assert record is not None
        positions.append(Position.parse(record.position))
        missing = [each for each in positions if each > Position.parse(record.sets_position)]
        waits_ms.append(track.now_ms - missing[0].ms if missing else 0)
    assert 500 < max(waits_ms) <= 1000, "the load was such that the sets did lag, and not too long"
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)


@pytest.mark.parametrize("crashes", [0.0, 0.3])
def test_sets_are_complete_up_to_the_stated_position_at_every_commit(
    track: Track, small_commits: int, crashes: float
) -> None:
    rng = random.Random(4)
    track.begin(runners=30)
    owner = track.owner()
    track.settle(owner)
    history = [(owner.race.position, sets_of(owner.race))]
    lagged = 0
    for _ in range(80):
        track.write(some_clicks(rng, rng.sample(range(30), 8)), after_ms=rng.choice([10, 100, 400]))
        record = track.step(owner)
        assert record is not None
        history.append((owner.race.position, sets_of(owner.race)))
        check_complete(track.sets(), history, Position.parse(record.sets_position))
        lagged += record.sets_position != record.position
        if rng.random() < crashes:
            owner = track.owner()
    assert lagged > 20
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)


def test_position_up_to_which_the_sets_are_complete_never_goes_back(track: Track) -> None:
    """While a round waits for its turn, the sets are as complete as they were before what it will write."""
    track.begin(runners=200)
    owner = track.owner()
    track.settle(owner)
    track.click(*range(200), after_ms=100)
    track.step(owner)
    track.write({"tick": True}, after_ms=1)
    before = track.step(owner)
    track.click(7, after_ms=1)
    after = track.step(owner)

    assert before is not None
    assert after is not None
    assert before.sets_position == before.position
    assert after.sets_position == before.sets_position


def test_new_owner_writes_what_the_last_one_left_pending(track: Track, small_commits: int) -> None:
    track.begin(runners=100)
    track.click(*range(100))
    left = track.owner()
    track.step(left)
    for _ in range(30):  # each writes a part and is gone
        owner = track.owner()
        track.step(owner, after_ms=1)
        if owner.wait_ms(track.now_ms) > 0:
            break
    track.settle(track.owner())
    assert track.sets() == sets_of(left.race)


def test_rule_with_other_buckets_and_metrics_rewrites_what_it_moves(track: Track) -> None:
    track.begin()
    owner = track.owner()
    for runner in (0, 1, 1, 2, 2, 2):
        track.write({"events": [{"type": "scan", "runner": runner}, {"type": "click", "runner": 0}]}, after_ms=600)
    track.settle(owner)
    for rule in (
        rule_of({"metric": "scan", "signal": "level", "weight": 1}, window_s=2, bucket_s=1),
        rule_of({"metric": "scan", "signal": "uplift", "weight": -1}, window_s=6, bucket_s=3),
        CLICKS,
    ):
        track.write({"rule": rule}, after_ms=100)
        track.settle(owner)
        assert track.sets() == sets_of(owner.race)
        assert track.standings()[:3] == [slot.runner for slot in track.frames()[-1].slots][:3]
