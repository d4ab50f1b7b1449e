"""``saima export``, ``import``, ``venue delete``: what is done to a venue as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from racing.cli_options import DataDir, RedisUrl, err, out, redis_of, settings_of

app = typer.Typer()


@app.command(name="export")
def export_(
    venue: Annotated[str, typer.Argument(help="Venue to export; it may race meanwhile.")],
    file: Annotated[Path, typer.Argument(help="File to write; one that exists is replaced.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Write a venue whole to one file: rules, runners with their numbers, log, state, frames and segment files."""
    from racing.store.client import connect  # commands import what they need: --help stays quick
    from racing.store.exports import export_venue  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    url = redis_of(settings)
    with err.status(f"exporting {venue}"):
        root, client = connect(url), connect(url, venue=venue)
        header = export_venue(root, client, venue, file, folder=settings.segments_folder)
    out.print(f"{venue} up to {header.log.last}: {file.stat().st_size:,} bytes in {file}", highlight=False)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that `saima export` wrote.")],
    name: Annotated[str | None, typer.Option("--as", help="Another id for the venue.")] = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Make the venue that a file holds, whole or not at all; scorers race on from where it stood."""
    from racing.store.client import connect  # as above
    from racing.store.imports import import_venue  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    url = redis_of(settings)
    with err.status(f"importing {file.name}"):
        header = import_venue(
            connect(url), lambda venue: connect(url, venue=venue), file, folder=settings.segments_folder, venue=name
        )
    out.print(f"{name or header.venue} races on from {header.log.last}", highlight=False)


venue_app = typer.Typer(name="venue", help="What is done to a venue as a whole.", no_args_is_help=True)


@venue_app.command(name="delete")
def delete_venue(
    venue: Annotated[str, typer.Argument(help="Venue to delete, or of which something is left.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Delete a venue for good: its race, its log, its runners, and its folder of segment files and frames."""
    from racing.store.client import connect  # as above
    from racing.store.removal import remove_venue  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    url = redis_of(settings)
    if not yes:
        typer.confirm(f"Delete venue {venue} and all of its past?", abort=True, err=True)
    with err.status(f"deleting {venue}"):
        root, client = connect(url), connect(url, venue=venue)
        removed = remove_venue(root, client, venue, folder=settings.segments_folder)
    out.print(f"{venue} is gone: {removed} keys and its folder", highlight=False)
