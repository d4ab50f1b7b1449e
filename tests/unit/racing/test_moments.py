"""Moments in words and in ms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.moments import moment_text, parse_moment

NO_MOMENTS = """
now|2025-11-11|2025-11-11T00:00:00|2025-11-11 00:00|1762790400000|2025-11-11T25:00:00Z|2025-02-30T00:00:00Z
|2025-11-11T00:00:00+0800|2025-11-11T00:00:00.0000001Z|2025-11-11T00:00:00 Z|20251111T000000Z
"""


@pytest.mark.parametrize("text", ["", *(text.strip() for text in NO_MOMENTS.split("|"))])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_moment(text)


def test_a_moment_without_an_offset_is_refused_for_that() -> None:
    with pytest.raises(ValueError, match="whose clock"):
        parse_moment("2025-11-11T00:00:00")


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-11-11T00:00:00+08:00", 1_762_790_400_000),
        ("2025-11-10T16:00:00Z", 1_762_790_400_000),
        ("2025-11-10t16:00z", 1_762_790_400_000),
        ("2025-11-11T00:00:00.25+08:00", 1_762_790_400_250),
        ("2025-11-11T00:00:00.250999+08:00", 1_762_790_400_250),
    ],
)
def test_an_offset_says_which_moment_it_is(text: str, at_ms: int) -> None:
    assert parse_moment(text) == at_ms


@given(st.integers(0, 253_402_300_799_999))
def test_a_moment_written_and_read_is_the_same(at_ms: int) -> None:
    assert parse_moment(moment_text(at_ms)) == at_ms
