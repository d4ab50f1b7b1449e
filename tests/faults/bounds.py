"""Results whose figures carry their own bounds: each is stated once, where the figure is declared."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self


def at_most(bound: float, start: float = 0) -> Any:
    """A figure, or a list of troubles by its length, that breaks its bound above this."""
    return field(default=start, metadata={"most": bound})


def at_least(bound: float, start: float = 0) -> Any:
    """A figure that breaks its bound below this; also one by its length, as of what was answered how."""
    return field(default=start, metadata={"least": bound})


EMPTY = {"most": 0}
"""Metadata of a list that must stay empty."""


@dataclass
class Bounded:
    """A dataclass of figures. It holds if none breaks its bound.

    Names say how those of two runs are taken together: the larger of what ends with _max, the smaller of _min, the sum
    of the others; what is true must be so of both.
    """

    @property
    def broken(self) -> dict[str, str]:
        """The figures that break their bounds, and how."""
        found = {}
        for each in fields(self):
            held = getattr(self, each.name)
            value = len(held) if isinstance(held, Sized) else held
            if value > each.metadata.get("most", value):
                found[each.name] = f"{held} is above {each.metadata['most']}"
            if value < each.metadata.get("least", value):
                found[each.name] = f"{held} is below {each.metadata['least']}"
        return found

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return not self.broken

    @classmethod
    def of_all(cls, parts: Sequence[Self]) -> Self:
        """The figures of several, one at least, as those of one."""
        whole = replace(parts[0])
        for part in parts[1:]:
            for name in (each.name for each in fields(cls)):
                setattr(whole, name, _together(name, getattr(whole, name), getattr(part, name)))
        return whole


def _together(name: str, one: Any, other: Any) -> Any:
    if name.endswith("_max"):
        return max(one, other)
    if name.endswith("_min"):
        return min(one, other)
    if isinstance(one, bool):
        return one and other
    if isinstance(one, dict):
        return {key: one.get(key, 0) + other.get(key, 0) for key in one | other}
    return one + other
