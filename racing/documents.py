"""Documents that people write: strict models, and what is wrong with one, in words.

A wrong field is told as three things: its place, what would be right, and the value that came.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from racing.model import ID_PATTERN

Wrong = tuple[str, str, str | None]
"""(field, what would be right, the value that came as text; None where nothing came, or the value says nothing)"""

ID_WORDS = "must be 1 to 64 characters out of A-Z a-z 0-9 . _ -"
_PATTERN_WORDS = {ID_PATTERN: ID_WORDS}


def worded(regex: str, words: str) -> str:
    """A pattern for a field, and what it asks for in words: a refusal tells these."""
    _PATTERN_WORDS[regex] = words
    return regex


NAME_PATTERN = worded(r"^[a-z][a-z0-9_]{0,31}$", "must be 1 to 32 characters out of a-z 0-9 _, the first a letter")
"""Names within a rule: metrics and event kinds."""

_WORDS = {
    "missing": "is required",
    "string_type": "must be a text",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "greater_than": "must be more than {gt:.15g}",
    "greater_than_equal": "must be at least {ge:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
"""pydantic's error type -> what would be right; for other types its own message."""
_VALUE_MAX = 80
_PLACE_MAX = 120
_TOLD_MAX = 3
_TAGS = {"metric", "ratio", "attribute"}
_ORDERS = {"pin", "boost", "exclude", "freeze", "emergency", "phase"}
"""Tags too, and of a whole document: no field of one that has fields of its own is called so."""


class Strict(BaseModel):
    """A model that refuses unknown fields, and names those that there are; values are not bent into shape."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                raise wrong("no such field; there are {known}", at=(name,), known=", ".join(cls.model_fields))
        return given


def wrong(expected: str, *, at: Sequence[str | int] = (), **values: object) -> PydanticCustomError:
    """An error for a validator to raise; at leads from the model to the field that is meant."""
    return PydanticCustomError("wrong", expected, {**values, "at": list(at)})


def wrong_field(error: Any) -> Wrong:
    """One of pydantic's error details."""
    kind, context = error["type"], error.get("ctx", {})
    expected = str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        expected = _PATTERN_WORDS.get(context["pattern"], f"must match {context['pattern']}")
    elif kind in _WORDS:
        expected = _WORDS[kind].format(**context)
    tells_nothing = kind == "missing" or (kind == "wrong" and isinstance(error["input"], (dict, BaseModel)))
    return (
        field_path(error["loc"], at=context.get("at", ())),
        expected,
        None if tells_nothing else shown(error["input"]),
    )


def in_words(fields: Sequence[Wrong]) -> str:
    """The wrong fields as one text; of many the first three."""
    told = [f"{field}: {right}" + ("" if value is None else f", not {value}") for field, right, value in fields]
    more = [f"and {len(told) - _TOLD_MAX} more"] if len(told) > _TOLD_MAX else []
    return "; ".join([*told[:_TOLD_MAX], *more])


def shown(value: object) -> str:
    """A value as JSON of at most 80 characters; of an object or a list only what it is."""
    if isinstance(value, (dict, BaseModel)):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    cut = value[: _VALUE_MAX + 1] if isinstance(value, str) else value
    text = json.dumps(cut, ensure_ascii=False, default=str).encode(errors="replace").decode()
    return text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}…"


def _is_tag(loc: Sequence[int | str], index: int) -> bool:
    """Whether a part of a place is the tag of a union, written by nobody: it follows an index, or comes first."""
    part = loc[index]
    if index == 0:
        return part in _ORDERS and len(loc) > 1
    return isinstance(loc[index - 1], int) and (part in _TAGS or part in _ORDERS)


def field_path(loc: Sequence[int | str], *, at: Sequence[int | str] = ()) -> str:
    """A field's place as written in code, ``terms[2].weight``; loc is pydantic's, at leads on from there."""
    parts = [part for index, part in enumerate(loc) if part != "[key]" and not _is_tag(loc, index)]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in (*parts, *at)).removeprefix(".")
    text = path.encode(errors="replace").decode()
    return (text if len(text) <= _PLACE_MAX else f"{text[:_PLACE_MAX]}…") or "document"
