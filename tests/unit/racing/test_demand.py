"""Made-up demand: the same for a seed, however it is cut, and true to its own curves."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from threading import Event
from typing import Any

import httpx2
import numpy as np
import pytest

from racing import demo_traffic
from racing.demand import CLICK, DEMO, KINDS, ORDER, PAY, PROMOTION, Demand, Happened
from racing.goods import make_goods
from racing.model import ID_PATTERN
from racing.rule import parse_rule

OPENING_MS = 1_762_790_400_000
MINUTE_MS = 60_000


def demand(**market: Any) -> Demand:
    return Demand(200, 7, opening_ms=OPENING_MS, market=replace(PROMOTION, **market))


def joined(parts: list[Happened]) -> Happened:
    return Happened(*(np.concatenate([getattr(part, name) for part in parts]) for name in Happened.__slots__))


def same(one: Happened, other: Happened) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Happened.__slots__)


class TestEvents:
    def test_no_time_has_no_events(self) -> None:
        assert len(demand().events(OPENING_MS, OPENING_MS)) == 0
        assert len(demand().events(OPENING_MS, OPENING_MS - 5_000)) == 0

    @pytest.mark.parametrize("cuts", [(0, 200, 400, 3_000), (0, 999, 1_000, 1_001, 3_000), (0, 3_000)])
    def test_events_do_not_depend_on_how_time_is_cut(self, cuts: tuple[int, ...]) -> None:
        whole = demand().events(OPENING_MS, OPENING_MS + 3_000)
        parts = [demand().events(OPENING_MS + a, OPENING_MS + b) for a, b in pairwise(cuts)]
        assert len(whole) > 1_000
        assert same(joined(parts), whole)

    def test_asking_for_the_past_again_gives_the_same_events(self) -> None:
        """Surges are remembered for a while only; forgetting them changes nothing."""
        moving = demand()
        first = moving.events(OPENING_MS, OPENING_MS + 1_000)
        moving.events(OPENING_MS + 90 * MINUTE_MS, OPENING_MS + 90 * MINUTE_MS + 1_000)
        assert same(moving.events(OPENING_MS, OPENING_MS + 1_000), first)

    def test_fewer_kinds_are_the_same_events_of_those_kinds(self) -> None:
        everything = demand().events(OPENING_MS, OPENING_MS + 2_000)
        some = demand().events(OPENING_MS, OPENING_MS + 2_000, kinds=("pay", "click"))
        assert same(some, everything.take(np.flatnonzero(np.isin(everything.kind, (CLICK, PAY)))))

    def test_another_seed_gives_another_night(self) -> None:
        other = Demand(200, 8, opening_ms=OPENING_MS)
        assert not same(other.events(OPENING_MS, OPENING_MS + 1_000), demand().events(OPENING_MS, OPENING_MS + 1_000))

    def test_events_come_by_time_and_each_has_its_own_serial(self) -> None:
        happened = demand().events(OPENING_MS + 500, OPENING_MS + 2_500)
        assert (np.diff(happened.time_ms) >= 0).all()
        assert happened.time_ms[0] >= OPENING_MS + 500
        assert happened.time_ms[-1] < OPENING_MS + 2_500
        assert len(np.unique(happened.serial)) == len(happened)

    def test_orders_and_payments_carry_the_price_and_nothing_else_does(self) -> None:
        market = demand()
        happened = market.events(OPENING_MS, OPENING_MS + 5_000)
        sold = happened.kind >= ORDER
        assert sold.any()
        assert (happened.amount[sold] == market.price[happened.product[sold]]).all()
        assert (happened.amount[~sold] == 0).all()

    def test_counts_follow_the_true_curves(self) -> None:
        """Over ten seconds each kind's count lies within five deviations of what its rates promise."""
        market = demand()
        happened = market.events(OPENING_MS, OPENING_MS + 10_000)
        expected = np.sum([market.rate(OPENING_MS + second * 1_000 + 500) for second in range(10)], axis=0)
        for kind in range(len(KINDS)):
            mean = expected[kind].sum()
            assert abs((happened.kind == kind).sum() - mean) < 5 * np.sqrt(mean) + 1
        clicks = np.bincount(happened.product[happened.kind == CLICK], minlength=200)
        likely = expected[CLICK] > 20
        assert (np.abs(clicks - expected[CLICK])[likely] < 5 * np.sqrt(expected[CLICK][likely])).all()


class TestCurves:
    def test_the_opening_brings_several_times_the_clicks_at_once(self) -> None:
        market = demand(surges_per_min=0.0, newcomers=0.0)
        before, after = (market.rate(OPENING_MS + shift)[CLICK].sum() for shift in (-MINUTE_MS, 1))
        assert after > 6 * before

    def test_the_ebb_comes_ten_minutes_after_the_opening(self) -> None:
        market = demand(surges_per_min=0.0, newcomers=0.0)
        at_10, at_14, at_30 = (market.rate(OPENING_MS + m * MINUTE_MS)[CLICK].sum() for m in (10, 14, 30))
        assert at_10 > 2 * at_14 > 3 * at_30

    def test_orders_are_held_back_just_before_the_opening(self) -> None:
        market = demand(surges_per_min=0.0, newcomers=0.0)
        calm, waiting = (market.rate(OPENING_MS - m * MINUTE_MS) for m in (60, 1))
        assert waiting[CLICK].sum() > calm[CLICK].sum()
        assert waiting[ORDER].sum() < calm[ORDER].sum()

    def test_a_newcomer_has_no_demand_before_its_birth(self) -> None:
        market = demand(newcomers=0.5, newcomer_min=(10.0, 20.0), surges_per_min=0.0)
        born = market.rate(OPENING_MS + 25 * MINUTE_MS)[CLICK] > 0
        unborn = market.rate(OPENING_MS)[CLICK] == 0
        assert born.all()
        assert 0.3 < unborn.mean() < 0.7

    def test_surges_lift_single_products_above_the_venue(self) -> None:
        calm = demand(surges_per_min=0.0, newcomers=0.0).rate(OPENING_MS - 40 * MINUTE_MS)[CLICK]
        surging = demand(newcomers=0.0).rate(OPENING_MS - 40 * MINUTE_MS)[CLICK]
        assert (surging >= calm * 0.999).all()
        assert 1 < (surging > 2 * calm).sum() < 60

    def test_money_is_payments_times_price(self) -> None:
        market = demand()
        assert np.array_equal(market.money(OPENING_MS), market.rate(OPENING_MS)[PAY] * market.price)


