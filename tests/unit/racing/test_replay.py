"""Replay sends each recorded row once, when it is due, whatever the service answers on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from racing.recorded import Recorded, read_recorded
from racing.replay import Plan, Progress, replay
from racing.resending import ReplayError

START_S = 1_800_000_000.0
HEADER = "ts_ms,type,product,user,category,price,position"


@dataclass
class ManualClock:
    """Time that passes only where someone sleeps."""

    now_s: float = START_S
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


Reply = httpx2.Response | Exception


@dataclass
class Service:
    """A service that notes every request; event batches get the replies planned, then are taken whole."""

    clock: ManualClock
    replies: list[Reply] = field(default_factory=list)
    enrolled: list[str] = field(default_factory=list)
    exists: bool = False
    requests: list[httpx2.Request] = field(default_factory=list)
    batches: list[tuple[float, str, list[dict[str, Any]]]] = field(default_factory=list)
    bulks: list[list[dict[str, Any]]] = field(default_factory=list)

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url="http://saima.test", transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if request.url.path == "/v1/venues":
            return self._venue(request)
        if request.method == "GET":
            return self._page(request)
        if request.url.path.endswith("/bulk"):
            self.bulks.append(json.loads(request.content)["runners"])
            return httpx2.Response(201, json={"runners": []})
        return self._events(request)

    def _venue(self, request: httpx2.Request) -> httpx2.Response:
        document = json.loads(request.content)
        assert document == {"venue": "hall", "title": "hall"}
        return httpx2.Response(409 if self.exists else 201, json={"detail": "it exists"})

    def _page(self, request: httpx2.Request) -> httpx2.Response:
        first = int(request.url.params["cursor"])
        rows = [{"product": product, "runner": 0} for product in self.enrolled[first : first + 2]]
        more = first + 2 < len(self.enrolled)
        return httpx2.Response(200, json={"runners": rows, "next_cursor": str(first + 2) if more else None})

    def _events(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/v1/venues/hall/events"
        events = json.loads(request.content)["events"]
        self.batches.append((self.clock.now_s - START_S, request.headers["Idempotency-Key"], events))
        if self.replies:
            reply = self.replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply
        return taken(len(events))


def taken(accepted: int, *, duplicate: int = 0, refused: list[dict[str, Any]] | None = None) -> httpx2.Response:
    document = {"accepted": accepted, "duplicate": duplicate, "refused": refused or [], "position": "9-0"}
    return httpx2.Response(202, json=document)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(clock: ManualClock) -> Service:
    return Service(clock)


Record = Callable[..., Recorded]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    def make(*rows: str) -> Recorded:
        path = tmp_path / "events.csv"
        path.write_text("\n".join([HEADER, *rows]))
        return read_recorded(path)

    return make


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(venue="a hall"), "venue 'a hall'"),
        (Plan(venue="hall", speed=0), "speed of 0"),
        (Plan(venue="hall", speed=float("nan")), "speed of nan"),
        (Plan(venue="hall", speed=float("inf")), "speed of inf"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_sent(
    plan: Plan, reason: str, service: Service, record: Record
) -> None:
    with pytest.raises(ReplayError, match=reason):
        replay(service.client(), record("1000,click,p,,,,"), plan)
    assert not service.requests


def test_a_file_without_events_is_refused(service: Service, record: Record) -> None:
    with pytest.raises(ReplayError, match="no event to send"):
        replay(service.client(), record("soon,click,p,,,,"), Plan(venue="hall"))


def test_a_service_that_is_not_there_is_named_at_once_with_what_to_do(clock: ManualClock, record: Record) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    client = httpx2.Client(base_url="http://saima.test:81", transport=httpx2.MockTransport(refuse))
    with pytest.raises(ReplayError, match=r"http://saima.test:81.*saima serve"):
        replay(client, record("1000,click,p,,,,"), Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert not clock.slept


def test_an_address_without_a_scheme_is_told_apart_from_a_service_that_is_away(record: Record) -> None:
    with (
        httpx2.Client(base_url="saima.test") as client,
        pytest.raises(ReplayError, match="no address of a service"),
    ):
        replay(client, record("1000,click,p,,,,"), Plan(venue="hall"))


def test_an_error_that_repeating_would_not_mend_ends_the_replay_with_the_service_s_reason(
    service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [httpx2.Response(403, json={"detail": "the key does not grant this"})]
    with pytest.raises(ReplayError, match=r"refuses POST .*/events: 403 the key does not grant this"):
        replay(service.client(), record("1000,click,p,,,,"), Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert len(service.batches) == 1


@pytest.mark.parametrize("reply", [httpx2.Response(202, text="hello"), httpx2.Response(202, json={"accepted": "all"})])
def test_an_answer_of_another_shape_is_no_success(
    reply: httpx2.Response, service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [reply]
    with pytest.raises(ReplayError, match="is a Saima running there"):
        replay(service.client(), record("1000,click,p,,,,"), Plan(venue="hall"), clock=clock, sleep=clock.sleep)


def test_a_service_that_stays_away_is_given_up_after_the_bound(
    service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [httpx2.Response(503, text="no store") for _ in range(100)]
    plan = Plan(venue="hall", give_up_after_s=10)
    with pytest.raises(ReplayError, match=r"within 10 s: 503 no store.*counted"):
        replay(service.client(), record("1000,click,p,,,,"), plan, clock=clock, sleep=clock.sleep)
    assert sum(clock.slept) <= 10
    assert len({key for _, key, _ in service.batches}) == 1


def test_a_batch_is_sent_again_with_the_same_key_and_body_until_it_is_answered(
    service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [
        httpx2.Response(503, headers={"Retry-After": "3"}),
        httpx2.ReadTimeout("no answer"),
        httpx2.ConnectError("refused"),
        httpx2.Response(429, text="slow down"),
    ]
    rows = record("1000,click,p,,,,", "1000,pay,p,,,5,")
    summary = replay(service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    bodies = [request.content for request in service.requests if request.url.path.endswith("/events")]
    assert len(bodies) == 5
    assert len(set(bodies)) == 1
    assert len({key for _, key, _ in service.batches}) == 1
    assert clock.slept == [3, 0.4, 0.8, 1.6]
    assert (summary.sent, summary.accepted, summary.batches, summary.retries) == (2, 2, 1, 4)


def test_a_retry_after_beyond_the_bound_ends_the_replay_without_waiting(
    service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [httpx2.Response(503, headers={"Retry-After": "3600"})]
    with pytest.raises(ReplayError, match="within 60 s"):
        replay(service.client(), record("1000,click,p,,,,"), Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert not clock.slept


def test_a_retry_after_that_is_a_date_is_left_to_the_own_wait(
    service: Service, clock: ManualClock, record: Record
) -> None:
    service.replies = [httpx2.Response(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})]
    replay(service.client(), record("1000,click,p,,,,"), Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert clock.slept == [0.2]


def test_every_batch_and_every_run_has_a_key_of_its_own(service: Service, clock: ManualClock, record: Record) -> None:
    rows = record("1000,click,p,,,,", "3000,click,p,,,,")
    for _ in range(2):
        replay(service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert len({key for _, key, _ in service.batches}) == 4


def test_products_are_enrolled_in_file_order_with_what_the_file_says_of_them(service: Service, record: Record) -> None:
    rows = record("2000,click,late,u,,,", "1000,click,early,u,shoes,,", "1000,wink,p3,u,,,", "2500,pay,late,u,,1.5,")
    summary = replay(service.client(), rows, Plan(venue="hall", speed=1e6))
    assert service.bulks == [
        [
            {"product": "late", "merchant": "recorded", "title": "late", "price": 150},
            {"product": "early", "merchant": "recorded", "title": "early", "category": "shoes"},
            {"product": "p3", "merchant": "recorded", "title": "p3"},
        ]
    ]
    assert summary.enrolled == 3


def test_an_enrolment_has_at_most_a_thousand_products(service: Service, clock: ManualClock, record: Record) -> None:
    rows = record(*(f"1000,click,p{number},,,," for number in range(2001)))
    replay(service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep)
    assert [len(bulk) for bulk in service.bulks] == [1000, 1000, 1]


def test_products_that_a_venue_has_keep_their_data(service: Service, record: Record) -> None:
    """Every page of the venue's runners is looked at; only the missing ones are enrolled."""
    service.exists, service.enrolled = True, ["a", "b", "c"]
    rows = record("1000,click,c,,,,", "1000,click,d,,,,", "1000,click,a,,,,")
    summary = replay(service.client(), rows, Plan(venue="hall", speed=10))
    assert [[doc["product"] for doc in bulk] for bulk in service.bulks] == [["d"]]
    assert summary.enrolled == 1


