"""Four kinds of users for locust: event source, shopper, merchant, operator, in the shapes of ``shapes.py``.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 --shape smoke

Every user asks at a constant rate (``constant_throughput``), so load does not fall when the service slows down,
as long as there are users enough; what could not be sent in time is told at the end. The venue is made if it is
missing. The key is that in SAIMA_KEY, else the admin key in the data folder of this machine's service. For costs and
delays on one machine use ``python -m loadtests.bench``: this is for a deployment.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import httpx2
from locust import FastHttpUser, LoadTestShape, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.bodies import Form, Mix, make_bodies, supply_of_bodies
from loadtests.shapes import SHAPES
from loadtests.traffic import Traffic, product_of, rule_document
from racing.admin_key import headers_for
from racing.settings import load_settings

BATCH = 100
RUNNERS = 2_000
ENROL_MAX = 1_000
SEED = 1
_BODIES = 200
_EXISTS = 409
_serials = count()
tasks: Counter[str] = Counter()
late: Counter[str] = Counter()


def options(parser: LocustArgumentParser) -> None:
    """Options of our own beside locust's."""
    parser.add_argument("--shape", default="smoke", choices=sorted(SHAPES), help="load shape: how many users when")
    parser.add_argument("--most-users", type=int, default=200, help="users at the height of the shape")
    parser.add_argument("--venue", default="loadtest", help="venue to load; made if it is missing")


def paced(per_s: float) -> Callable[[Any], float]:
    """locust's constant_throughput, that also counts how often a user came too late for its next task."""
    wait = constant_throughput(per_s)

    def wait_s(user: Any) -> float:
        seconds = float(wait(user))
        tasks[type(user).__name__] += 1
        late[type(user).__name__] += seconds <= 0
        return seconds

    return wait_s


def tell_slip(**_: Any) -> None:
    """Say how often users fell behind their rate: then the load was less than asked for."""
    for kind, done in sorted(tasks.items()):
        print(f"{kind}: {done} tasks, {late[kind] / done:.1%} begun later than due")


def given_to(environment: Environment) -> Any:
    """The options of this run."""
    assert environment.parsed_options is not None
    return environment.parsed_options


class Named(LoadTestShape):
    """The shape that --shape names."""

    def tick(self) -> tuple[int, float] | None:
        """(users, users started a second) now; None at the end."""
        assert self.runner is not None
        given = given_to(self.runner.environment)
        shape = SHAPES[given.shape]
        users = shape.users(time.perf_counter() - self.start_time, given.most_users)
        return None if users is None else (users, shape.spawn_per_s)


def key_of(environment: Environment) -> dict[str, str]:
    """The headers that carry the key; none where there is none."""
    return headers_for(environment.host or "", load_settings().data_dir)


class _User(FastHttpUser):
    abstract = True
    sends_key = True

    def __init__(self, environment: Environment) -> None:
        self.default_headers = key_of(environment) if self.sends_key else None
        super().__init__(environment)

    def on_start(self) -> None:
        """Where to ask, and a seeded choice of what."""
        self.path = f"/v1/venues/{given_to(self.environment).venue}"
        self.random = random.Random(f"{SEED}-{type(self).__name__}-{next(_serials)}")


