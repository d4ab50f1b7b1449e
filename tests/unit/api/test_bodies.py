"""Bodies are plain JSON in UTF-8; what is wrong with one is said in words."""

from __future__ import annotations

import msgspec
import pytest
from starlette.datastructures import Headers

from api.bodies import JSON, NOT_JSON, media_type_of, why_not_json
from api.errors import ProblemError


def headers_of(**headers: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty: send JSON"),
        (b"[", "the body is not JSON: a value, or an escape within a text, ends too early"),
        (b'"\\ud800"', "the body is not JSON: a value, or an escape within a text, ends too early"),
        (b"[1, x]", "the body is not JSON: invalid character (byte 4)"),
        (b'{"a": NaN}', "the body is not JSON: invalid character (byte 6); NaN and Infinity are no numbers in JSON"),
        (b"1e999", "the body cannot be read: number out of range"),
        (b"9" * 5000, "the body cannot be read: integer value out of range"),
        (b'"\xff"', "the body is not UTF-8: byte 0xff within a text"),
        (b"[" * 100_000, "the body is nested too deeply"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_why(body: bytes, words: str) -> None:
    with pytest.raises(NOT_JSON) as caught:
        msgspec.json.decode(body)
    assert why_not_json(body, caught.value) == words


@pytest.mark.parametrize(
    ("content_type", "detail"),
    [
        ("", "Content-Type: must be application/json"),
        ("text/plain", "Content-Type: must be application/json, not 'text/plain'"),
        ("application/jsonp", "Content-Type: must be application/json, not 'application/jsonp'"),
        ("x" * 500, f"Content-Type: must be application/json, not '{'x' * 80}'"),
    ],
)
def test_another_content_type_is_refused_by_name(content_type: str, detail: str) -> None:
    with pytest.raises(ProblemError) as caught:
        media_type_of(headers_of(content_type=content_type))
    assert (caught.value.code, caught.value.detail) == ("unsupported_media_type", detail)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
def test_a_compressed_body_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(ProblemError) as caught:
        media_type_of(headers_of(content_type="application/json", content_encoding=encoding))
    assert caught.value.detail == f"Content-Encoding: send the body as it is, not {encoding!r}"


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"]
)
@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_plain_json_is_let_in(content_type: str, encoding: str) -> None:
    assert media_type_of(headers_of(content_type=content_type, content_encoding=encoding)) == JSON


def test_an_address_that_takes_two_types_tells_them_apart_and_names_both() -> None:
    both = (JSON, "application/vnd.msgpack")
    assert media_type_of(headers_of(content_type="Application/VND.msgpack; v=1"), both) == both[1]
    assert media_type_of(headers_of(content_type="application/json"), both) == JSON
    with pytest.raises(ProblemError) as caught:
        media_type_of(headers_of(content_type="text/csv"), both)
    assert caught.value.detail == f"Content-Type: must be {JSON} or {both[1]}, not 'text/csv'"


def test_packed_columns_are_refused_where_only_json_is_read() -> None:
    with pytest.raises(ProblemError) as caught:
        media_type_of(headers_of(content_type="application/vnd.msgpack"))
    assert caught.value.detail == "Content-Type: must be application/json, not 'application/vnd.msgpack'"
