"""The command ``saima``: thin commands over the modules that do the work."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from racing import cli_desk, cli_keys, cli_processes, cli_upkeep, cli_venues
from racing.cli_options import AsJson, DataDir, RedisUrl, err, out, plain, redis_of, settings_of, tell
from racing.errors import RacingError

app = typer.Typer(
    name="saima",
    help="Real-time slot ranking for promotion venues (赛马). Begin with: saima demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

OfSegment = Annotated[str | None, typer.Option(help="On the board of this segment of shoppers, not the whole venue's.")]
Maps = Annotated[
    list[str] | None, typer.Option("--map", help="Another name for an event kind, as in: --map buy_now=pay")
]


@app.command()
def replay(  # command-line options
    file: Annotated[Path, typer.Argument(help="Event file: CSV or NDJSON, plain or gzip.")],
    *,
    url: Annotated[str, typer.Option(help="Address of the running service.")] = "http://127.0.0.1:8080",
    venue: Annotated[str, typer.Option(help="Venue to race in; made if missing.")] = "replay",
    speed: Annotated[float, typer.Option(min=0.001, max=1e6, help="Times faster than recorded.")] = 1.0,
    maps: Maps = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,  # a flag of the command line
) -> None:
    """Send recorded events to a running service, shifted to now and compressed by --speed.

    The key is that in SAIMA_KEY, else on this machine the admin key in the data folder.
    """
    from racing import admin_key, cli_files  # commands import what they need: --help stays quick
    from racing.replay import Plan  # as above

    plan = Plan(venue=venue, speed=speed)
    headers = admin_key.headers_for(url, settings_of(data_dir=data_dir).data_dir)
    recorded, summary = cli_files.run_replay(file, plan, url=url, headers=headers, maps=maps or [], console=err)
    if as_json:
        out.print_json(json.dumps({**plain(summary), "refused_in_file": recorded.refused.total()}))
        return
    table = Table("venue", "sent", "accepted", "duplicate", "refused", "seconds", title=f"replayed {file.name}")
    refused = summary.refused and ", ".join(f"{code} {number}" for code, number in summary.refused.items())
    counts = (summary.sent, summary.accepted, summary.duplicate, refused or 0, f"{summary.seconds:.1f}")
    table.add_row(summary.venue, *map(str, counts))
    out.print(table)
    for sample in summary.samples:
        out.print(f"  {sample}", highlight=False, markup=False)


@app.command()
def backtest(  # command-line options
    file: Annotated[Path, typer.Argument(help="Event file: CSV or NDJSON, plain or gzip.")],
    rule: Annotated[Path | None, typer.Option(help="Rule document (JSON); the default rule where left out.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Seconds between boards.")] = 10,
    to: Annotated[Path | None, typer.Option("--out", help="File for the boards (NDJSON); default: output.")] = None,
    maps: Maps = None,
) -> None:
    """Fold a file offline, event time as the clock; one line per boundary: the board just before it."""
    from racing import cli_files  # as above

    cli_files.run_backtest(file, cli_files.read_rule(rule), every_s=every, out=to, maps=maps or [], console=err)


@app.command()
def explain(
    venue: Annotated[str, typer.Argument(help="Venue in which it races.")],
    product: Annotated[str, typer.Argument(help="Product to explain.")],
    *,
    at_ms: Annotated[int | None, typer.Option(help="As it was at this moment, ms; now if left out.")] = None,
    frame: Annotated[int | None, typer.Option(help="As it was in this frame.")] = None,
    segment: OfSegment = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say why a product stands where it stands, or stood: its sums, each term, each step of the board."""
    from racing import cli_questions  # as above
    from racing.inquiries import AskExplain  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"folding {venue}"):
        found = cli_questions.asked(redis_of(settings), settings, AskExplain(venue, product, at_ms, frame, segment))
    if as_json:
        out.print_json(json.dumps(found))
    else:
        cli_questions.print_explained(found, out)
        if segment and not found.get("segment"):
            tell(f"  {venue} declared no segment {segment} then: this is the whole venue's board")


@app.command()
def preview(
    venue: Annotated[str, typer.Argument(help="Venue to preview the rule for.")],
    rule: Annotated[Path, typer.Argument(help="Rule document (JSON).")],
    *,
    segment: OfSegment = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the board that a rule would make right now: who enters, leaves, rises and falls. Changes nothing."""
    from racing import cli_questions  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"folding {venue}"):
        found = cli_questions.preview(redis_of(settings), settings, venue, rule, segment)
    if as_json:
        out.print_json(json.dumps(found))
    else:
        cli_questions.print_preview(found, out)


app.registered_commands = [
    *cli_processes.app.registered_commands,
    *app.registered_commands,
    *cli_upkeep.app.registered_commands,
    *cli_venues.app.registered_commands,
    *cli_desk.app.registered_commands,
]
app.add_typer(cli_venues.venue_app)
app.add_typer(cli_keys.app, name="key")


def main() -> None:
    """Run the command line; our own errors become one line and exit code 1."""
    try:
        app()
    except RacingError as exc:
        err.print(f"[bold red]error[/]: {exc}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
