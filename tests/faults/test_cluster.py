"""serve over a real Redis Cluster: everything works there, and no planned change of nodes loses or doubles anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from racing.store.cluster import slot_of
from tests.cluster import TestCluster, running_cluster
from tests.faults.failover import Load, counted, open_venue, totals
from tests.stack import Stack
from tests.waiting import until

SOON_S = 20.0
STAR = {"product": "star", "merchant": "m", "title": "t"}
VENUES = ("hall-1", "hall-2", "hall-4")
"""One on each of the three primaries."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with running_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def stack(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """API and scorer as processes of their own, with a venue on each node."""
    made = Stack(tmp_path_factory.mktemp("serve"), SAIMA_REDIS_URL=cluster.url, SAIMA_LEASE_MS="1000")
    made.serve()
    try:
        made.wait_ready()
        for venue in VENUES:
            open_venue(made, venue)
        yield made
    finally:
        made.stop()


def agrees(stack: Stack, cluster: TestCluster, venue: str, load: Load) -> None:
    """Assert that all that was acknowledged is counted once, and that the venue verifies."""
    found = counted(cluster.url, venue, load.journal)
    assert (found.lost, found.doubled, found.wrong_amounts, load.journal.troubles) == (0, 0, 0, [])
    assert found.acknowledged > 100
    verified = stack.run("verify", venue, "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def first_of(stack: Stack, venue: str) -> str | None:
    slots = stack.get(f"/v1/venues/{venue}/slots?limit=1")["slots"]
    return slots[0]["product"] if slots else None


def test_venues_spread_over_the_nodes(cluster: TestCluster) -> None:
    assert len({cluster.owner(venue).port for venue in VENUES}) == 3
    assert len({slot_of(venue) for venue in VENUES}) == 3


def test_events_are_counted_and_slots_are_served_on_every_node(stack: Stack, cluster: TestCluster) -> None:
    for venue in VENUES:
        assert stack.post(f"/v1/venues/{venue}/runners", STAR).status_code == 201
        events = [{"type": "click", "product": "star"}, {"type": "click", "product": "star"}]
        assert stack.post(f"/v1/venues/{venue}/events", {"events": events}).json()["accepted"] == 2
    for venue in VENUES:
        until(lambda venue=venue: first_of(stack, venue) == "star", within_s=SOON_S, what=f"{venue} shows its star")  # type: ignore[misc]  # bound at once
    assert [each["venue"] for each in stack.get("/v1/venues")["venues"]] == list(VENUES)


def test_doctor_looks_at_every_node(stack: Stack, cluster: TestCluster) -> None:
    told = stack.run("doctor", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    findings = {each["what"]: each for each in json.loads(told.stdout)}
    for venue in VENUES:
        port = cluster.owner(venue).port
        assert findings[f"cluster 127.0.0.1:{port}"]["grade"] == "ok"
        assert findings[f"failover 127.0.0.1:{port}"]["found"].startswith("1 replicas")
        assert findings[f"venue {venue}"]["grade"] == "ok"


def test_a_venue_is_moved_to_another_node_and_deleted_there(stack: Stack, cluster: TestCluster, tmp_path: Path) -> None:
    other = next(
        name for name in map("away-{}".format, range(99)) if cluster.owner(name) is not cluster.owner("hall-1")
    )
    assert stack.run("export", "hall-1", str(tmp_path / "file")).returncode == 0
    moved = stack.run("import", str(tmp_path / "file"), "--as", other)
    assert moved.returncode == 0, moved.stderr
    until(lambda: first_of(stack, other) == "star", within_s=SOON_S, what="the moved venue shows its star")
    verified = stack.run("verify", other)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    deleted = stack.run("venue", "delete", other, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert [each["venue"] for each in stack.get("/v1/venues")["venues"]] == list(VENUES)


def test_a_planned_failover_loses_and_doubles_nothing(stack: Stack, cluster: TestCluster) -> None:
    venue = "hall-1"
    with Load(stack.base, venue, seed=1) as load:
        for _ in range(2):
            load.more(20)
            cluster.switch_over(venue)
        load.more(20)
    agrees(stack, cluster, venue, load)


def test_slots_moved_under_load_lose_and_double_nothing(stack: Stack, cluster: TestCluster) -> None:
    """Key by key, with the venue's keys on two nodes for a while; and back, all at once."""
    venue = "hall-2"
    before = cluster.owner(venue)
    with Load(stack.base, venue, seed=2) as load:
        load.more(20)
        cluster.move_slot(venue, cluster.other_primary(venue))
        assert cluster.owner(venue) is not before
        load.more(20)
        cluster.move_slot_at_once(venue, before)
        load.more(20)
    agrees(stack, cluster, venue, load)


def test_a_killed_primary_is_survived_and_others_notice_nothing(stack: Stack, cluster: TestCluster) -> None:
    """The one that also has the list of venues. What its replica had not got yet is lost, in fast mode."""
    venue, other = "hall-4", "hall-1"
    killed = cluster.owner(venue)
    assert cluster.serves(killed, "saima"), "that node has the deployment-wide keys as well"
    with Load(stack.base, venue, seed=3) as load:
        load.more(20)
        killed.kill()
        before = load.journal.events
        events = {"events": [{"type": "click", "product": "star"}]}
        assert stack.post(f"/v1/venues/{other}/events", events).status_code == 202
        assert stack.get(f"/v1/venues/{other}/slots?limit=1")["stale"] is False
        assert stack.ready()
        load.more(20)
    found = counted(cluster.url, venue, load.journal)
    assert (found.doubled, found.wrong_amounts, load.journal.troubles) == (0, 0, [])
    assert found.lost <= before
    earlier = totals(cluster.url, venue)
    with Load(stack.base, venue, seed=4) as load:
        load.more(20)
    found = counted(cluster.url, venue, load.journal, earlier)
    assert (found.lost, found.doubled, found.wrong_amounts, load.journal.troubles) == (0, 0, 0, [])
    assert stack.run("verify", venue, "--json").returncode == 0
    killed.start()
    cluster.settled()
