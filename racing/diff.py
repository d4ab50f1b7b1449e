"""What differs between two documents, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """A field that differs, written as in errors: ``terms[2].weight``. None: it is not there."""

    field: str
    before: Any
    after: Any


def differences(before: Any, after: Any) -> list[Difference]:
    """The fields in which two JSON values differ, in the order of the first, then of the second.

    Entries of lists are held against each other by their place.
    """
    return list(_walk("", before, after))


def _walk(place: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            yield from _walk(f"{place}.{name}".removeprefix("."), before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            sides = (side[index] if index < len(side) else None for side in (before, after))
            yield from _walk(f"{place}[{index}]", *sides)
    elif type(before) is not type(after) or before != after:
        yield Difference(place or "document", before, after)
