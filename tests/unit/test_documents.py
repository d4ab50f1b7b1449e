"""What the documents name is there: files, headings, commands, fault exercises."""

from __future__ import annotations

import ast
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer.main

from racing.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "loadtests").rglob("*.md")]
COMMAND_LINE: Any = typer.main.get_command(app)

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def headings(path: Path) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def spelled(pattern: str) -> list[str]:
    """The names that braces stand for, as a shell has it: `a{b,c}` is `ab` and `ac`."""
    parts = [part.split(",") if index % 2 else [part] for index, part in enumerate(re.split(r"[{}]", pattern))]
    return ["".join(chosen) for chosen in product(*parts)]


def test_braces_are_spelled_out() -> None:
    assert spelled("racing/{a,b}.py") == ["racing/a.py", "racing/b.py"]


@each_document
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", path.read_text(encoding="utf-8"))
    for file, _, anchor in (link.partition("#") for link in links):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), file
        assert not anchor or anchor in headings(target), f"{file}#{anchor}"


@each_document
def test_every_file_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"`((?:racing|api|tests|loadtests|docs)/[\w./{},*-]+)`", path.read_text(encoding="utf-8"))
    missing = [name for pattern in named for name in spelled(pattern) if not any(ROOT.glob(name))]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_every_command_of_the_readme_exists(name: str) -> None:
    named = set(re.findall(r"(?:`|/)saima ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
    assert {"demo", "serve", "doctor"} <= named
    assert named - set(COMMAND_LINE.commands) == set()


def test_contributors_are_told_of_every_fault_exercise() -> None:
    main = ast.parse((ROOT / "tests" / "faults" / "__main__.py").read_text(encoding="utf-8"))
    (exercises,) = (ast.literal_eval(node.value) for node in main.body if isinstance(node, ast.Assign))
    told = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Fault exercises")[2].partition("\n## ")[0]
    )
    assert sorted(re.findall(r"^\| `([a-z_]+)` \|", told, re.MULTILINE)) == sorted(exercises)
