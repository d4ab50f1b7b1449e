"""While Redis is away: readers keep the last frame, writers hear of it at once, and nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.contract import RULE, RUNNER, problem
from tests.integration.running import Running, running
from tests.waiting import until

ORDER = {"type": "order", "product": "p-1"}


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str, dict[str, Any]]]:
    """(a deployment whose Redis was stopped, its venue, the board as it was just before)."""
    with running(tmp_path_factory.mktemp("away")) as service:
        venue = service.made_venue("p-1", "p-2")
        service.send(venue, ORDER, ORDER, {"type": "order", "product": "p-2"})
        until(lambda: service.scores(venue) == {"p-1": 2, "p-2": 1}, within_s=5, what="the board stood")
        board = service.slots(venue).json()
        service.server.stop()
        # a listing of venues is trusted for 0.2 s
        until(lambda: service.slots("hall-none").status_code == 503, within_s=5, what="the API had noticed")
        yield service, venue, board


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/venues", {"venue": "new"}),
        ("POST", "/v1/venues/{}/runners", RUNNER),
        ("POST", "/v1/venues/{}/runners/bulk", {"runners": [RUNNER]}),
        ("PUT", "/v1/venues/{}/rule", RULE),
        ("POST", "/v1/venues/{}/events", {"events": [ORDER]}),
        ("POST", "/v1/venues/{}/events", {"events": [{"type": "order", "product": "p-3"}]}),
        ("POST", "/v1/venues/{}/events", {"events": [{"type": "share", "product": "p-1"}]}),
        ("GET", "/v1/venues", None),
        ("GET", "/v1/venues/{}", None),
        ("GET", "/v1/venues/{}/runners", None),
        ("GET", "/v1/venues/{}/rule", None),
        ("GET", "/v1/scorers", None),
    ],
)
def test_whatever_needs_redis_is_told_so_within_a_second(
    away: tuple[Running, str, dict[str, Any]], method: str, path: str, body: object
) -> None:
    """With the time after which to repeat it; an event of an unknown product or kind might be right."""
    service, venue, _ = away
    begun_s = time.monotonic()
    answer = service.http.request(method, path.format(venue), json=body)
    assert time.monotonic() - begun_s < 1
    found = problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert found["detail"].startswith("Redis is away")


def test_a_venue_that_nobody_can_look_up_is_not_said_to_be_missing(
    away: tuple[Running, str, dict[str, Any]],
) -> None:
    """Each time, however often it is asked for."""
    service, _, _ = away
    for _ in range(5):
        found = problem(service.slots("hall-unseen"), 503, "unavailable")
        assert "'hall-unseen'" in found["detail"]


def test_the_process_is_healthy_but_not_ready(away: tuple[Running, str, dict[str, Any]]) -> None:
    service, venue, _ = away
    assert service.http.get("/healthz").status_code == 200
    answer = service.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["redis"].startswith("Redis is away")
    assert venue in {each["venue"] for each in answer.json()["venues"]}


def test_readers_get_the_last_frame_marked_stale(away: tuple[Running, str, dict[str, Any]]) -> None:
    """In a header and in the body, under another ETag, so that whoever has the frame is told as well."""
    service, venue, board = away
    frame = f'"{board["epoch"]}-{board["frame"]}'
    until(lambda: service.slots(venue).headers.get("saima-stale") == "true", within_s=6, what="the mark came")
    answer = service.slots(venue, **{"If-None-Match": f'{frame}-of-another-state"'})
    assert answer.status_code == 200
    assert answer.json() == {**board, "stale": True, "served": "last_frame"}
    assert int(answer.headers["saima-age-ms"]) > 3_000
    assert answer.headers["etag"].startswith(frame)
    assert service.slots(venue, **{"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_everything_resumes_within_five_seconds_and_nothing_acknowledged_is_lost(
    away: tuple[Running, str, dict[str, Any]],
) -> None:
    """What was answered 202 is counted once, also when it is sent again under its key after the outage."""
    service, venue, board = away
    service.server.start()
    begun_s = time.monotonic()

    def taken() -> bool:
        return service.send(venue, ORDER, key="after").status_code == 202

    def moving() -> bool:
        found = service.slots(venue).json()
        return not found["stale"] and found["slots"][0]["score"] == 3

    until(taken, within_s=5, what="events were taken again")
    assert service.send(venue, ORDER, key="after").status_code == 202
    until(moving, within_s=5, what="the board moved again")
    assert time.monotonic() - begun_s < 5
    assert service.http.get("/readyz").status_code == 200
    after = service.slots(venue).json()
    assert (after["epoch"], after["frame"]) > (board["epoch"], board["frame"])
    assert service.scores(venue) == {"p-1": 3, "p-2": 1}


def test_a_batch_repeated_over_an_outage_counts_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sender who heard nothing but 503 repeats the same body under the same key until it is answered."""
    with running(tmp_path_factory.mktemp("repeat")) as service:
        venue = service.made_venue("p-1")
        first = service.send(venue, ORDER, ORDER, key="k")
        assert first.status_code == 202
        service.server.stop()
        problem(service.send(venue, ORDER, ORDER, key="k"), 503, "unavailable")
        service.server.start()
        again = until(lambda: _answered(service, venue), within_s=5, what="the repeat was answered")
        assert again == first.content
        until(lambda: service.scores(venue) == {"p-1": 2}, within_s=5, what="both were counted")
        last = service.send(venue, ORDER).json()
        service.folded(venue, last["position"])
        assert service.total(venue, "order:count") == 3


def _answered(service: Running, venue: str) -> bytes | None:
    answer = service.send(venue, ORDER, ORDER, key="k")
    return answer.content if answer.status_code == 202 else None


def test_a_rule_that_no_scorer_shows_is_answered_as_logged(tmp_path_factory: pytest.TempPathFactory) -> None:
    """After a second without a frame: 202 with the entry, and no frame named."""
    with running(tmp_path_factory.mktemp("alone"), scorer=False) as service:
        venue = service.made_venue("p-1")
        answer = service.http.put(f"/v1/venues/{venue}/rule", json=RULE)
        assert answer.status_code == 202
        assert (answer.json()["version"], answer.headers["etag"]) == (2, '"rule-2"')
        assert (answer.json()["epoch"], answer.json()["frame"]) == (None, None)
        assert answer.json()["entry"]
        board = service.slots(venue)
        assert (board.json()["frame"], board.json()["slots"]) == (0, [])
        assert "saima-age-ms" not in board.headers
