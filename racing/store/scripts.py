"""The Lua scripts as typed names: one atomic operation per file, loaded from package data."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

Script = Literal["append_events", "enrol_runners", "change_runner", "put_rule", "hold_lease", "drop_lease"]


@cache
def source(name: Script) -> str:
    """The text of ``lua/<name>.lua``; its header says keys, arguments and reply."""
    return files("racing.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
