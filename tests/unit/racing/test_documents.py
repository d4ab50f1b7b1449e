"""What is wrong with a document is told as place, what would be right, and the value that came."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pytest
from pydantic import Field, ValidationError, model_validator

from racing.documents import Strict, Wrong, field_path, in_words, shown, wrong, wrong_field


class Part(Strict):
    size: Annotated[int, Field(ge=1, le=10)] = 1


class Whole(Strict):
    name: Annotated[str, Field(pattern="^[a-z]+$")]
    part: Part = Part()
    parts: list[Part] = Field(default=[])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.parts) == 2:
            raise wrong("{count} parts never fit", at=("parts", 1, "size"), count=len(self.parts))
        return self


def wrongs(document: object) -> list[Wrong]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(document)
    return [wrong_field(error) for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, ("name", "is required", None)),
        ({"name": 5}, ("name", "must be a text", "5")),
        ({"name": "A"}, ("name", "must match ^[a-z]+$", '"A"')),
        ({"name": "a", "part": {"size": 0}}, ("part.size", "must be at least 1", "0")),
        ({"name": "a", "parts": [{}, {}, {"size": 11}]}, ("parts[2].size", "must be at most 10", "11")),
        ({"name": "a", "parts": [5]}, ("parts[0]", "must be an object", "5")),
        ({"name": "a", "part": {"sise": 3}}, ("part.sise", "no such field; there are size", None)),
        ({"name": "a", "parts": [{}, {}]}, ("parts[1].size", "2 parts never fit", None)),
        ("text", ("document", "must be an object", '"text"')),
    ],
)
def test_a_wrong_field_is_told_by_place_and_what_would_be_right_and_value(document: object, expected: Wrong) -> None:
    assert wrongs(document) == [expected]


def test_a_document_is_not_bent_into_shape_and_not_changed() -> None:
    assert Whole.model_validate({"name": "a", "parts": [{"size": 3}]}).parts[0].size == 3
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Whole(name="a"), "name", "b")  # noqa: B010  # so that mypy, which knows it, lets it be tried


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (5.0, "5.0"),
        (float("nan"), "NaN"),
        ("5", '"5"'),
        ("a\0\n", '"a\\u0000\\n"'),
        ("赛马", '"赛马"'),
        ("\ud800", '"?"'),
        ("x" * 10**6, f'"{"x" * 79}…'),
        (10**100, f"1{'0' * 79}…"),
        ({"a": 1}, "an object"),
        (Part(), "an object"),
        ([1, 2], "a list of 2"),
        (b"12", "2 bytes"),
    ],
)
def test_a_value_is_shown_as_json_and_never_long(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("loc", "at", "path"),
    [
        ((), (), "document"),
        (("a", "b"), (), "a.b"),
        (("terms", 2, "metric", "weight"), (), "terms[2].weight"),
        (("terms", 2, "metric", "metric"), (), "terms[2].metric"),
        (("terms",), (2, "metric"), "terms[2].metric"),
        (("metric", "sum"), (), "metric.sum"),
        (("metrics", "A b", "[key]"), (), "metrics.A b"),
        ((0, "a"), (), "[0].a"),
        (("\ud800",), (), "?"),
        (("x" * 500,), (), "x" * 120 + "…"),
    ],
)
def test_a_place_is_written_as_in_code(loc: tuple[Any, ...], at: tuple[Any, ...], path: str) -> None:
    """The tag of a union, which pydantic puts after an index, is nobody's word."""
    assert field_path(loc, at=at) == path


def test_of_many_wrong_fields_the_first_three_are_told_and_the_others_counted() -> None:
    fields: list[Wrong] = [(f"f{n}", "is required", None) for n in range(5)]
    assert in_words(fields) == "f0: is required; f1: is required; f2: is required; and 2 more"
    assert in_words(fields[:3]) == "f0: is required; f1: is required; f2: is required"
    assert in_words([("a", "must be at least 1", "0")]) == "a: must be at least 1, not 0"
