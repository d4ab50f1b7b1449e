"""Several `saima scorer` processes over one server, which know nothing but its address."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from racing.entries import EVENTS_FIELD
from racing.store.client import connect
from racing.store.commit import read_commit
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.verify import verify
from tests.faults.crews import RUNNERS, Load, crew, open_venues
from tests.faults.watched import watched
from tests.laws.logs import batch_of
from tests.stack import ROOT
from tests.waiting import until

VENUES = [f"hall-{number}" for number in range(1, 6)]
LEASE_MS = 30_000
"""Far longer than any of these tests waits: nothing here may depend on a lease that runs out."""
SOON_S = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with some venues."""
    made = EmbeddedServer(tmp_path)
    made.start()
    asyncio.run(open_venues(made.url, VENUES))
    yield made
    made.stop()


def told(url: str, *options: str) -> str:
    """What `saima scorers` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "racing.cli", "scorers", "--redis-url", url, *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "COLUMNS": "200", "SAIMA_LEASE_MS": str(LEASE_MS)},
        cwd=ROOT,
    )
    return done.stdout


def test_operators_see_who_runs_what(server: EmbeddedServer, tmp_path: Path) -> None:
    with crew(server.url, tmp_path, scorers=2, lease_ms=LEASE_MS, seed=1) as scorers:
        owners = scorers.settled(VENUES)
        view: dict[str, list[dict[str, Any]]] = json.loads(told(server.url, "--json"))
        names = {each["pid"]: each["name"] for each in view["scorers"]}
        assert {run["venue"]: run["owner"] for run in view["venues"]} == {
            venue: names[pid] for venue, pid in owners.items()
        }
        assert sorted(each["venues"] for each in view["scorers"]) == [2, 3]
        assert {each["state"] for each in view["scorers"]} == {"live"}
        assert all(run["epoch"] > 0 and run["frame_age_ms"] < LEASE_MS for run in view["venues"])
        table = told(server.url)
        assert all(venue in table for venue in VENUES)
        assert all(name in table for name in names.values())


def test_scorer_that_is_told_to_end_hands_its_venues_on_before_their_leases_run_out(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    with crew(server.url, tmp_path, scorers=2, lease_ms=LEASE_MS, seed=1) as scorers:
        owners = scorers.settled(VENUES)
        with Load(server.url, VENUES, seed=1, batch=20, pause_s=0.01):
            assert scorers.end(owners[VENUES[0]]) == 0
            left = scorers.settled(VENUES)
        assert set(left.values()) == set(owners.values()) - {owners[VENUES[0]]}


def test_scorer_that_joins_under_load_takes_its_share_and_no_venue_waits_for_a_lease(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    client = connect(server.url)
    with watched(server.url) as seen, crew(server.url, tmp_path, scorers=2, lease_ms=LEASE_MS, seed=1) as scorers:
        with Load(server.url, VENUES, seed=1, batch=20, pause_s=0.01) as load:
            before = scorers.settled(VENUES)
            scorers.start()
            after = scorers.settled(VENUES)
        for venue, sent in load.journal.items():
            until(lambda: counted(client, venue) == sent.total(), within_s=SOON_S, what=f"{venue} counts all")  # noqa: B023  # called at once
    client.close()
    assert sorted(Counter(after.values()).values()) == [1, 2, 2]
    assert sum(before[venue] != after[venue] for venue in VENUES) == 1
    assert [seen.stale(venue) for venue in VENUES] == [0] * len(VENUES)
    gaps_s = [later - before for venue in VENUES for (before, _), (later, _) in itertools.pairwise(seen.commits[venue])]
    assert max(gaps_s) < LEASE_MS / 1000 / 3


def counted(client: SyncClient, venue: str) -> int:
    """How many events of a venue are counted."""
    return read_commit(client, VenueKeys(venue)).counts.get("counted", 0)


def test_venue_with_a_long_backlog_does_not_starve_the_others_of_its_process(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    """Many clicks go their whole way in one venue while another folds what has piled up."""
    client: Any = connect(server.url)
    packed = batch_of([{"type": "click", "runner": index % RUNNERS} for index in range(1_000)]).pack()
    heavy, light = VenueKeys(VENUES[0]), VenueKeys(VENUES[1])
    entries = 4_000
    pipe = client.pipeline(transaction=False)
    for _ in range(entries):
        pipe.xadd(heavy.log, {EVENTS_FIELD: packed})
    pipe.execute()
    one = batch_of([{"type": "click", "runner": 0}]).pack()
    with crew(server.url, tmp_path, scorers=1, lease_ms=LEASE_MS, seed=1):
        until(lambda: counted(client, VENUES[0]), within_s=SOON_S, what="the backlog is begun")
        for count in range(1, 6):
            client.xadd(light.log, {EVENTS_FIELD: one})
            until(
                lambda: counted(client, VENUES[1]) == count,  # noqa: B023  # called at once
                within_s=SOON_S,
                what=f"click {count} is counted",
            )
        assert counted(client, VENUES[0]) < entries * 1_000, "the backlog was too short to show anything"
        until(
            lambda: counted(client, VENUES[0]) == entries * 1_000,
            within_s=60,
            what="the backlog is folded",
        )
    assert verify(client, VENUES[1]).differences == []
    client.close()
