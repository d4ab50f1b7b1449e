"""The Lua scripts as typed names: one atomic operation per file, loaded from package data."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

Script = Literal[
    "append_batch",
    "append_events",
    "change_application",
    "change_runners",
    "change_venue",
    "drop_lease",
    "enrol_runners",
    "hold_lease",
    "index_merchants",
    "list_owned",
    "mend_field",
    "note_decision",
    "put_application",
    "put_orders",
    "put_plan",
    "put_rule",
    "read_neighbours",
    "read_numbers",
    "read_places",
    "read_rungs",
    "read_standings",
    "recall_answer",
    "relog_decisions",
    "relog_orders",
    "swap_runner",
    "watch_runner",
]


@cache
def source(name: Script) -> str:
    """The text of ``lua/<name>.lua``; its header says keys, arguments and reply."""
    return files("racing.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@cache
def bare(text: str) -> str:
    """A script without its comments, for one that is sent with each call."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--"))
