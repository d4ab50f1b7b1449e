"""The service under measurement: an embedded server, one scorer and one API, each a real process."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Self

import redis

from loadtests.processes import BenchError, Processes, cpu_s, rss_bytes, wait_until
from loadtests.traffic import product_of
from racing.entries import Runner
from racing.errors import StoreError
from racing.model import Position
from racing.store.client import connect, connect_async
from racing.store.commit import CommitRecord, read_commit
from racing.store.desk import Desk
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from racing.supervisor import PARENT_VARIABLE

HOST = "127.0.0.1"
VENUE = "bench"
ENROL_MAX = 1_000
"""Runners of one enrolment: the service's own bound."""
MERCHANTS = 500
_START_S = 15.0


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """An embedded Valkey with its append-only file on or off. Rivals get one of their own, set alike."""

    def __init__(self, processes: Processes, name: str, *, aof: bool) -> None:
        self._embedded = EmbeddedServer(processes.folder / f"{name}-{os.urandom(3).hex()}")
        self._embedded.start()
        pid = self._embedded.pid
        if pid is None:
            raise BenchError("the embedded server has no pid file")
        self.pid = pid
        processes.adopt(pid)
        self.url = self._embedded.url
        self.client: redis.Redis = redis.Redis.from_url(self.url)
        self.persist(aof=aof)

    def persist(self, *, aof: bool) -> None:
        """Switch the append-only file on or off; waits until it is written anew."""
        self.client.config_set("appendonly", "yes" if aof else "no")
        wait_until(
            lambda: not self.client.info("persistence")["aof_rewrite_in_progress"],
            within_s=30,
            what="the append-only file was rewritten",
        )

    def cpu_s(self) -> float:
        """CPU seconds of the server so far."""
        return cpu_s(self.pid)

    def used_bytes(self) -> int:
        """Memory that the server has allocated for data and itself."""
        return int(self.client.info("memory")["used_memory"])

    def stop(self) -> None:
        """End it. Its append-only file goes with the folder."""
        with contextlib.suppress(redis.exceptions.RedisError):
            self.client.close()
        self._embedded.stop()


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds by part."""

    api: float
    scorer: float
    server: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.api + self.scorer + self.server

    def __sub__(self, other: Self) -> Cpu:
        return Cpu(self.api - other.api, self.scorer - other.scorer, self.server - other.server)


class Stack:
    """Server, scorer and API with one venue. Use as a context; start() returns when it serves."""

    def __init__(self, processes: Processes, *, aof: bool = True, frame_ms: int = 100) -> None:
        self._processes = processes
        self._frame_ms = frame_ms
        self._aof = aof
        self.port = free_port()
        self.keys = VenueKeys(VENUE)

    def __enter__(self) -> Self:
        """Start the server and both processes; they import and connect while the caller goes on."""
        self.server = Server(self._processes, "server", aof=self._aof)
        self.client = connect(self.server.url)
        self.start_scorer()
        self._api = self._command("api")
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.end(self._api)
        self.stop_scorer()
        self.client.close()
        self.server.stop()

    def _command(self, name: str) -> subprocess.Popen[bytes]:
        env = {
            "SAIMA_REDIS_URL": self.server.url,
            "SAIMA_HOST": HOST,
            "SAIMA_PORT": str(self.port),
            "SAIMA_KEYS": "off",
            "SAIMA_FRAME_MS": str(self._frame_ms),
            "SAIMA_LIVE_STREAMS_PER_CALLER": "0",
            "SAIMA_LOG_LEVEL": "warning",
            PARENT_VARIABLE: str(os.getpid()),
        }
        return self._processes.start(name, [sys.executable, "-m", "racing.cli", name], env=env)

    def start_scorer(self, *, frame_ms: int | None = None) -> None:
        """Start the scorer, from now on with this setting where one is given."""
        self._frame_ms = self._frame_ms if frame_ms is None else frame_ms
        self._scorer = self._command("scorer")

    def stop_scorer(self) -> None:
        """End the scorer as an operator would: it gives up its venues."""
        self._processes.end(self._scorer)

    def check(self) -> None:
        """Raise BenchError, with its last words, if one of the processes has ended."""
        self._processes.check(self._api, "the API")
        self._processes.check(self._scorer, "the scorer")

    # -- the venue ------------------------------------------------------------------------------------

    def open_venue(self, rule: dict[str, Any], runners: int, *, venue: str = VENUE, merchants: int = MERCHANTS) -> None:
        """Make a venue over HTTP and enrol its runners; returns when the scorer has committed them.

        merchants: how many take turns with them.
        """
        wait_until(self._serves, within_s=_START_S, what="the API answered /readyz")
        self.ask("POST", "/v1/venues", {"venue": venue, "title": "bench", "rule": rule})
        asyncio.run(_enrol(self.server.url, venue, runners, merchants))
        self.caught_up(within_s=30 + runners / 2_000, venue=venue)

    def _serves(self) -> bool:
        self.check()
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/readyz")[0] == 200
        return False

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """(status, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def shows(self, venue: str = VENUE) -> None:
        """Wait until the API answers readers with a full board."""
        path = f"/v1/venues/{venue}/slots?limit=1"
        wait_until(
            lambda: json.loads(self.request("GET", path)[1]).get("slots"), within_s=10, what=f"GET {path} showed a slot"
        )

    def ask(self, method: str, path: str, document: Any) -> bytes:
        """The answer to a JSON request. Raises BenchError on any but a good one."""
        status, answer = self.request(method, path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        if status >= 400:
            raise BenchError(f"{method} {path} was answered {status}: {answer[:300].decode(errors='replace')}")
        return answer

    # -- what is measured -----------------------------------------------------------------------------

    def cpu(self) -> Cpu:
        """CPU seconds of the three processes so far."""
        self.check()
        return Cpu(cpu_s(self._api.pid), cpu_s(self._scorer.pid), self.server.cpu_s())

    def pids(self) -> tuple[int, int, int]:
        """API, scorer, server."""
        return self._api.pid, self._scorer.pid, self.server.pid

    def scorer_rss_bytes(self) -> int:
        """Resident memory of the scorer."""
        return rss_bytes(self._scorer.pid)

    def record(self, venue: str = VENUE) -> CommitRecord:
        """The venue's last commit."""
        return read_commit(self.client, VenueKeys(venue))

    def log_end(self, venue: str = VENUE) -> Position:
        """The position of the log's last entry."""
        last = self.client.xrevrange(VenueKeys(venue).log, count=1)
        return Position.parse(last[0][0]) if last else Position(0, 0)

    def caught_up(self, *, within_s: float = 10.0, sets: bool = True, venue: str = VENUE) -> None:
        """Wait until all that is in the log now is committed, and the sorted sets show it."""
        target = self.log_end(venue)

        def done() -> bool:
            self.check()
            try:
                record = self.record(venue)
            except StoreError:  # the server is busy for longer than a client of ours waits
                return False
            return Position.parse(record.sets_position if sets else record.position) >= target

        wait_until(done, within_s=within_s, what=f"the scorer had committed up to {target} (sets: {sets})")


async def _enrol(url: str, venue: str, runners: int, merchants: int) -> None:
    """Enrol as the API does, without its checks of each document: a million runners take a minute, not three."""
    client = connect_async(url)
    desk = Desk(client)
    for start in range(0, runners, ENROL_MAX):
        some = [
            Runner(product=product_of(number), merchant=f"m-{number % merchants}", title=f"Product {number}")
            for number in range(start, min(runners, start + ENROL_MAX))
        ]
        await desk.runners.enrol(venue, some)
    await client.aclose()
