"""The tables of ``saima scorers``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from racing.store.crew_view import CrewView

_STATES = {
    "live": "[green]live[/]",
    "silent": "[bold red]silent[/]",
    "racing": "[green]racing[/]",
    "restoring": "[yellow]restoring[/]",
    "waiting": "[bold red]waiting[/]",
}


def print_crew(view: CrewView, console: Console) -> None:
    """Two tables: the scorers, and who runs each venue."""
    scorers = Table("scorer", "state", "host", "pid", "up", "heard of", "venues", title="scorers")
    for each in view.scorers:
        heard, up = f"{each.heard_ms / 1000:.1f} s ago", f"{each.up_s} s"
        scorers.add_row(each.name, _STATES[each.state], each.host, str(each.pid), up, heard, str(each.venues))
    console.print(scorers)
    heads = ("venue", "state", "owner", "epoch", "frame", "lag", "commit", "data age", "last error")
    venues = Table(*heads, title="venues")
    for run in view.venues:
        error = f"{run.last_error} ({(run.last_error_age_ms or 0) / 1000:.0f} s ago)" if run.last_error else ""
        times = (_ms(run.lag_ms), _ms(run.commit_ms), _ms(run.frame_age_ms))
        owner, epoch = run.owner or "nobody", str(run.epoch or "")
        venues.add_row(run.venue, _STATES[run.state], owner, epoch, str(run.frame), *times, error)
    console.print(venues)


def _ms(value: int | None) -> str:
    return "" if value is None else f"{value} ms"
