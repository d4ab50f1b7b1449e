"""A head is known again by its bytes, whatever the length of its body."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.heads import HEADS_MAX, REMEMBERED_MAX_BYTES, Heads, head_of

POST = b"POST /v1/venues/v/events HTTP/1.1\r\n"


def request(length: bytes, *lines: bytes, name: bytes = b"Content-Length") -> bytes:
    return POST + b"".join(b"%b\r\n" % line for line in (*lines, name + b": " + length)) + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST / HTTP/1.1\r\nContent-Length: 5",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        request(b"-5"),
        request(b"+5"),
        request(b"5 "),
        request(b" 5"),
        request(b""),
        request("٥".encode()),
        request(b"5" * 11),
        request(b"5", name=b"CONTENT-LENGTH"),
        request(b"5", name=b"X-Content-Length"),
    ],
)
def test_a_message_without_a_plain_length_is_left_to_the_parser(data: bytes) -> None:
    assert head_of(data) is None


def test_heads_that_differ_in_the_length_alone_have_one_shape() -> None:
    first, second = head_of(request(b"5", b"Host: x") + b"12345"), head_of(request(b"1234567", b"Host: x"))
    assert first is not None
    assert second is not None
    assert first.shape == second.shape
    assert (first.length, second.length) == (5, 1_234_567)
    assert first.size == len(request(b"5", b"Host: x"))


def test_a_longer_number_elsewhere_is_another_shape() -> None:
    one, other = head_of(request(b"5", b"x-n: 1")), head_of(request(b"5", b"x-n: 11"))
    assert one is not None
    assert other is not None
    assert one.shape != other.shape


class Parsed:
    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


_TOKENS = st.sampled_from([b"host", b"x-a", b"Content-Type", b"x-content-length", b"Content-Lengths"])
_VALUES = st.sampled_from([b"5", b"a", b"Content-Length: 7", b"content-length: 7 ", b""])


@given(st.lists(st.tuples(_TOKENS, _VALUES), max_size=4), st.integers(0, 4), st.integers(0, 10**9), st.booleans())
def test_the_same_shape_is_parsed_alike_but_for_the_length(
    pairs: list[tuple[bytes, bytes]], place: int, length: int, lower: bool
) -> None:
    name = b"content-length" if lower else b"Content-Length"
    lines = [b"%b: %b" % pair for pair in pairs]

    def of(number: int) -> bytes:
        told = b"%b: %d" % (name, number)
        return POST + b"".join(b"%b\r\n" % line for line in [*lines[:place], told, *lines[place:]]) + b"\r\n"

    head, other = head_of(of(length)), head_of(of(3))
    assert head is not None
    assert other is not None
    assert head.shape == other.shape
    assert head.length == length
    parsed, again = Parsed(of(length)), Parsed(of(3))
    assert dict(parsed.headers)[b"content-length"] == b"%d" % length
    assert [pair for pair in parsed.headers if pair[0] != b"content-length"] == [
        pair for pair in again.headers if pair[0] != b"content-length"
    ]


def test_few_and_short_heads_are_remembered() -> None:
    heads: Heads[int] = Heads()
    for number in range(HEADS_MAX + 100):
        heads.remember(request(b"5", b"x-n: %d" % number), 2, number)
        heads.remember(request(b"5", b"x-n: " + b"n" * REMEMBERED_MAX_BYTES), 2, number)
    assert HEADS_MAX <= len(heads) <= 2 * HEADS_MAX
    newest = head_of(request(b"77", b"x-n: %d" % (HEADS_MAX + 99)))
    assert newest is not None
    assert heads.get(newest) == HEADS_MAX + 99


def test_a_head_that_is_asked_for_again_and_again_is_never_put_out() -> None:
    heads: Heads[int] = Heads()
    often = request(b"5", b"x-n: often")
    heads.remember(often, 2, -1)
    known = head_of(often)
    assert known is not None
    for number in range(4 * HEADS_MAX):
        heads.remember(request(b"5", b"x-n: %d" % number), 2, number)
        if number % (HEADS_MAX - 1) == 0:
            assert heads.get(known) == -1
    assert len(heads) <= 2 * HEADS_MAX


def test_bytes_with_more_lines_than_headers_are_not_remembered() -> None:
    heads: Heads[int] = Heads()
    heads.remember(request(b"5", b"x-a: 1", b" folded"), 2, 1)
    heads.remember(b"\r\n" + request(b"5", b"x-a: 1"), 2, 1)
    heads.remember(b"PUT" + request(b"5")[4:], 1, 1)
    assert len(heads) == 0