def test_rows_are_sent_by_time_when_they_are_due_at_the_speed_asked_for(
    service: Service, clock: ManualClock, record: Record
) -> None:
    """A recorded minute at speed 60 is one second; times are shifted to the start of sending."""
    rows = record("1060000,pay,p,u2,,19.90,", "1000000,pv,p,u1,,,7", "1006000,fav,q,,,,0", "1007000,cart,q,,,,top")
    summary = replay(service.client(), rows, Plan(venue="hall", speed=60), clock=clock, sleep=clock.sleep)
    start_ms = int(START_S * 1000)
    sent = [(at_s, event) for at_s, _, events in service.batches for event in events]
    assert [event for _, event in sent] == [
        {"type": "click", "product": "p", "ts_ms": start_ms, "user": "u1", "slot": 7},
        {"type": "favorite", "product": "q", "ts_ms": start_ms + 100},
        {"type": "cart", "product": "q", "ts_ms": start_ms + 116},
        {"type": "pay", "product": "p", "ts_ms": start_ms + 1000, "user": "u2", "amount": 1990},
    ]
    for at_s, event in sent:
        due_s = (event["ts_ms"] - start_ms) / 1000
        assert due_s - 1e-6 <= at_s <= due_s + 0.1
    assert summary.seconds == pytest.approx(1.0, abs=0.1)
    assert summary.position == "9-0"


