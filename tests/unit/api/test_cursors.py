"""Cursors: what is no cursor, and that one says what it was made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import Cursor, read_cursor

CURSOR = Cursor("hall-1", 1_763_740_800_000, 48_210, 50, category="音频", fields=("title", "price"))


@pytest.mark.parametrize("text", ["", "x", "====", "é", "A" * 4000, "AAAAAAAA", " ", "../..", "a\0"])
def test_what_no_answer_has_given_is_no_cursor(text: str) -> None:
    assert read_cursor(text) is None


@given(st.integers(0, len(CURSOR.text()) - 1), st.sampled_from("Aa0_-Z"))
def test_a_garbled_cursor_is_no_cursor(index: int, letter: str) -> None:
    text = CURSOR.text()
    garbled = text[:index] + letter + text[index + 1 :]
    assert read_cursor(garbled) in ({CURSOR} if garbled == text else {None, CURSOR})  # spare bits say nothing
    assert read_cursor(text[:index]) is None


@given(
    st.builds(
        Cursor,
        st.text(max_size=64),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.integers(0, 1000),
        st.none() | st.text(max_size=200),
        st.none() | st.text(max_size=200),
        st.lists(st.text(max_size=20), max_size=20).map(tuple),
    )
)
def test_a_cursor_says_what_it_was_made_of(cursor: Cursor) -> None:
    text = cursor.text()
    assert read_cursor(text) == (cursor if len(text) <= 3072 else None)
    assert text.isascii()
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
