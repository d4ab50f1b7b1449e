"""What the service reaches out to: nothing. It fetches no address that anyone gives it, so nobody can make it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FETCHERS = {"aiohttp", "ftplib", "http", "httpcore2", "httpx", "httpx2", "requests", "smtplib", "urllib3", "websockets"}
CLIENTS = {"replay.py", "resending.py", "demo_traffic.py", "cli_files.py", "cli_service.py"}
"""Commands that send to a service: they run beside it, never in it."""
CLIENT = ROOT / "api" / "client"
"""For those who use a service: its own modules import nothing of it."""
PURGE = ROOT / "api" / "purge.py"
"""Asks one address, SAIMA_PURGE_URL, which no caller can choose."""
SOURCES = [
    *(path for path in (ROOT / "api").rglob("*.py") if CLIENT not in path.parents and path != PURGE),
    *(path for path in (ROOT / "racing").rglob("*.py") if path.name not in CLIENTS),
]


def imported(path: Path) -> set[str]:
    """Top names of all modules that a file imports, wherever in it; of urllib also the part."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name if name.startswith("urllib") else name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_part_of_the_service_fetches_anything(path: Path) -> None:
    """Images and product pages are addresses that are passed on, never asked for."""
    assert imported(path).isdisjoint(FETCHERS | {"urllib.request"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_part_of_the_service_uses_the_client(path: Path) -> None:
    assert "api.client" not in path.read_text(encoding="utf-8")


def test_the_look_finds_a_fetcher() -> None:
    assert imported(ROOT / "racing" / "replay.py") & FETCHERS
