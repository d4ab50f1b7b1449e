"""The map of a cluster: learnt from whoever knows, doubted where a node fails, and right after each MOVED."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from racing.errors import StoreError, StoreUnavailableError
from racing.settings import Settings
from racing.store import cluster as module
from racing.store.cluster import SLOTS, Address, Cluster, elsewhere, is_cluster, key_of, slot_of, venue_of
from racing.store.durability import Durability, best_of
from racing.store.keys import SECRET, VenueKeys

ONE, TWO, THREE = Address("h1", 7001), Address("h2", 7002), Address("h3", 7003)


class Nodes:
    """Nodes that answer with the map that each has; the others are away."""

    def __init__(self) -> None:
        self.maps: dict[Address, list[Any]] = {}
        self.asked: list[Address] = []

    def __call__(self, node: Address) -> list[Any]:
        self.asked.append(node)
        if node not in self.maps:
            raise redis.exceptions.ConnectionError("away")
        return self.maps[node]


def owned_by(primary: Address, *replicas: Address) -> list[Any]:
    """A map in which one node has every slot, as CLUSTER SLOTS gives it."""
    return [[0, SLOTS - 1, *([node.host.encode(), node.port, b"id", []] for node in (primary, *replicas))]]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def cluster(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One that asks as often as it likes."""
    monkeypatch.setattr(module, "_PACE_S", -1.0)
    return Cluster("redis+cluster://h1:7001,h2:7002", nodes)


def test_nobody_who_tells_is_an_error_of_the_connection(cluster: Cluster) -> None:
    with pytest.raises(redis.exceptions.ConnectionError, match="no node of the cluster holds slot 7: h2:7002: away"):
        cluster.locate(7)


