"""What holds for every address and every body: refusals in one shape, whoever calls."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.integration.contract import EVENT, ID_WORDS, JSON, RULE, RUNNER, problem
from tests.integration.running import Running

BODY_MAX = 1_048_576

READS = ["", "/runners", "/rule", "/slots"]
WRITES = [("POST", "/runners"), ("POST", "/runners/bulk"), ("POST", "/events"), ("PUT", "/rule")]
BODIES = ["/v1/venues", "/v1/venues/{}/runners", "/v1/venues/{}/runners/bulk", "/v1/venues/{}/events"]


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue whose runners and rule no refusal changes."""
    return service.made_venue("p-1", rule=RULE)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("name", ["no-such-hall", "a%7Bb", "%2A", "a%00b", "a:b", "%E8%B5%9B", "x" * 65, "%2e%2e"])
def test_an_unknown_venue_is_not_found(service: Running, path: str, name: str) -> None:
    """Also under names that no venue can have; the text shows the name as it was understood."""
    found = problem(service.http.get(f"/v1/venues/{name}{path}"), 404, "not_found")
    assert found["detail"].startswith("there is no venue '")
    assert found["detail"].endswith("GET /v1/venues lists what there is")


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_an_unknown_venue_takes_nothing(service: Running, method: str, path: str) -> None:
    bodies = {"/runners": RUNNER, "/runners/bulk": {"runners": [RUNNER]}, "/events": {"events": [EVENT]}}
    answer = service.http.request(method, f"/v1/venues/no-such-hall{path}", json=bodies.get(path, RULE))
    assert "'no-such-hall'" in problem(answer, 404, "not_found")["detail"]


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/venues/a/b/c", "/v1/venues/a%2Fb", "/pages/nope.js", "/pages/../app.py"]
)
def test_an_unknown_address_is_not_found(service: Running, path: str) -> None:
    assert "there is nothing at '/" in problem(service.http.get(path), 404, "not_found")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/venues", "GET, POST"),
        ("PATCH", "/v1/venues/{}", "GET, DELETE"),
        ("PUT", "/v1/venues/{}/runners", "GET, POST"),
        ("PUT", "/v1/venues/{}/runners/p-1", "GET, PATCH, DELETE"),
        ("GET", "/v1/venues/{}/events", "POST"),
        ("POST", "/v1/venues/{}/rule", "GET, PUT"),
        ("DELETE", "/v1/venues/{}/slots", "GET, HEAD"),
        ("POST", "/healthz", "GET"),
        ("OPTIONS", "/v1/venues", "GET, POST"),
        ("TRACE", "/metrics", "GET"),
        ("DELETE", "/", "GET"),
    ],
)
def test_another_method_is_told_all_that_there_are(
    service: Running, venue: str, method: str, path: str, allowed: str
) -> None:
    """Allow names every method of the address, not only that of the first route."""
    answer = service.http.request(method, path.format(venue))
    found = problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed
    assert found["detail"] == f"{path.format(venue)} takes {allowed}, not {method}"


def test_an_unknown_problem_is_told_which_there_are(service: Running) -> None:
    found = problem(service.http.get("/problems/nope"), 404, "not_found")
    assert "'nope'" in found["detail"]
    assert "idempotency_mismatch" in found["detail"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type: must be {types}, not 'text/plain'"),
        ({"Content-Type": "application/xml"}, "not 'application/xml'"),
        ({"Content-Type": ""}, "Content-Type: must be {types}"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "Content-Type: must be {types}, not"),
        ({"Content-Encoding": "gzip"}, "Content-Encoding: send the body as it is, not 'gzip'"),
        ({"Content-Encoding": "br, gzip"}, "Content-Encoding: send the body as it is, not 'br, gzip'"),
    ],
)
def test_a_body_of_another_type_is_not_read(
    service: Running, venue: str, path: str, headers: dict[str, str], words: str
) -> None:
    """Compressed bodies are refused: what they unpack to has no bound."""
    others = {"events": " or application/x-ndjson or application/vnd.msgpack", "bulk": " or text/csv"}
    types = "application/json" + others.get(path.rpartition("/")[2], "")
    answer = service.post(path.format(venue), gzip.compress(b"{}"), **headers)
    assert words.format(types=types) in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("media_type", ["", "application/x-www-form-urlencoded"])
