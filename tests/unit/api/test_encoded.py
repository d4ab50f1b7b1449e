"""Encoded answers: what their ETags cover, and who takes them compressed."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.encoded import CODINGS, Slots, coding_for, newest_named, parse_place


@pytest.mark.parametrize(
    "says",
    ["", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, br;q=0, *", "x", "gzipped", "é", ",;,"],
)
def test_who_does_not_say_so_is_sent_the_body_as_it_is(says: str) -> None:
    assert coding_for(says) == ""


@pytest.mark.parametrize(
    ("says", "coding"),
    [
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br", "br"),
        ("br;q=0.5, gzip", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("*", "br"),
        ("gzip;q=0, *", "br"),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=", "gzip"),
        ("x-gzip", "gzip"),
        (" gzip ; q=1 ", "gzip"),
    ],
)
def test_who_says_so_is_sent_what_it_likes_best(says: str, coding: str) -> None:
    assert coding_for(says) == coding


@given(st.text(max_size=60))
def test_whatever_is_said_of_encodings_is_understood_somehow(says: str) -> None:
    assert coding_for(says) in {"", *CODINGS}


@pytest.mark.parametrize(
    "name", ["", "-", "1", "1-", "-1", "1--1", "a-1", "1-1-1", "²-1", "١-1", "9" * 21 + "-1", " 1-1"]
)
def test_what_names_no_frame_has_no_place(name: str) -> None:
    assert parse_place(name) is None


def test_a_frame_is_found_in_the_etags_that_name_it() -> None:
    made = Slots.of(b"{}", "1763740800000-48210", stale=False)
    assert newest_named(made.etag) == newest_named(made.packed("br").etag) == (1763740800000, 48210)
    assert newest_named(f'W/"3-1-ab", {made.etag} , "4-9"') == (1763740800000, 48210)
    for other in ("*", '"abc"', "", '"0123456789abcdef"', "W/"):
        assert newest_named(other) is None


@given(st.text(max_size=60))
def test_whatever_is_sent_as_an_etag_is_understood_somehow(text: str) -> None:
    newest_named(text)


def test_an_etag_covers_every_byte_that_is_told() -> None:
    """A frame's number does not say what its products are called, or cost."""
    one, other = (Slots.of(body, "7-1", stale=False) for body in (b'{"price":1}', b'{"price":2}'))
    assert one.etag != other.etag
    assert one.etag == Slots.of(b'{"price":1}', "7-1", stale=True).etag, "the same body is the same answer"


@pytest.mark.parametrize(("coding", "unpacked"), [("gzip", gzip.decompress), ("br", brotli.decompress)])
def test_a_body_is_packed_once_in_each_way(coding: str, unpacked: Callable[[bytes], bytes]) -> None:
    made = Slots.of(b'{"slots":[]}' * 100, "7-1", stale=True)
    packed = made.packed(coding)
    assert packed is made.packed(coding)
    assert unpacked(packed.body) == made.body
    assert packed.etag == f'{made.etag[:-1]}-{coding}"'
    assert packed.headers["saima-stale"] == "true"
    assert f"content-encoding: {coding}\r\n".encode() in packed.length
    assert b"content-encoding" not in made.length + made.head + packed.head
