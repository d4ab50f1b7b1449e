"""While too much waits: senders hear 503 with the reason and when to come back, readers notice nothing."""

from __future__ import annotations

import httpx2
import pytest

from tests.integration.contract import RUNNER, problem
from tests.integration.running import running
from tests.waiting import until

ORDER = {"type": "order", "product": "p-1"}


def overloaded(answer: httpx2.Response) -> str:
    """What a sender is told."""
    found = problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    return str(found["detail"])


def test_a_venue_whose_events_nobody_counts_takes_no_more_of_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Within a second of the bound; a venue that nothing was sent to still takes some."""
    with running(tmp_path_factory.mktemp("behind"), scorer=False, log_ahead_max_ms=1_000) as service:
        venue, other = service.made_venue("p-1"), service.made_venue("p-1")
        assert service.send(venue, ORDER).status_code == 202
        until(lambda: service.send(venue, ORDER).status_code == 503, within_s=5, what="events are refused")
        assert "are not yet counted" in overloaded(service.send(venue, ORDER))
        assert "are not yet counted" in overloaded(service.post(f"/v1/venues/{venue}/events", b"no JSON")), (
            "looked at first"
        )
        assert service.slots(venue).status_code == 200
        assert service.send(other, ORDER).status_code == 202


def test_a_server_that_is_nearly_full_takes_no_events_and_no_runners_until_it_has_room(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What was acknowledged before is counted, and the same batch is taken afterwards, once."""
    with running(tmp_path_factory.mktemp("full")) as service:
        venue = service.made_venue("p-1")
        assert service.send(venue, ORDER, key="before").status_code == 202
        used = int(service.redis.info("memory")["used_memory"])
        service.redis.config_set("maxmemory", str(int(used * 1.2)))
        until(lambda: service.send(venue, ORDER, key="k").status_code == 503, within_s=5, what="events are refused")
        assert "events are taken below 80%" in overloaded(service.send(venue, ORDER, key="k"))
        assert "events are taken below 80%" in overloaded(service.http.post(f"/v1/venues/{venue}/runners", json=RUNNER))
        assert service.slots(venue).status_code == 200
        service.redis.config_set("maxmemory", "0")
        until(lambda: service.send(venue, ORDER, key="k").status_code == 202, within_s=5, what="events are taken again")
        assert service.send(venue, ORDER, key="k").status_code == 202
        until(lambda: service.total(venue, "order:count") == 2, within_s=5, what="each is counted once")


def test_a_process_that_is_asked_to_end_says_so_first_and_still_serves(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.drain.DRAIN_S", 3.0)
    with running(tmp_path_factory.mktemp("ending")) as service:
        venue = service.made_venue("p-1")
        service.ending()
        answer = service.http.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
        assert "ending" in answer.json()["redis"]
        assert service.http.get("/healthz").status_code == 200
        assert service.send(venue, ORDER).status_code == 202
        until(service.ended, within_s=10, what="it has ended by itself")
