"""Fields that several requests and answers share, and how OpenAPI tells of headers and examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from racing.documents import wrong
from racing.model import ID_PATTERN


def _addressable(name: str) -> str:
    if name in {".", ".."}:
        raise wrong("must not be . or .., which browsers take out of addresses")
    return name


BULK_MAX = 1000

Id = Annotated[
    str,
    Field(pattern=ID_PATTERN, json_schema_extra={"not": {"enum": [".", ".."]}}),
    AfterValidator(_addressable),
]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Link = Annotated[str, Field(min_length=1, max_length=2048)]
Money = Annotated[int, Field(ge=0, le=10**12, description="minor units, e.g. cents or fen")]


def header(description: str, *, kind: str = "string", required: bool = True) -> dict[str, Any]:
    """A header of an answer, as OpenAPI has it."""
    return {"description": description, "required": required, "schema": {"type": kind}}


def example(document: dict[str, Any]) -> ConfigDict:
    """The configuration of a model with a whole example."""
    return ConfigDict(json_schema_extra={"examples": [document]})