def test_a_request_that_needs_no_field_needs_no_body(service: Running, media_type: str) -> None:
    """As `curl -X POST` sends it, or `curl -d ''`; one that has a body must say that it is JSON."""
    venue = service.made_venue("p-1")
    headers = {"Content-Type": media_type} if media_type else {}
    frozen = service.http.put(f"/v1/venues/{venue}/freeze", headers=headers)
    assert frozen.is_success, frozen.text
    path = f"/v1/venues/{venue}/audit/{frozen.json()['entry']}/undo"
    problem(service.http.post(path, content=b"{}", headers=headers), 415, "unsupported_media_type")
    undone = service.http.post(path, headers=headers)
    assert undone.is_success, undone.text
    problem(service.http.put(f"/v1/venues/{venue}/targets", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/vnd.msgpack", "application/x-ndjson"])
@pytest.mark.parametrize("path", [path for path in BODIES if not path.endswith("/events")])
def test_lines_and_columns_are_only_read_where_events_are_sent(
    service: Running, venue: str, path: str, media_type: str
) -> None:
    answer = service.post(path.format(venue), b"\x80", **{"Content-Type": media_type})
    assert f"not {media_type!r}" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "ends too early"),
        (b'{"events": [}', "the body is not JSON"),
        (b'{"a": 1} x', "trailing characters"),
        (b"\xff\xfe", "the body is not JSON"),
        (b'{"a": "\xff"}', "the body is not UTF-8: byte 0xff within a text"),
        (b'{"title": "\\ud800"}', "the body is not JSON"),
        (b'{"a": NaN}', "NaN and Infinity are no numbers in JSON"),
        (b'{"a": -Infinity}', "NaN and Infinity are no numbers in JSON"),
        (b'{"a": 01}', "the body is not JSON"),
        (b'{"events": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_not_json_is_malformed(service: Running, venue: str, path: str, body: bytes, words: str) -> None:
    """Half a surrogate pair counts as well: it could be stored, but not sent out again."""
    assert words in problem(service.post(path.format(venue), body), 400, "malformed")["detail"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("body", [[], None, "text", 5, True])
def test_a_body_of_another_shape_is_invalid(service: Running, venue: str, path: str, body: object) -> None:
    found = problem(service.post(path.format(venue), body), 422, "invalid")
    assert "object" in found["detail"]


@pytest.mark.parametrize("path", [*BODIES, "/v1/venues/{}/rule"])
def test_an_empty_body_is_refused(service: Running, venue: str, path: str) -> None:
    method = "PUT" if path.endswith("rule") else "POST"
    answer = service.http.request(method, path.format(venue), headers=JSON)
    assert answer.status_code in {400, 422}
    problem(answer, answer.status_code, "malformed" if answer.status_code == 400 else "invalid")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("size", [BODY_MAX + 1, 100 * BODY_MAX])
def test_a_body_that_says_it_is_too_large_is_not_waited_for(service: Running, venue: str, path: str, size: int) -> None:
    """The answer to Content-Length needs nothing of the body."""
    address = urlsplit(service.url)
    head = ["Host: x", "Content-Type: application/json", f"Content-Length: {size}"]
    said = "\r\n".join([f"POST {path.format(venue)} HTTP/1.1", *head, "", ""])
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(said.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def _endless(size: int) -> Iterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_grows_too_large_is_not_read_to_its_end(service: Running, venue: str, path: str) -> None:
    """Without Content-Length the bytes are counted as they come."""
    answer = service.http.post(path.format(venue), content=_endless(BODY_MAX + 65_536), headers=JSON)
    assert str(BODY_MAX) in problem(answer, 413, "too_large")["detail"]


def test_the_largest_body_is_read(service: Running, venue: str) -> None:
    body = json.dumps({"events": [EVENT]}).encode()
    assert service.post(f"/v1/venues/{venue}/events", body.ljust(BODY_MAX)).status_code == 202


LIMITS = [
    ("/v1/venues", 200),
    ("/v1/venues/{}/runners", 1000),
    ("/v1/venues/{}/slots", 1000),
]


@pytest.mark.parametrize(("path", "most"), LIMITS)
def test_a_limit_out_of_range_is_invalid(service: Running, venue: str, path: str, most: int) -> None:
    cases = {"0": "at least 1", "-1": "at least 1", str(most + 1): f"at most {most}", "9" * 30: f"at most {most}"}
    cases |= dict.fromkeys(["abc", "1.5", "1e2", "", "NaN", "%00"], "a whole number")
    for limit, words in cases.items():
        found = problem(service.http.get(f"{path.format(venue)}?limit={limit}"), 422, "invalid")
        assert found["detail"].startswith(f"query.limit: must be {words}, not "), found


@pytest.mark.parametrize(
    ("method", "path", "there"),
    [
        ("GET", "/v1/venues/{}/slots?limit=3&segmnt=new", "there are limit, "),
        ("GET", "/v1/venues/{}?limit=3", "there are none here"),
        ("GET", "/v1/merchants/m-1/runners?limt=3", "there are venue, "),
        ("POST", "/v1/venues/{}/events?dry_run=true", "there are none here"),
        ("DELETE", "/v1/venues/{}?force=1&force=2", "there is confirm"),
    ],
)
def test_a_parameter_that_is_not_there_is_refused(
    service: Running, venue: str, method: str, path: str, there: str
) -> None:
    answer = service.http.request(method, path.format(venue), json={"events": [EVENT]} if method == "POST" else None)
    found = problem(answer, 422, "invalid")
    name, _, value = path.rpartition("?")[2].split("&")[-1].partition("=")
    assert found["detail"].startswith(f"query.{name}: no such parameter; {there}"), found
    assert found["errors"][-1]["value"] == f'"{value}"'
    assert service.http.get(f"/v1/venues/{venue}").status_code == 200


@pytest.mark.parametrize(("path", "most"), LIMITS)
def test_the_largest_limit_is_taken(service: Running, venue: str, path: str, most: int) -> None:
    assert service.http.get(f"{path.format(venue)}?limit={most}").status_code == 200


@pytest.mark.parametrize("cursor", ["%7B", "a:b", "%00", "", "x" * 65, "%E8%B5%9B"])
def test_a_cursor_that_no_list_of_venues_gave_is_invalid(service: Running, cursor: str) -> None:
    found = problem(service.http.get(f"/v1/venues?cursor={cursor}"), 422, "invalid")
    assert found["detail"].startswith(f"query.cursor: {ID_WORDS}, not ")


@pytest.mark.parametrize("cursor", ["abc", "-1", "1.5", "", "%7B"])
def test_a_cursor_that_no_list_of_runners_gave_is_invalid(service: Running, venue: str, cursor: str) -> None:
    found = problem(service.http.get(f"/v1/venues/{venue}/runners?cursor={cursor}"), 422, "invalid")
    assert found["detail"].startswith("query.cursor: must be ")