def test_a_request_carries_at_most_five_hundred_events(service: Service, clock: ManualClock, record: Record) -> None:
    rows = record(*(f"{1000 + number // 4},click,p,,,," for number in range(1203)))
    summary = replay(service.client(), rows, Plan(venue="hall", speed=1e6), clock=clock, sleep=clock.sleep)
    assert max(len(events) for _, _, events in service.batches) == 500
    assert sum(len(events) for _, _, events in service.batches) == summary.sent == 1203


def test_what_the_service_made_of_the_events_is_added_up(service: Service, clock: ManualClock, record: Record) -> None:
    refused = [
        {"index": 0, "code": "unknown_product", "reason": "product: 'p' is not enrolled"},
        {"index": 1, "reason": "no code"},
    ]
    service.replies = [taken(1, duplicate=2, refused=refused), taken(0, refused=refused[:1])]
    rows = record("1000,click,p,,,,", *["2000,click,p,,,,"] * 5)
    seen: list[Progress] = []
    summary = replay(
        service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep, on_progress=seen.append
    )
    assert (summary.accepted, summary.duplicate) == (1, 2)
    assert summary.refused == {"unknown_product": 2, "no code": 1}
    assert summary.samples == ("product: 'p' is not enrolled", "no code", "product: 'p' is not enrolled")
    assert [each.phase for each in seen[:2]] == ["enrol", "enrol"]
    assert (seen[-1].done, seen[-1].total, seen[-1].refused, seen[-1].eta_s) == (6, 6, summary.refused, 0.0)


def test_progress_is_told_through_long_silences_too(service: Service, clock: ManualClock, record: Record) -> None:
    seen: list[Progress] = []
    rows = record("0,click,p,,,,", "10000,click,p,,,,")
    replay(service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep, on_progress=seen.append)
    etas = [each.eta_s for each in seen if each.phase == "send" and each.eta_s is not None]
    assert len(etas) >= 10
    assert etas == sorted(etas, reverse=True)


def test_a_service_slower_than_the_plan_tells_the_end_from_its_rate(
    service: Service, clock: ManualClock, record: Record
) -> None:
    """1,000 rows of one moment, each batch answered after a wait of 2 s: the second takes as long as the first."""
    service.replies = [httpx2.Response(503, headers={"Retry-After": "2"})]
    seen: list[Progress] = []
    rows = record(*["1000,click,p,,,,"] * 1000)
    replay(service.client(), rows, Plan(venue="hall"), clock=clock, sleep=clock.sleep, on_progress=seen.append)
    half = next(each for each in seen if each.phase == "send" and each.done == 500)
    assert (half.events_per_s, half.eta_s) == (250, 2)