def test_slot_that_no_node_serves_is_an_error_of_the_connection(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[ONE] = [[0, 6, [b"h1", 7001, b"id", []]]]
    assert cluster.locate(6) == ONE
    with pytest.raises(redis.exceptions.ConnectionError):
        cluster.locate(7)


def test_other_database_than_0_is_refused() -> None:
    with pytest.raises(StoreError, match="database 0 alone, not '2'"):
        Cluster("redis+cluster://h1:7001/2")


def test_map_is_asked_for_once(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[ONE] = owned_by(TWO)
    assert [cluster.locate(slot) for slot in (0, 5, SLOTS - 1)] == [TWO] * 3
    assert nodes.asked == [ONE]


def test_next_seed_is_asked_where_the_first_is_away(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[TWO] = owned_by(TWO)
    assert cluster.locate(0) == TWO
    assert nodes.asked == [ONE, TWO]


def test_node_that_names_no_host_is_at_the_host_that_was_asked(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[ONE] = [[0, SLOTS - 1, [b"", 7009, b"id", []]]]
    assert cluster.locate(0) == Address("h1", 7009)


def test_doubted_owner_is_asked_last_and_replaced_by_what_others_say(cluster: Cluster, nodes: Nodes) -> None:
    """It may be cut off, and believe that it is still the owner."""
    nodes.maps[ONE] = owned_by(ONE, TWO)
    assert cluster.locate(0) == ONE
    nodes.maps[TWO] = owned_by(TWO)
    nodes.asked.clear()
    cluster.doubt(ONE)
    assert cluster.known(0) is None
    assert cluster.locate(0) == TWO
    assert nodes.asked == [TWO]


def test_doubted_owner_stays_while_no_other_has_its_place(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps = {ONE: owned_by(ONE, TWO), TWO: owned_by(ONE, TWO)}
    assert cluster.locate(0) == ONE
    cluster.doubt(ONE)
    assert cluster.locate(0) == ONE
    assert cluster.known(0) is None, "it is still in doubt"


def test_doubted_node_is_asked_where_no_other_tells(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[ONE] = owned_by(ONE, TWO)
    cluster.locate(0)
    nodes.asked.clear()
    cluster.doubt(ONE)
    assert cluster.locate(0) == ONE
    assert nodes.asked == [TWO, ONE]
    nodes.maps[TWO] = owned_by(ONE, TWO)
    nodes.asked.clear()
    assert cluster.locate(0) == ONE
    assert nodes.asked == [TWO], "one that is stopped would only make who asks wait"


def test_doubt_ends_when_the_node_takes_connections_again(cluster: Cluster, nodes: Nodes) -> None:
    """It had closed one that was idle, say: nobody need be asked each time."""
    nodes.maps[ONE] = owned_by(ONE)
    cluster.locate(0)
    cluster.doubt(ONE)
    cluster.trust(ONE)
    assert cluster.known(0) == ONE


def test_doubted_map_is_not_asked_for_more_often_than_its_pace(
    cluster: Cluster, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.maps[ONE] = owned_by(ONE)
    cluster.locate(0)
    monkeypatch.setattr(module, "_PACE_S", 3600.0)
    nodes.asked.clear()
    cluster.doubt(ONE)
    assert [cluster.locate(slot) for slot in range(100)] == [ONE] * 100
    assert nodes.asked == []


def test_moved_slot_is_looked_for_where_the_reply_says(cluster: Cluster, nodes: Nodes) -> None:
    nodes.maps[ONE] = owned_by(ONE)
    cluster.locate(0)
    cluster.doubt(THREE)
    cluster.heard(ONE, redis.exceptions.ResponseError("MOVED 5 h3:7003"))
    assert (cluster.known(5), cluster.known(6)) == (THREE, ONE)
    cluster.heard(THREE, redis.exceptions.MovedError("5 :7004", status_code="MOVED"))
    assert cluster.known(5) == Address("h3", 7004), "without a name it is the host that replied"


@pytest.mark.parametrize(
    ("reply", "known"),
    [("ASK 5 h3:7003", ONE), ("TRYAGAIN Multiple keys", ONE), ("CLUSTERDOWN Hash slot not served", None)],
)
def test_slot_under_way_stays_with_its_node_and_a_node_that_is_down_is_doubted(
    cluster: Cluster, nodes: Nodes, reply: str, known: Address | None
) -> None:
    nodes.maps[ONE] = owned_by(ONE)
    cluster.locate(5)
    cluster.heard(ONE, redis.exceptions.ResponseError(reply))
    assert cluster.known(5) == known


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ResponseError("MOVED 5 h3:7003"),
        redis.exceptions.MovedError("5 h3:7003", status_code="MOVED"),
        redis.exceptions.ReadOnlyError("You can't write against a read only replica.", status_code="READONLY"),
        redis.exceptions.ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"),
        redis.exceptions.ResponseError("ERR WAIT cannot be used with replica instances. Please also note"),
        redis.exceptions.ResponseError("WAIT cannot be used with replica instances. Please", status_code="ERR"),
    ],
)
def test_replies_of_a_node_that_lost_the_slot_are_known(error: Exception) -> None:
    assert elsewhere(error)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ResponseError("WRONGTYPE Operation against a key"),
        redis.exceptions.OutOfMemoryError("command not allowed", status_code="OOM"),
        redis.exceptions.ConnectionError("MOVED"),
    ],
)
def test_other_errors_are_not_taken_for_a_moved_slot(error: Exception) -> None:
    assert not elsewhere(error)


def test_all_keys_of_a_venue_share_its_slot_and_name_it() -> None:
    keys = VenueKeys("hall-1")
    names = (keys.log, keys.commit, keys.sums("window", "click:count"), keys.answers)
    assert {venue_of(name) for name in names} == {"hall-1"}
    assert {int(redis.crc.key_slot(name.encode())) for name in names} == {slot_of("hall-1")}
    assert redis.crc.key_slot(SECRET.encode()) == slot_of(None)


def test_first_key_of_a_command_is_found_also_in_a_script() -> None:
    assert key_of(("XADD", "log", "*", "f", b"v")) == "log"
    assert key_of(("EVAL", "return 1", 2, "one", "two", "arg")) == "one"


@pytest.mark.parametrize("url", ["redis+cluster://h:1,h:2", "rediss+cluster://user:word@h"])
def test_addresses_of_clusters_are_taken_as_a_setting(url: str) -> None:
    assert is_cluster(url)
    assert Settings(redis_url=url).redis_url == url


def test_login_and_options_of_the_address_go_to_every_node() -> None:
    made = Cluster("rediss+cluster://user:word@h1:7001,h2?ssl_cert_reqs=none")
    assert made.node_url.format(address="h3:7003") == "rediss://user:word@h3:7003?ssl_cert_reqs=none"


SAFE = Durability("safe", "safe", "synced", "kept")
LACKS = Durability("safe", "not reached", "no replicas", "nothing")


def test_cluster_promises_what_the_best_of_its_nodes_does_and_tells_of_each() -> None:
    best = best_of({"a:1": LACKS, "b:2": SAFE, "c:3": StoreUnavailableError("away")})
    assert (best.in_force, best.promise) == ("safe", "kept")
    assert best.found == "a:1 no replicas; b:2 synced; c:3 away"


def test_cluster_of_which_no_node_answers_is_away() -> None:
    with pytest.raises(StoreUnavailableError, match="away"):
        best_of({"a:1": StoreUnavailableError("away"), "b:2": StoreUnavailableError("away too")})
