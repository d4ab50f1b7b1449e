"""The operations guide speaks of what there is: its commands, its metrics, and a section for each symptom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from racing.cli import app
from racing.metrics import CounterName, GaugeName, HistogramName

GUIDE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
COMMAND_LINE: Any = typer.main.get_command(app)
METRICS = {*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName)}
_SYMPTOMS = GUIDE.partition("## Symptoms")[2].partition("\n## ")[0]
SECTIONS = [section.partition("\n")[::2] for section in _SYMPTOMS.split("\n### ")[1:]]
"""(title, text)"""


def test_every_command_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"(?:`|\$ )saima ([a-z]+)", GUIDE))
    assert {"doctor", "verify", "mend", "scorers"} <= named
    assert named - set(COMMAND_LINE.commands) == set()


def test_every_metric_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"saima_[a-z_]+[a-z](?![a-z_]*…|_…)", GUIDE))
    assert len(named) > 30
    assert named - METRICS == set()


@pytest.mark.parametrize(("title", "text"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_every_symptom_has_a_command_to_run_and_what_it_prints(title: str, text: str) -> None:
    shown = re.search(r"^```text\n((?:.+\n)+?)```$", text, re.MULTILINE)
    assert shown is not None, title
    lines = shown.group(1).splitlines()
    assert re.match(r"\$ (saima|curl|redis-cli) ", lines[0])
    assert not all(line.startswith("$ ") for line in lines)


@pytest.mark.parametrize("word", ["old", "refused", "lag", "Memory", "restarts", "Sets differ", "damaged", "not start"])
def test_there_is_a_section_for(word: str) -> None:
    """The symptoms that operators meet."""
    assert any(word in title for title, _ in SECTIONS)
