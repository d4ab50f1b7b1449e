"""A real Redis Cluster on loopback: three primaries, each with a replica, from the embedded server's binary.

With relays each node is reached through one, by clients and by its replica, so that its replication can be held up.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from racing.store.cluster import slot_of
from racing.store.embedded import server_binary
from tests.relay import Relay
from tests.waiting import free_port, until

PRIMARIES = 3
NODE_TIMEOUT_MS = 1_000
"""Far below what one would run with: a failover takes about twice this."""
START_S = 20.0


class Node:
    """One server of the cluster; it keeps its port, folder and place through restarts."""

    def __init__(self, folder: Path, appendfsync: str, *, relayed: bool) -> None:
        self.folder = folder
        self.port, self.bus = free_port(), free_port()
        self.relay = Relay(self.port) if relayed else None
        self.appendfsync = appendfsync
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        self.client: Any = redis.Redis(port=self.port, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        folder.mkdir()

    @property
    def announced(self) -> int:
        """The port under which the others, and clients, know it."""
        return self.port if self.relay is None else self.relay.port

    def start(self) -> None:
        """Start it; until(answers) tells when it can be spoken to."""
        options = {
            "port": self.port,
            "cluster-port": self.bus,
            "cluster-announce-port": self.announced,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": 0,
            "repl-diskless-sync-delay": 0,
            "repl-backlog-size": "32mb",
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "save": "",
        }
        command = [server_binary(), *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        with (self.folder / "server.log").open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)

    def answers(self) -> bool:
        """Whether it has loaded its file and answers."""
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            return bool(self.client.ping())
        return False

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return str(self.client.execute_command("CLUSTER MYID").decode())

    def role(self) -> str:
        """``master`` or ``slave``; ``away`` where it does not answer."""
        if self.process is None or self.paused:
            return "away"
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            return str(self.client.execute_command("ROLE")[0].decode())
        return "away"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, if it has one."""
        if self.process is not None:
            self.paused = number == signal.SIGSTOP
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class TestCluster:
    """Six nodes."""

    __test__ = False

    def __init__(self, folder: Path, *, appendfsync: str = "everysec", relayed: bool = False) -> None:
        self.nodes = [Node(folder / f"node-{index}", appendfsync, relayed=relayed) for index in range(2 * PRIMARIES)]

    @property
    def url(self) -> str:
        """Where clients begin to look: two nodes are enough."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.announced}" for node in self.nodes[:2])

    def start(self) -> None:
        """Return when all slots are served and every replica follows."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            until(node.answers, within_s=START_S, what=f"the node at port {node.port} answers")
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for index, node in enumerate(primaries):
            bounds = [16_384 * part // PRIMARIES for part in (index, index + 1)]
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[0], bounds[1] - 1)
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
        first = self.nodes[0]
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, first.bus)
        for node in self.nodes:
            until(lambda node=node: self._knows_all(node), within_s=START_S, what="every node knows the others")  # type: ignore[misc]  # bound at once
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.client.execute_command("CLUSTER REPLICATE", primary.id)
        self.settled()

    def _knows_all(self, node: Node) -> bool:
        info: dict[str, str] = node.client.execute_command("CLUSTER INFO")
        return int(info["cluster_known_nodes"]) == len(self.nodes)

    def settled(self) -> None:
        """Return when every slot is served and every primary has a replica that follows."""
        until(self._settled, within_s=START_S, what="every slot is served and every primary has its replica")

    def _settled(self) -> bool:
        living = [node for node in self.nodes if node.process is not None]
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            infos = [node.client.execute_command("CLUSTER INFO") for node in living]
            online = sum(
                each.get("state") == "online"
                for node in living
                for name, each in node.client.info("replication").items()
                if name.startswith("slave") and isinstance(each, dict)
            )
            return online == PRIMARIES and all(
                info["cluster_state"] == "ok" and int(info["cluster_slots_ok"]) == 16_384 for info in infos
            )
        return False

    def stop(self) -> None:
        """Kill all of it."""
        for node in self.nodes:
            if node.process is not None:
                node.signal(signal.SIGCONT)
            node.client.close()
            node.kill()
        for node in self.nodes:
            if node.relay is not None:
                node.relay.close()

    # -- who holds what --------------------------------------------------------------------------------

    def owner(self, venue: str) -> Node:
        """The primary that serves a venue's slot by what the nodes agree on now; waits for one."""
        return until(lambda: self._owner(venue), within_s=START_S, what=f"a primary serves {venue}")

    def _owner(self, venue: str) -> Node | None:
        slot = slot_of(venue)
        for node in self.nodes:
            with contextlib.suppress(redis.exceptions.RedisError, OSError):
                if node.process is not None and node.role() == "master":
                    ranges = node.client.execute_command("CLUSTER SLOTS")
                    if any(first <= slot <= last and held[0][1] == node.announced for first, last, *held in ranges):
                        return node
        return None

    def serves(self, node: Node, venue: str) -> bool:
        """Whether a node holds a venue's slot by its own account."""
        return self._owner(venue) is node

    def replica_of(self, primary: Node) -> Node:
        """The replica of a primary; waits until it follows."""

        def find() -> Node | None:
            for node in self.nodes:
                with contextlib.suppress(redis.exceptions.RedisError, OSError):
                    if node.process is not None and node is not primary:
                        role = node.client.execute_command("ROLE")
                        if role[0] == b"slave" and int(role[2]) == primary.announced and role[3] == b"connected":
                            return node
            return None

        return until(find, within_s=START_S, what=f"a replica follows port {primary.port}")

    # -- what befalls it -------------------------------------------------------------------------------

    def switch_over(self, venue: str) -> Node:
        """CLUSTER FAILOVER of the venue's primary to its replica, which it awaits; returns the new primary."""
        before = self.owner(venue)
        replica = self.replica_of(before)
        replica.client.execute_command("CLUSTER FAILOVER")
        until(lambda: self._owner(venue) is replica, within_s=START_S, what="the replica has taken over")
        return replica

    def fail_over(self, venue: str) -> tuple[Node, Node]:
        """kill -9 of the venue's primary; returns (who was killed, who took over)."""
        before = self.owner(venue)
        replica = self.replica_of(before)
        before.kill()
        until(lambda: self._owner(venue) is replica, within_s=START_S, what="the replica has taken over")
        return before, replica

    def move_slot(self, venue: str, to: Node) -> None:
        """Move the venue's slot key by key, as a rebalancing does: for a while its keys are on both nodes."""
        slot, source = slot_of(venue), self.owner(venue)
        to.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", to.id)
        while keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            source.client.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, source, *self.nodes):
            if node.process is not None and node.role() == "master":
                node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", to.id)

    def move_slot_at_once(self, venue: str, to: Node) -> None:
        """Move the venue's slot as Valkey 9 does: all of its keys at one moment."""
        slot, source = slot_of(venue), self.owner(venue)
        source.client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        until(lambda: self._owner(venue) is to, within_s=START_S, what="the slot has moved")

    def other_primary(self, venue: str) -> Node:
        """A primary that does not hold the venue."""
        owner = self.owner(venue)
        return next(node for node in self.nodes if node is not owner and node.role() == "master")


@contextlib.contextmanager
def running_cluster(**options: Any) -> Iterator[TestCluster]:
    """A cluster that is up, in a folder of its own; all of it is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="saima-") as folder:
        cluster = TestCluster(Path(folder), **options)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
