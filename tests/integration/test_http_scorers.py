"""Operators over HTTP: which scorer runs which venue."""

from __future__ import annotations

from typing import Any

from tests.integration.running import Running
from tests.waiting import until


def test_operators_are_told_who_runs_a_venue_and_how_well(service: Running) -> None:
    venue = service.made_venue("p-1")
    service.send(venue, {"type": "order", "product": "p-1"})

    def raced() -> dict[str, Any] | None:
        answer = service.http.get("/v1/scorers")
        assert answer.status_code == 200
        found = {run["venue"]: run for run in answer.json()["venues"]}[venue]
        return found if found["commit_ms"] is not None and found["frame"] > 0 else None

    run: dict[str, Any] = until(raced, within_s=5, what=f"{venue} is raced and reported")
    assert (run["owner"], run["state"], run["last_error"]) == ("tests", "racing", None)
    assert run["epoch"] > 0
    assert run["frame_age_ms"] < 3_000
    assert run["lag_ms"] < 3_000
    scorer = service.http.get("/v1/scorers").json()["scorers"][0]
    assert (scorer["name"], scorer["state"]) == ("tests", "live")
    assert scorer["venues"] >= 1
