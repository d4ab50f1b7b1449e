"""The tables of ``saima scorers``."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from racing.store.crew_view import CrewView

_STATES = {
    "live": "[green]live[/]",
    "silent": "[bold red]silent[/]",
    "racing": "[green]racing[/]",
    "restoring": "[yellow]restoring[/]",
    "waiting": "[bold red]waiting[/]",
    "unknown": "[bold red]unknown[/]",
}


def print_crew(view: CrewView, console: Console) -> None:
    """Two tables, the scorers and who runs each venue; then each venue's last error, if there was one."""
    scorers = Table("scorer", "state", "host", "pid", "up", "heard of", "venues", title="scorers")
    for each in view.scorers:
        heard, up = f"{each.heard_ms / 1000:.1f} s ago", f"{each.up_s} s"
        cells = (escape(each.name), _STATES[each.state], escape(each.host), str(each.pid))
        scorers.add_row(*cells, up, heard, str(each.venues))
    console.print(scorers)
    venues = Table(title="venues")
    for head in ("venue", "state", "owner", "epoch", "frame", "lag", "commit", "data age"):
        venues.add_column(head, overflow="fold", no_wrap=head not in {"venue", "owner", "epoch"})
    for run in view.venues:
        times = (_ms(run.lag_ms), _ms(run.commit_ms), _ms(run.frame_age_ms))
        owner, epoch = escape(run.owner or "nobody"), str(run.epoch or "")
        venues.add_row(run.venue, _STATES[run.state], owner, epoch, str(run.frame), *times)
    console.print(venues)
    for run in view.venues:
        if run.last_error is not None:
            ago = f"{(run.last_error_age_ms or 0) / 1000:.0f} s ago"
            console.print(f"{run.venue}, {ago}: {run.last_error}", highlight=False, markup=False)


def _ms(value: int | None) -> str:
    return "" if value is None else f"{value} ms"
