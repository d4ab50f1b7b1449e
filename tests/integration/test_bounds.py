"""Every bound on a request holds: at it, one beyond it, and a hundred times it; and hostile names go nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import psutil
import pytest

from api.fastpath import HEAD_MAX_BYTES
from tests.integration.bounds import BOUNDS, EVENT_BOUNDS, SETTINGS, Bound, Sent
from tests.integration.contract import HOSTILE_IDS
from tests.integration.keyed import OPEN, OWN, Keyed, keyed


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A deployment with low bounds on bodies and batches."""
    with keyed(tmp_path_factory.mktemp("bounded"), **SETTINGS) as made:
        yield made


def answered(service: Keyed, sent: Sent) -> httpx2.Response:
    headers = {**service.headers("admin"), **dict(sent.headers)}
    return service.service.http.request(sent.method, sent.path, content=sent.body, headers=headers)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
@pytest.mark.parametrize("times", ["n", "n + 1", "100 n"])
def test_a_bound_holds(bounded: Keyed, bound: Bound, times: str) -> None:
    """What is beyond it is refused as a problem, and the process goes on."""
    size = {"n": bound.n, "n + 1": bound.n + 1, "100 n": 100 * bound.n}[times]
    answer = answered(bounded, bound.request(size))
    assert answer.status_code in bound.expected(size), answer.text[:300]
    if not answer.is_success:
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) < 2_000  # what was sent is not sent back
    assert bounded.service.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(("name", "n", "request_of"), EVENT_BOUNDS, ids=[name for name, _, _ in EVENT_BOUNDS])
def test_an_event_beyond_a_bound_is_refused_alone(
    bounded: Keyed, name: str, n: int, request_of: Callable[[int], Sent]
) -> None:
    for size in (n, n + 1, 100 * n):
        answer = answered(bounded, request_of(size))
        assert answer.status_code == 202
        assert len(answer.json()["refused"]) == (size > n)


def test_a_hundred_large_bodies_leave_no_memory_behind(bounded: Keyed) -> None:
    """Refused by what they announce, unread."""
    body = b"x" * (100 * SETTINGS["body_max_bytes"])
    process = psutil.Process()
    answered(bounded, Sent("POST", f"/v1/venues/{OPEN}/events", body))
    before = process.memory_info().rss
    for _ in range(30):
        assert answered(bounded, Sent("POST", f"/v1/venues/{OPEN}/events", body)).status_code == 413
    assert process.memory_info().rss - before < 20 * 2**20