class EventSource(_User):
    """A shop's event collector: ten batches of 100 events a second, most of them clicks and impressions."""

    weight = 2
    wait_time = paced(10)
    form: ClassVar[Form] = "json"

    def on_start(self) -> None:
        """Encode what it will send."""
        super().on_start()
        mix = Mix(users=True, times=True, id_share=0.05, tag=f"{self.random.getrandbits(32):08x}")
        bodies = make_bodies(Traffic(RUNNERS, seed=SEED), self.form, batch=BATCH, bodies=_BODIES, mix=mix)
        self.bodies = supply_of_bodies(bodies, lambda: time.time_ns() // 1_000_000)

    @task
    def send(self) -> None:
        """One batch, under its own Idempotency-Key."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{self.random.getrandbits(64):016x}"}
        with self.client.post(
            f"{self.path}/events",
            data=next(self.bodies).decode(),
            headers=headers,
            name="POST events",
            catch_response=True,
        ) as response:
            if response.status_code != 202 or response.json()["refused"]:
                response.failure(f"{response.status_code}: {(response.text or '')[:200]}")


class Shopper(_User):
    """A front end: looks at the slots every second, as a CDN would that has cached them for one."""

    weight = 7
    wait_time = paced(1)
    sends_key = False

    def on_start(self) -> None:
        """No frame known yet."""
        super().on_start()
        self.etag = ""

    @task
    def look(self) -> None:
        """The board, unless it is still the one that is known."""
        headers = {"If-None-Match": self.etag} if self.etag else {}
        with self.client.get(f"{self.path}/slots", headers=headers, name="GET slots", catch_response=True) as response:
            if response.status_code not in {200, 304}:
                response.failure(f"{response.status_code}")
            elif response.headers.get("Saima-Stale"):
                response.failure("stale")
            else:
                response.success()
            self.etag = response.headers.get("ETag") or self.etag


class Merchant(_User):
    """A merchant's console: a page of runners every five seconds."""

    weight = 2
    wait_time = paced(0.2)

    @task
    def runners(self) -> None:
        """A page somewhere in the list."""
        cursor = self.random.randrange(RUNNERS)
        self.client.get(f"{self.path}/runners?limit=50&cursor={cursor}", name="GET runners")


class Operator(_User):
    """An operator's console: reads the rule, changes a weight now and then, watches the venue."""

    weight = 1
    wait_time = paced(0.5)

    @task(8)
    def watch(self) -> None:
        """The venue and what became of its events."""
        self.client.get(self.path, name="GET venue")

    @task(2)
    def reprice(self) -> None:
        """One product's data anew."""
        runner = {
            "product": product_of(self.random.randrange(RUNNERS)),
            "merchant": "m-1",
            "title": f"Product {self.random.randrange(100)}",
        }
        self.client.post(f"{self.path}/runners", json=runner, name="POST runners")

    @task(1)
    def tune(self) -> None:
        """A weight up or down; another operator may have come first (412)."""
        read = self.client.get(f"{self.path}/rule", name="GET rule")
        rule = rule_document()
        rule["terms"][0]["weight"] = round(self.random.uniform(0.5, 1.5), 2)
        headers = {"If-Match": read.headers["ETag"] if read.headers else "*"}
        with self.client.put(
            f"{self.path}/rule", json=rule, headers=headers, name="PUT rule", catch_response=True
        ) as response:
            if response.status_code in {200, 202, 412}:
                response.success()


def open_venue(environment: Environment, **_: Any) -> None:
    """Make the venue and enrol its runners, where they are missing."""
    if isinstance(environment.runner, WorkerRunner):
        return
    venue = given_to(environment).venue
    with httpx2.Client(base_url=environment.host or "", timeout=30, headers=key_of(environment)) as client:
        made = client.post("/v1/venues", json={"venue": venue, "rule": rule_document()})
        if made.status_code != _EXISTS:
            made.raise_for_status()
        for start in range(0, RUNNERS, ENROL_MAX):
            numbers = range(start, min(RUNNERS, start + ENROL_MAX))
            runners = [{"product": product_of(n), "merchant": f"m-{n % 50}", "title": f"Product {n}"} for n in numbers]
            client.post(f"/v1/venues/{venue}/runners/bulk", json={"runners": runners}).raise_for_status()


events.init_command_line_parser.add_listener(options)  # type: ignore[no-untyped-call]  # locust's own
events.test_start.add_listener(open_venue)  # type: ignore[no-untyped-call]
events.test_stop.add_listener(tell_slip)  # type: ignore[no-untyped-call]
