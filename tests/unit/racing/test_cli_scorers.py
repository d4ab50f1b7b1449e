"""What operators read at the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from racing.cli_scorers import print_crew
from racing.store.crew_view import CrewView, ScorerView, VenueRun

VIEW = CrewView(
    [ScorerView("node-3-4711-9f2c1a", "node-3", 4711, "live", 86_400, 210, 1)],
    [
        VenueRun("hall-1", "node-3-4711-9f2c1a", "racing", 1_763_740_800_000, 48_210, 12, 4, 120, 0, None, None),
        VenueRun("hall-2", None, "waiting", None, 0, None, None, None, 3, "StoreError: [/] no [bold]", 90_500),
    ],
)


def shown(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_crew(VIEW, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return text


@pytest.mark.parametrize("width", [80, 160])
def test_every_scorer_and_venue_is_shown_whole(width: int) -> None:
    text = shown(width)
    for word in ("node-3-4711-9f2c1a", "4711", "live", "hall-1", "hall-2", "racing", "waiting", "nobody", "120 ms"):
        assert word in text


def test_venue_that_never_raced_has_no_times_and_an_error_is_shown_as_it_is() -> None:
    """Brackets in an error are no markup."""
    line = next(line for line in shown(160).splitlines() if "hall-2" in line)
    assert "None" not in line
    assert "ms" not in line
    assert "hall-2, 90 s ago: StoreError: [/] no [bold]" in shown(160)
