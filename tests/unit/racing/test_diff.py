"""What differs between two documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.diff import Difference, differences

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1.5}, [Difference("a", 1, 1.5)]),
        ({"a": 1}, {"a": True}, [Difference("a", 1, True)]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [Difference("a.b[1].c", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [Difference("a[1]", None, 2)]),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, [Difference("a", 1, None), Difference("c", None, 3)]),
        ([], {}, [Difference("document", [], {})]),
    ],
)
def test_fields_that_differ_are_named_with_both_values(before: Any, after: Any, found: list[Difference]) -> None:
    assert differences(before, after) == found


@given(VALUES)
def test_a_document_differs_in_nothing_from_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(VALUES, VALUES)
def test_the_other_way_round_the_same_fields_differ(one: Any, other: Any) -> None:
    there = {(each.field, repr(each.before), repr(each.after)) for each in differences(one, other)}
    assert there == {(each.field, repr(each.after), repr(each.before)) for each in differences(other, one)}
