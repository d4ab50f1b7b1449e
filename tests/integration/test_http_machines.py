"""Machines over HTTP: health, readiness, metrics, help on errors, the rule's schema."""

from __future__ import annotations

from typing import get_args

import jsonschema_rs
import pytest

from api.errors import CODES
from racing.metrics import CounterName, GaugeName, HistogramName
from tests.integration.contract import RULE, problem
from tests.integration.running import Running, running
from tests.waiting import until

_ONLY_IN_TROUBLE = {
    "saima_conflicts_total",
    "saima_numbers_dropped_total",
    "saima_purges_total",
    "saima_segment_failures_total",
}
_ONLY_LATER = {"saima_segments_total", "saima_kept_frames_total"}
"""A minute later; two windows and an hour later."""
_ONLY_FOLLOWED = {
    "saima_live_streams",
    "saima_live_bytes_total",
    "saima_live_dropped_total",
    "saima_live_refused_total",
}
"""Of venues that somebody follows: tests/integration/test_live.py has them."""


def test_a_process_that_lives_is_healthy(service: Running) -> None:
    answer = service.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_service_with_redis_is_ready_and_says_how_fresh_each_venue_is(service: Running) -> None:
    venue = service.made_venue("p-1")

    def fresh() -> bool:
        found = service.http.get("/readyz")
        venues = {each["venue"]: each for each in found.json()["venues"]}
        assert (found.status_code, found.json()["status"], found.json()["redis"]) == (200, "ready", "ok")
        seen = venues.get(venue, {"frame": 0, "age_ms": None})
        return seen["frame"] > 0 and seen["age_ms"] is not None and seen["age_ms"] < 3_000

    until(fresh, within_s=5, what=f"{venue} was fresh")


def test_a_service_in_fast_mode_says_so_and_what_may_be_lost(service: Running) -> None:
    found = service.http.get("/readyz").json()["durability"]
    assert (found["asked"], found["in_force"]) == ("fast", "fast")
    assert "may lose about a second" in found["promise"]


def test_safe_mode_over_a_server_that_does_not_sync_acknowledges_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Not ready, and told why; as soon as the server syncs, the same batch is taken."""
    with running(tmp_path_factory.mktemp("safe"), durability="safe") as service:
        venue = service.made_venue("p-1")
        order = {"type": "order", "product": "p-1"}
        assert service.http.get("/readyz").json()["durability"]["in_force"] == "safe"
        service.redis.config_set("appendfsync", "everysec")
        for _ in range(2):
            refused = problem(service.send(venue, order, key="k"), 503, "unavailable")
            assert "appendfsync is everysec, not always" in refused["detail"]
        answer = service.http.get("/readyz")
        assert (answer.status_code, answer.json()["durability"]["in_force"]) == (503, "not reached")
        service.redis.config_set("appendfsync", "always")
        assert service.send(venue, order, key="k").status_code == 202
        assert service.send(venue, order, key="k").status_code == 202
        until(lambda: service.scores(venue) == {"p-1": 1}, within_s=5, what="it was counted once")
        assert service.http.get("/readyz").status_code == 200


def test_every_metric_is_shown_for_a_venue_that_had_traffic(service: Running) -> None:
    """Accepted, duplicate and refused count what was answered, by venue and reason."""
    venue = service.made_venue("p-1")
    order = {"type": "order", "product": "p-1", "id": "o-1"}
    service.send(venue, order, order, {"type": "order", "product": "p-9"}, {"type": "pv", "product": "p-1"}, key="k")
    service.send(venue, order, order, {"type": "order", "product": "p-9"}, {"type": "pv", "product": "p-1"}, key="k")
    until(lambda: service.counts(venue).get("counted"), within_s=5, what="the order was counted")
    answer = service.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert f'saima_events_accepted_total{{venue="{venue}"}} 1.0' in lines
    assert f'saima_events_duplicate_total{{venue="{venue}"}} 1.0' in lines
    assert f'saima_events_refused_total{{reason="unknown_product",venue="{venue}"}} 1.0' in lines
    assert f'saima_events_refused_total{{reason="unknown_kind",venue="{venue}"}} 1.0' in lines
    names = {*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName)}
    names -= _ONLY_IN_TROUBLE | _ONLY_LATER | _ONLY_FOLLOWED

    def missing() -> set[str]:
        lines = service.http.get("/metrics").text.splitlines()
        return {name for name in names if not any(line.startswith(name) and venue in line for line in lines)}

    until(lambda: not missing(), within_s=5, what="every metric was shown, the scorer's report too")


def test_the_books_of_a_venue_balance_in_every_scrape(service: Running) -> None:
    """Events in the log are those counted, late, ahead, duplicate, unknown, or in flight; whenever one looks."""
    venue = service.made_venue("p-1")
    sent, fates = 0, ("counted", "late", "future", "duplicate", "unknown_runner", "unknown_kind")

    def gauge(name: str, text: str) -> int:
        shown = [line for line in text.splitlines() if line.startswith(f'saima_{name}{{venue="{venue}"}} ')]
        return int(float(shown[0].rpartition(" ")[2]))

    until(lambda: f'saima_log_events{{venue="{venue}"}}' in service.http.get("/metrics").text, within_s=5, what="shown")
    for batch in range(30):
        events = [{"type": "order", "product": "p-1", "id": f"o-{batch}-{each % 7}"} for each in range(20)]
        answer = service.send(venue, *events).json()
        sent += answer["accepted"] + answer["duplicate"]
        text = service.http.get("/metrics").text
        known = sum(gauge(f"race_{fate}_events", text) for fate in fates)
        assert gauge("log_events", text) == known + gauge("in_flight_events", text)

    def all_folded() -> bool:
        text = service.http.get("/metrics").text
        return (gauge("log_events", text), gauge("in_flight_events", text)) == (sent, 0)

    until(all_folded, within_s=10, what="all that was sent was in the log, and folded")


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_a_page_that_says_what_to_do(service: Running, code: str) -> None:
    """The address is the type of the problem."""
    answer = service.http.get(f"/problems/{code}")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["code"], found["status"]) == (code, CODES[code].status)
    assert found["title"]
    assert found["help"].endswith(".")


def test_the_schema_of_the_rule_takes_rules_and_refuses_others(service: Running) -> None:
    schema = service.http.get("/v1/rule/schema").json()
    rule = jsonschema_rs.validator_for(schema)
    assert rule.is_valid(RULE)
    assert not rule.is_valid({**RULE, "colour": "red"})
    assert not rule.is_valid({**RULE, "metrics": {"No Name": {"event": "click"}}})
    assert not rule.is_valid({**RULE, "window_s": 0})
