"""``saima scorers``, ``verify``, ``mend``, ``doctor``: how a deployment stands, and what is wrong with it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from racing.cli_options import AsJson, DataDir, RedisUrl, err, out, plain, redis_of, settings_of

app = typer.Typer()


@app.command()
def scorers(data_dir: DataDir = None, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """Show the scorers and who runs each venue: epoch, lag, commit time, age of the data, last error."""
    from racing.cli_scorers import print_crew  # commands import what they need: --help stays quick
    from racing.store.client import connect_async  # as above
    from racing.store.crew_view import CrewView, read_crew  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)

    async def look() -> CrewView:
        client = connect_async(redis_of(settings))
        try:
            return await read_crew(client, lease_ms=settings.lease_ms)
        finally:
            await client.aclose()

    view = asyncio.run(look())
    if as_json:
        out.print_json(json.dumps(plain(view)))
    else:
        print_crew(view, out)


@app.command()
def verify(
    venue: Annotated[str | None, typer.Argument(help="Venue to verify; all of them if left out.")] = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    whole: Annotated[bool, typer.Option("--whole", help="From the first segment file on: all that is kept.")] = False,
    as_json: AsJson = False,  # a flag of the command line
) -> None:
    """Recompute venues from their logs and compare with what Redis holds. Exits 1 where they differ."""
    from racing import verify as verifying  # as above
    from racing.store import reads  # as above
    from racing.store.client import connect  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    url = redis_of(settings)
    names = [venue] if venue else reads.venues(connect(url))
    reports = []
    for name in names:
        client = connect(url, venue=name)
        with err.status(f"recomputing {name} from its log"):
            reports.append(verifying.verify(client, name, segments=settings.segments_folder, whole=whole))
    if as_json:
        out.print_json(json.dumps([{**plain(report), "clean": report.clean} for report in reports]))
    else:
        for report in reports:
            _print_report(report)
    if not all(report.clean for report in reports):
        raise typer.Exit(1)


def _print_report(report: Any) -> None:  # verify.Report, imported late
    verdict = "[green]clean[/]" if report.clean else f"[bold red]{len(report.differences)} differences[/]"
    out.print(
        f"{report.venue}: {verdict}  position {report.position}, frame {report.frame},"
        f" {report.entries} entries refolded, {report.members} set members compared",
        highlight=False,
    )
    counts = {**report.counts, "in flight": report.in_flight}
    out.print(f"  counts: {', '.join(f'{name} {value}' for name, value in counts.items())}", highlight=False)
    for line in (*report.notes, *report.differences):
        out.print(f"  {line}", highlight=False)


@app.command()
def mend(
    venue: Annotated[str, typer.Argument(help="Venue to mend.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,  # a flag of the command line
) -> None:
    """Compare a venue's sorted sets and decisions with its race, and write anew what is wrong. Safe at any time."""
    from racing.mending import mend_venue  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"mending {venue}"):
        done = mend_venue(redis_of(settings), venue, settings)
    if as_json:
        out.print_json(json.dumps(plain(done)))
        return
    who = "by this process, for no scorer runs the venue" if done.here else "by the scorer that runs the venue"
    rule = "the rule" if done.rule_logged else "no rule"
    out.print(f"{venue}: sets compared and right up to {done.position}, {who}", highlight=False)
    out.print(
        f"  decisions logged again: {done.runners_logged} runners, {rule}, {done.orders_logged} orders", highlight=False
    )
    if done.record_dropped:
        out.print("  the commit record was damaged: made anew from the last checkpoint and the log", highlight=False)


@app.command()
def doctor(
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,  # a flag of the command line
    needs: Annotated[
        list[str] | None,
        typer.Option(
            "--need", help="Say what memory a venue needs, as in: --need runners=10000 --need events_per_s=5000"
        ),
    ] = None,
) -> None:
    """Look at the server and the venues, and say what is wrong and how to mend it. Exits 1 on a problem."""
    from racing import doctor as doctoring  # as above
    from racing.store.client import connect  # as above
    from racing.store.cluster import is_cluster  # as above

    settings = settings_of(data_dir=data_dir, redis_url=redis_url)
    url = redis_of(settings)
    findings = (
        doctoring.examine_cluster(url, settings) if is_cluster(url) else doctoring.examine(connect(url), settings)
    )
    if needs:
        findings.append(doctoring.planned(connect(url), settings, doctoring.plan_of(needs, settings)))
    if as_json:
        out.print_json(json.dumps([plain(finding) for finding in findings]))
    else:
        table = Table("", "what", "found", "advice")
        marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[bold red]problem[/]"}
        for each in findings:
            table.add_row(marks[each.grade], each.what, each.found, each.advice)
        out.print(table)
    if any(each.grade == "problem" for each in findings):
        raise typer.Exit(1)