class TestGoods:
    def test_ids_can_be_enrolled_and_titles_are_distinct(self) -> None:
        goods = make_goods(1_000, np.random.default_rng(3))
        assert len({good.product for good in goods}) == 1_000
        assert len({good.title for good in goods}) == 1_000
        assert all(np.char.str_len(good.title) <= 60 and good.price > 0 for good in goods)
        for good in goods:
            assert is_id(good.product)
            assert is_id(good.merchant)

    def test_a_merchant_keeps_to_one_category(self) -> None:
        goods = make_goods(600, np.random.default_rng(3))
        pairs = Counter({(good.merchant, good.category) for good in goods})
        assert len({merchant for merchant, _ in pairs}) == len(pairs)


def is_id(text: str) -> bool:
    return re.fullmatch(ID_PATTERN, text) is not None


class Service:
    """A stand-in for the service: a script of first answers, then 202 to everything; keeps what it was sent."""

    def __init__(self, *first: int | Exception) -> None:
        self.script = list(first)
        self.seen: list[tuple[str, str | None, bytes]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append((request.url.path, request.headers.get("Idempotency-Key"), request.content))
        answer = self.script.pop(0) if self.script else 202
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer, json={"detail": "as scripted"}, headers={"Retry-After": "1"})

    def events(self) -> list[dict[str, Any]]:
        return [each for path, _, body in self.seen if path.endswith("/events") for each in json.loads(body)["events"]]


class Clock:
    """Time that passes only by sleeping; sets halt when it reaches the end."""

    def __init__(self, end_ms: int) -> None:
        self.now_ms, self.end_ms, self.halt = OPENING_MS, OPENING_MS + end_ms, Event()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ms += round(seconds * 1000)
        if self.now_ms >= self.end_ms:
            self.halt.set()


def run(service: Service, clock: Clock, *, products: int = 30) -> int:
    market = Demand(products, 7, opening_ms=OPENING_MS, market=DEMO)
    with httpx2.Client(transport=httpx2.MockTransport(service), base_url="http://saima") as client:
        return demo_traffic.send(client, "demo", market, clock.halt, clock_ms=lambda: clock.now_ms, sleep=clock.sleep)


class TestTraffic:
    def test_an_error_that_repeating_would_not_mend_is_raised(self) -> None:
        with pytest.raises(demo_traffic.TrafficRefusedError, match=r"/v1/venues: 422 .*as scripted"):
            run(Service(422), Clock(1_000))

    def test_a_halt_ends_waiting_for_a_service_that_never_answers(self) -> None:
        service = Service(*[httpx2.ConnectError("refused")] * 50)
        assert run(service, Clock(3_000)) == 0
        assert {path for path, _, _ in service.seen} == {"/v1/venues"}

    def test_an_existing_venue_is_raced_on(self) -> None:
        assert run(Service(409), Clock(1_000)) > 0

    @pytest.mark.parametrize("failure", [429, 503, httpx2.ReadError("reset"), httpx2.ReadTimeout("slow")])
    def test_an_unanswered_batch_is_sent_again_unchanged(self, failure: int | Exception) -> None:
        service = Service(201, 201, failure, failure)
        run(service, Clock(3_000))
        batches = [(key, body) for path, key, body in service.seen if path.endswith("/events")]
        assert batches[0] == batches[1] == batches[2]
        keys = [key for key, _ in batches[2:]]
        assert None not in keys
        assert len(set(keys)) == len(keys)

    def test_everything_that_happened_is_sent_once(self) -> None:
        service, clock = Service(), Clock(5_000)
        sent = run(service, clock)
        market = Demand(30, 7, opening_ms=OPENING_MS, market=DEMO)
        assert service.events() == demo_traffic.event_docs(market, OPENING_MS, OPENING_MS + 4_800)
        assert sent == len(service.events())

    def test_after_a_long_absence_only_the_last_seconds_are_sent(self) -> None:
        service, clock = Service(201, 201, *[503] * 60), Clock(300_000)
        run(service, clock)
        gaps = np.diff([each["ts_ms"] for each in service.events()])
        assert gaps.max() > 100_000
        assert (gaps > 2_000).sum() == 1

    def test_many_products_are_enrolled_in_parts(self) -> None:
        service = Service()
        run(service, Clock(300), products=1_300)
        sizes = [len(json.loads(body)["runners"]) for path, _, body in service.seen if path.endswith("/bulk")]
        assert sizes == [1_000, 300]

    def test_the_demo_rule_is_a_rule_with_a_short_window(self) -> None:
        rule = demo_traffic.demo_rule()
        assert parse_rule(rule.model_dump(mode="json", exclude_none=True)) == rule
        assert rule.window_s == 60

    def test_the_demo_has_a_few_hundred_events_a_second(self) -> None:
        market = Demand(300, 1, opening_ms=OPENING_MS, market=DEMO)
        rates = [market.rate(OPENING_MS + minute * MINUTE_MS).sum() for minute in range(30)]
        assert 200 < float(np.median(rates)) < 400
