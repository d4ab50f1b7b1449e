"""What a head asks depends on the head alone; what is not plain goes on to the plain routes."""

from __future__ import annotations

import pytest

from api.asked import BODY_OF_READ, Batch, Headers, Read, asked_of

JSON: Headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]


def asked(
    method: bytes, path: bytes, headers: Headers | None = None, *, odd: frozenset[bytes] = frozenset()
) -> Read | Batch | None:
    return asked_of(method, b"/v1/venues/" + path, headers or [], odd=BODY_OF_READ | odd, body_max_bytes=100)


@pytest.mark.parametrize(
    "path",
    [
        b"h/slots?",
        b"h/slots?limit=0",
        b"h/slots?limit=1001",
        b"h/slots?limit=00001",
        b"h/slots?limit=+5",
        b"h/slots?limit=5&limit=6",
        b"h/slots?cursor=x",
        b"h/slots/",
        b"h/slots/x",
        b"h/rule",
        b"\xff/slots",
    ],
)
def test_a_read_of_anything_but_so_many_first_slots_goes_on(path: bytes) -> None:
    assert asked(b"GET", path) is None


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"get"])
def test_another_method_goes_on(method: bytes) -> None:
    assert asked(method, b"h/slots") is None


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"origin"])
def test_a_read_with_an_odd_header_goes_on(name: bytes) -> None:
    assert asked(b"GET", b"h/slots", [(name, b"1")], odd=frozenset({b"origin"})) is None


@pytest.mark.parametrize("name", [b"if-none-match", b"accept-encoding", b"authorization"])
def test_a_header_that_comes_twice_goes_on(name: bytes) -> None:
    assert asked(b"GET", b"h/slots", [(name, b'"x"'), (name, b'"x"')], odd=frozenset({b"authorization"})) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-length", b"10")],
        [(b"content-type", b"text/csv"), (b"content-length", b"10")],
        [(b"content-type", b"application/json"), (b"content-length", b"101")],
        [(b"content-type", b"application/json"), (b"content-length", b"-1")],
        [*JSON, (b"content-length", b"10")],
        [*JSON, (b"content-encoding", b"gzip")],
        [*JSON, (b"transfer-encoding", b"chunked")],
    ],
)
def test_a_batch_of_another_type_or_size_goes_on(headers: Headers) -> None:
    assert asked(b"POST", b"h/events", headers) is None


def test_a_page_of_another_site_sends_by_the_plain_route_where_origins_are_told() -> None:
    headers = [*JSON, (b"origin", b"https://shop.example")]
    assert isinstance(asked(b"POST", b"h/events", headers), Batch)
    assert asked(b"POST", b"h/events", headers, odd=frozenset({b"origin"})) is None


def test_a_read_asks_for_fifty_slots_or_as_many_as_it_says() -> None:
    assert asked(b"GET", b"h/slots") == Read("h", 50, None, None)
    assert asked(b"GET", b"h/slots?limit=1000&tokens=true") == Read("h", 1000, None, None, tokens=True)


def test_a_read_names_what_it_has_its_key_and_how_it_takes_a_body() -> None:
    headers = [(b"if-none-match", b'"7-9-abc"'), (b"authorization", b"Bearer k"), (b"accept-encoding", b"gzip")]
    found = asked(b"GET", b"h/slots", headers, odd=frozenset({b"authorization"}))
    assert found == Read("h", 50, '"7-9-abc"', b"Bearer k", (7, 9), coding="gzip")


def test_a_batch_asks_by_its_type_and_its_keys() -> None:
    headers = [*JSON, (b"idempotency-key", b"k-1"), (b"authorization", b"Bearer k")]
    assert asked(b"POST", b"h/events", headers) == Batch("h", "application/json", "k-1", b"Bearer k")


def test_all_but_a_batch_with_a_key_of_its_own_may_be_asked_again() -> None:
    found = (asked(b"GET", b"h/slots"), asked(b"POST", b"h/events", JSON))
    keyed = asked(b"POST", b"h/events", [*JSON, (b"idempotency-key", b"k-1")])
    assert [each is not None and each.again for each in (*found, keyed)] == [True, True, False]