def test_bodies_without_a_length_are_cut_off_at_the_bound(bounded: Keyed) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * (SETTINGS["body_max_bytes"] // 10)

    headers = {**bounded.headers("admin"), "Content-Type": "application/json"}
    answer = bounded.service.http.post(f"/v1/venues/{OPEN}/events", content=parts(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("depth", [1, 2, 100, 5_000])
def test_deep_nesting_is_refused_before_it_costs_anything(bounded: Keyed, depth: int) -> None:
    body = b'{"beacon_kinds":' + b"[" * (depth + 1) + b"]" * (depth + 1) + b"}"
    answer = answered(bounded, Sent("PUT", f"/v1/venues/{OPEN}/access", body))
    assert answer.status_code in {400, 422}


def test_a_compressed_body_is_not_opened(bounded: Keyed) -> None:
    headers = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    answer = answered(bounded, Sent("POST", f"/v1/venues/{OPEN}/events", b"\x1f\x8b", headers))
    assert answer.status_code == 415


@pytest.mark.parametrize("name", [name for name in HOSTILE_IDS if name])
@pytest.mark.parametrize("caller", ["anonymous", "operator", "admin"])
def test_a_hostile_name_is_absent_for_everyone(bounded: Keyed, name: str, caller: str) -> None:
    """Of a venue and of a product, in every route that takes one; nothing new is in the store after."""
    redis: Any = bounded.service.redis
    before = set(redis.scan_iter(count=1000))
    told = {"anonymous": {404, 401}}.get(caller, {404})
    segment = quote(name, safe="")
    for path in (f"/v1/venues/{segment}", f"/v1/venues/{segment}/slots", f"/v1/venues/{segment}/rule"):
        assert bounded.ask(caller, "GET", path).status_code in told
    assert bounded.ask(caller, "GET", f"/v1/venues/{OPEN}/runners/{segment}").status_code in told
    assert bounded.ask(caller, "PATCH", f"/v1/venues/{OPEN}/runners/{segment}", {"stock": 1}).status_code in told
    goes_on = [b"saima:{saima}:api_keys", b"saima:{saima}:scorers"]  # so do the scorers with the venues that there are
    goes_on += [b"saima:{%b}:" % venue for venue in redis.hkeys("saima:{saima}:venues")]
    made = set(redis.scan_iter(count=1000)) - before
    assert {key for key in made if not key.startswith(tuple(goes_on))} == set()


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_a_hostile_name_in_a_body_is_refused(bounded: Keyed, name: str) -> None:
    assert bounded.ask("admin", "POST", "/v1/venues", {"venue": name}).status_code == 422
    runner = {"product": name, "merchant": "m", "title": "t"}
    assert bounded.ask("admin", "POST", f"/v1/venues/{OPEN}/runners", runner).status_code == 422


def test_a_head_beyond_the_bound_ends_the_connection(bounded: Keyed) -> None:
    """On a real socket, also on an address that the plain routes answer."""
    for path in (f"/v1/venues/{OPEN}/slots", "/v1/venues"):
        with httpx2.Client(base_url=bounded.service.url) as http:
            answer = http.get(path, headers={"X-Long": "v" * HEAD_MAX_BYTES})
            assert answer.status_code == 431
            assert answer.headers["connection"] == "close"
            assert http.get(path).status_code == 200


# -- personal data --------------------------------------------------------------------------------------------

USER = "shopper-4711@example.com"


def test_a_user_id_is_stored_only_as_a_keyed_hash(bounded: Keyed) -> None:
    """No key, value or log entry holds it, whichever form the batch came in, taken or refused."""
    batches = [
        {"events": [{"type": "click", "product": OWN, "user": USER}]},
        {"events": [{"type": "click", "product": OWN, "user": USER}, {"type": "nope", "product": OWN, "user": USER}]},
    ]
    for batch in batches:
        key = {"Idempotency-Key": f"u-{len(batch['events'])}"}
        answer = bounded.ask("events", "POST", f"/v1/venues/{OPEN}/events", batch, **key)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        assert USER not in answer.text
    redis: Any = bounded.service.redis
    names = list(redis.scan_iter(count=1000))
    assert len(names) > 10
    for name in names:
        held = redis.dump(name) or b""
        assert USER.encode() not in held, name


WRONG_USERS = (
    {"user": [USER]},
    {"user": {"id": USER}},
    {"user": USER * 20},
    {"users": USER},
    {"user": USER, "slot": 0},
    {"user": USER, "type": "nope"},
    {"user": USER, "product": "nope"},
)


@pytest.mark.parametrize("fields", WRONG_USERS, ids=str)
def test_errors_and_logs_carry_no_user_id(
    bounded: Keyed, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, fields: Any
) -> None:
    """Also where the id itself is what is wrong."""
    caplog.set_level("DEBUG")
    batch = {"events": [{"type": "click", "product": OWN, **fields}, [USER], USER]}
    answer = bounded.ask("events", "POST", f"/v1/venues/{OPEN}/events", batch)
    assert len(answer.json()["refused"]) == 3
    body, json_type = f'{{"events":[{{"user":"{USER}"'.encode(), {"Content-Type": "application/json"}
    malformed = bounded.ask("events", "POST", f"/v1/venues/{OPEN}/events", body, **json_type)
    assert malformed.status_code == 400
    said = capfd.readouterr()
    for text in (answer.text, malformed.text, said.out, said.err, caplog.text):
        assert USER not in text
        assert "shopper" not in text
