"""A whole deployment in this process: an embedded Valkey, a scorer, and the API over a real socket."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from api.app import server_of
from racing.crew import Scorer
from racing.model import Position
from racing.settings import Settings, load_settings
from racing.store.client import connect
from racing.store.commit import read_commit
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VENUES, VenueKeys, member
from tests.asking import NO_TLS
from tests.integration.contract import JSON
from tests.waiting import until

PLAIN_RULE: dict[str, Any] = {
    "metrics": {"order": {"event": "order"}, "pay_amount": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "order", "signal": "total", "weight": 1},
        {"metric": "pay_amount", "signal": "total", "weight": 0.001},
    ],
}
"""A score that can be read off: one point for each order, and one for each ten of money (in fen)."""

_names = (f"race-{number}" for number in itertools.count(1))


class Running:
    """The parts, each of which can be stopped by itself."""

    def __init__(self, folder: Path, settings: Settings, *, scorer: bool) -> None:
        self.settings = settings
        self.server = EmbeddedServer(folder, appendfsync=settings.embedded_appendfsync, memory_mb=settings.memory_mb)
        self._halt = threading.Event()
        if not scorer:
            self._halt.set()
        self._scorer = threading.Thread(
            target=Scorer(self.server.url, "tests", settings).run, args=(self._halt,), name="scorer"
        )
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._api = server_of(settings, self.server.url, timeout_graceful_shutdown=1)
        self._serving = threading.Thread(target=self._api.run, args=([self._socket],), name="api")
        self.http = httpx2.Client(base_url=self.url, timeout=30, verify=NO_TLS)

    def start(self) -> None:
        """Return when everything runs."""
        self.server.start()
        self.redis = connect(self.server.url)
        self._scorer.start()
        self._serving.start()
        until(lambda: self._api.started, within_s=10, what="the API had started")

    def stop(self) -> None:
        """Stop what still runs."""
        self.http.close()
        self._api.should_exit = True
        self._halt.set()
        self._serving.join()
        self._scorer.join()
        self._socket.close()
        self.redis.close()
        self.server.stop()

    def ending(self) -> None:
        """Ask the API to end, as SIGTERM does."""
        self._api.handle_exit(signal.SIGTERM, None)

    def ended(self) -> bool:
        """Whether the API has ended."""
        return not self._serving.is_alive()

    def made_venue(self, *products: str, rule: dict[str, Any] | None = None) -> str:
        """The id of a new venue, with these products enrolled."""
        name = next(_names)
        body = {"venue": name, "rule": rule or PLAIN_RULE}

        def answer() -> httpx2.Response | None:
            """None for a 503: all parts share this process, and a connection may not come about in time."""
            found = self.http.post("/v1/venues", json=body)
            return None if found.status_code == 503 else found

        made = until(answer, within_s=10, what="the service took a venue")
        assert made.status_code in {201, 409}, made.text  # 409: the one that was answered by 503 had made it
        if products:
            self.enrol(name, *products)
        return name

    def clear(self) -> None:
        """End every venue: not listed any more, it is let go of within a second. Its keys go with the server."""
        self.redis.delete(VENUES)

    def enrol(self, venue: str, *products: str) -> None:
        """Enrol products under data made of their ids."""
        runners = [{"product": product, "merchant": "m-1", "title": f"The {product}"} for product in products]
        answer = self.http.post(f"/v1/venues/{venue}/runners/bulk", json={"runners": runners})
        assert answer.status_code == 201, answer.text

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """The answer to a body, which may be bytes that no JSON encoder would write."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers={**JSON, **headers})

    def send(self, venue: str, *events: dict[str, Any], key: str | None = None) -> httpx2.Response:
        """The answer to a batch."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.http.post(f"/v1/venues/{venue}/events", json={"events": events}, headers=headers)

    def slots(self, venue: str, **headers: str) -> httpx2.Response:
        """The answer of GET slots."""
        return self.http.get(f"/v1/venues/{venue}/slots", headers=headers)

    def scores(self, venue: str) -> dict[str, float]:
        """The scores on the board, by product."""
        return {slot["product"]: slot["score"] for slot in self.slots(venue).json()["slots"]}

    def folded(self, venue: str, position: str) -> None:
        """Return when all up to the position is folded and the sorted sets show it."""
        keys, wanted = VenueKeys(venue), Position.parse(position)

        def complete() -> bool:
            return Position.parse(read_commit(self.redis, keys).sets_position) >= wanted

        until(complete, within_s=10, what=f"{venue} was folded up to {position}")

    def total(self, venue: str, measure: str, runner: int = 0) -> float:
        """The sum of a measure, as order:count, since the race began."""
        sums = dict(self.redis.zrange(VenueKeys(venue).sums("total", measure), 0, -1, withscores=True))
        return sums.get(member(runner).encode(), 0.0)

    def counts(self, venue: str) -> dict[str, int]:
        """What became of the events of a venue."""
        found: dict[str, int] = self.http.get(f"/v1/venues/{venue}").json()["counts"]
        return found


@contextmanager
def running(folder: Path, *, scorer: bool = True, **given: object) -> Iterator[Running]:
    """A deployment that runs, with frames as soon as something has changed."""
    given = {"frame_ms": 10, "keys": "off", "data_dir": folder, **given}
    service = Running(folder, load_settings(**given), scorer=scorer)
    try:
        service.start()
        yield service
    finally:
        service.stop()


@contextmanager
def another_api(service: Running, *, follows: bool) -> Iterator[httpx2.Client]:
    """A client of another API of a deployment, with a memory of its own.

    follows: whether it hears of frames by itself; one that does not lags behind until it is asked for a newer one.
    """
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    api = server_of(service.settings, service.server.url, timeout_graceful_shutdown=1)
    serving = threading.Thread(target=api.run, args=([bound],), name="another api")
    serving.start()
    try:
        until(lambda: api.started, within_s=10, what="the other API had started")
        app: Any = api.config.app
        for task in () if follows else app.state.service.frames._tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)
        with httpx2.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=30) as http:
            yield http
    finally:
        api.should_exit = True
        serving.join()
        bound.close()
