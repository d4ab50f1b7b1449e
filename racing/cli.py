"""The command ``saima``: thin commands over the modules that do the work."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from racing import cli_desk, cli_keys
from racing.apikeys import KeyRecord, Role
from racing.errors import NotFoundError, RacingError, StoreUnavailableError
from racing.logs import set_up
from racing.settings import Settings, load_settings
from racing.store.protocol import SyncClient
from racing.supervisor import end_with_parent, halt_on_signals

app = typer.Typer(
    name="saima",
    help="Real-time slot ranking for promotion venues (赛马). Begin with: saima demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

Host = Annotated[str | None, typer.Option(help="Address that the API listens on. [SAIMA_HOST, default 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port that the API listens on. [SAIMA_PORT, default 8080]")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the embedded server's data. [SAIMA_DATA_DIR, default ./saima-data]"),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(help="Redis or Valkey to use, redis://host:6379/0. [SAIMA_REDIS_URL, default: embedded]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
OfSegment = Annotated[str | None, typer.Option(help="On the board of this segment of shoppers, not the whole venue's.")]


def _tell(text: str) -> None:
    err.print(text, highlight=False, soft_wrap=True)


def _fail(message: str) -> NoReturn:
    err.print(f"[bold red]error[/]: {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _settings(**given: object) -> Settings:
    try:
        return load_settings(**given)
    except ValidationError as exc:
        error = exc.errors()[0]
        name = str(error["loc"][0]) if error["loc"] else "?"
        _fail(f"setting {name} (SAIMA_{name.upper()}): {error['msg']}, not {error['input']!r}")


def _url(settings: Settings) -> str:
    """The Redis of this deployment: the one set, or the embedded one that runs on this machine."""
    from racing.store.embedded import EmbeddedServer  # commands import what they need: --help stays quick

    if settings.redis_url:
        return settings.redis_url
    server = EmbeddedServer(settings.data_dir)
    if not server.answers():
        raise StoreUnavailableError(
            f"no embedded server answers in {str(settings.data_dir)!r}: start `saima serve` there,"
            " or set SAIMA_REDIS_URL"
        )
    return server.url


def _client(data_dir: Path | None, redis_url: str | None) -> SyncClient:
    from racing.store.client import connect  # as above

    return connect(_url(_settings(data_dir=data_dir, redis_url=redis_url)))


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Run API and scorer, with an embedded Valkey unless a Redis is set. Ctrl-C ends all of it."""
    from racing import supervisor  # as above

    settings = _settings(host=host, port=port, data_dir=data_dir, redis_url=redis_url)
    set_up(settings.log_level)
    err.print(f"Saima on http://{settings.host}:{settings.port}  (API docs: /docs, live race: /)", highlight=False)
    supervisor.serve(settings, halt_on_signals(), tell=_tell)


@app.command()
def api(host: Host = None, port: Port = None, redis_url: RedisUrl = None) -> None:
    """Run one API process over the Redis in SAIMA_REDIS_URL (or a running embedded one)."""
    from api.app import server_of  # as above
    from racing.safety import refuse_unsafe  # as above

    settings = _settings(host=host, port=port, redis_url=redis_url)
    set_up(settings.log_level)
    end_with_parent()
    url = _url(settings)
    refuse_unsafe(settings, url)
    server_of(settings, url, timeout_graceful_shutdown=3).run()


@app.command()
def scorer(redis_url: RedisUrl = None) -> None:
    """Run one scorer process: it runs its share of the venues. Run as many as you like, on any machines."""
    from prometheus_client import start_http_server  # as above

    from racing.crew import Scorer, own_name  # as above

    settings = _settings(redis_url=redis_url)
    set_up(settings.log_level)
    end_with_parent()
    if settings.scorer_metrics_port:
        start_http_server(settings.scorer_metrics_port, settings.host)
    Scorer(_url(settings), own_name(), settings).run(halt_on_signals())


@app.command(hidden=True)
def follower() -> None:
    """Answer the questions of the API process that has started this one, over its standard input. It ends by itself."""
    import os  # as above
    import socket  # as above

    from racing.follower import serve  # as above

    settings = _settings()
    set_up(settings.log_level)
    os.nice(5)  # the race and its readers come first
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as line:
        serve(_url(settings), settings, line)


@app.command()
def scorers(data_dir: DataDir = None, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """Show the scorers and who runs each venue: epoch, lag, commit time, age of the data, last error."""
    from racing.cli_scorers import print_crew  # as above
    from racing.store.client import connect_async  # as above
    from racing.store.crew_view import CrewView, read_crew  # as above

    settings = _settings(data_dir=data_dir, redis_url=redis_url)

    async def look() -> CrewView:
        client = connect_async(_url(settings))
        try:
            return await read_crew(client, lease_ms=settings.lease_ms)
        finally:
            await client.aclose()

    view = asyncio.run(look())
    if as_json:
        out.print_json(json.dumps(_plain(view)))
    else:
        print_crew(view, out)


@app.command()
def demo(
    port: Port = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated demand.")] = 1,
    products: Annotated[int, typer.Option(min=10, max=5000, help="Products that race.")] = 300,
) -> None:
    """Run everything with simulated shoppers, and race until stopped. Needs nothing but this program."""
    from racing import supervisor  # as above

    settings = _settings(port=port, data_dir=data_dir)
    set_up(settings.log_level)
    halt = halt_on_signals()
    address = f"http://{settings.host}:{settings.port}"
    traffic = threading.Thread(
        target=_until_halt(lambda: _demo_race(settings, address, halt, seed=seed, products=products), halt),
        daemon=True,
    )
    out.print(f"The race is on: [bold]{address}/[/]  (slots: {address}/v1/venues/demo/slots, Ctrl-C ends it)")
    traffic.start()
    supervisor.serve(settings, halt, tell=_tell)
    traffic.join(timeout=5)


def _demo_race(settings: Settings, address: str, halt: threading.Event, *, seed: int, products: int) -> None:
    from racing import admin_key, demo_traffic  # as above

    keyed = settings.keys == "on"
    headers = admin_key.await_headers(address, settings.data_dir, halt.wait) if keyed else {}
    page = f"{address}/pages/storefront.html?venue={demo_traffic.VENUE}"
    if headers:
        page += f"&key={_demo_key(settings, demo_traffic.VENUE, address)}"
    out.print(f"As shoppers see it: {page}", soft_wrap=True)
    demo_traffic.race(address, seed=seed, products=products, halt=halt, headers=headers)


def _demo_key(settings: Settings, venue: str, address: str) -> str:
    """A new key of role beacon for the demo's page, which tells what is seen there; that of a former run ends."""
    from racing.store import keyring  # as above
    from racing.store.client import connect  # as above

    client, name, at_ms = connect(_url(settings)), f"{venue} storefront", time.time_ns() // 1_000_000
    try:
        with suppress(NotFoundError):
            keyring.revoke(client, name, who="demo", now_ms=at_ms)
        origins = (address, f"http://localhost:{settings.port}")
        wanted = KeyRecord("", name, "beacon", at_ms, venues=(venue,), origins=origins)
        return keyring.create(client, wanted, who="demo", now_ms=at_ms)[0]
    finally:
        client.close()


def _until_halt(work: Callable[[], None], halt: threading.Event) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except RacingError as exc:
            err.print(f"[bold red]error[/]: {exc}")
            halt.set()

    return run


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
    from racing import admin_key, cli_files  # as above
    from racing.replay import Plan  # as above

    plan = Plan(venue=venue, speed=speed)
    headers = admin_key.headers_for(url, _settings(data_dir=data_dir).data_dir)
    recorded, summary = cli_files.run_replay(file, plan, url=url, headers=headers, maps=maps or [], console=err)
    if as_json:
        out.print_json(json.dumps({**_plain(summary), "refused_in_file": recorded.refused.total()}))
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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    url = _url(settings)
    names = [venue] if venue else reads.venues(connect(url))
    reports = []
    for name in names:
        client = connect(url, venue=name)
        with err.status(f"recomputing {name} from its log"):
            reports.append(verifying.verify(client, name, segments=settings.segments_folder, whole=whole))
    if as_json:
        out.print_json(json.dumps([{**_plain(report), "clean": report.clean} for report in reports]))
    else:
        for report in reports:
            _print_report(report)
    if not all(report.clean for report in reports):
        raise typer.Exit(1)


def _plain(value: Any) -> dict[str, Any]:  # any dataclass of ours
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"folding {venue}"):
        found = cli_questions.asked(_url(settings), settings, AskExplain(venue, product, at_ms, frame, segment))
    if as_json:
        out.print_json(json.dumps(found))
    else:
        cli_questions.print_explained(found, out)
        if segment and not found.get("segment"):
            err.print(f"  {venue} declared no segment {segment} then: this is the whole venue's board", highlight=False)


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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"folding {venue}"):
        found = cli_questions.preview(_url(settings), settings, venue, rule, segment)
    if as_json:
        out.print_json(json.dumps(found))
    else:
        cli_questions.print_preview(found, out)


@app.command()
def mend(
    venue: Annotated[str, typer.Argument(help="Venue to mend.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,  # a flag of the command line
) -> None:
    """Compare a venue's sorted sets and decisions with its race, and write anew what is wrong. Safe at any time."""
    from racing.mending import mend_venue  # as above

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    with err.status(f"mending {venue}"):
        done = mend_venue(_url(settings), venue, settings)
    if as_json:
        out.print_json(json.dumps(_plain(done)))
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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    url = _url(settings)
    findings = (
        doctoring.examine_cluster(url, settings) if is_cluster(url) else doctoring.examine(connect(url), settings)
    )
    if needs:
        findings.append(doctoring.planned(connect(url), settings, doctoring.plan_of(needs, settings)))
    if as_json:
        out.print_json(json.dumps([_plain(finding) for finding in findings]))
    else:
        table = Table("", "what", "found", "advice")
        marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[bold red]problem[/]"}
        for each in findings:
            table.add_row(marks[each.grade], each.what, each.found, each.advice)
        out.print(table)
    if any(each.grade == "problem" for each in findings):
        raise typer.Exit(1)


@app.command(name="export")
def export_(
    venue: Annotated[str, typer.Argument(help="Venue to export; it may race meanwhile.")],
    file: Annotated[Path, typer.Argument(help="File to write; one that exists is replaced.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Write a venue whole to one file: rules, runners with their numbers, log, state, frames and segment files."""
    from racing.store.client import connect  # as above
    from racing.store.exports import export_venue  # as above

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    url = _url(settings)
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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    url = _url(settings)
    with err.status(f"importing {file.name}"):
        header = import_venue(
            connect(url), lambda venue: connect(url, venue=venue), file, folder=settings.segments_folder, venue=name
        )
    out.print(f"{name or header.venue} races on from {header.log.last}", highlight=False)


venue_app = typer.Typer(name="venue", help="What is done to a venue as a whole.", no_args_is_help=True)
app.add_typer(venue_app)


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

    settings = _settings(data_dir=data_dir, redis_url=redis_url)
    url = _url(settings)
    if not yes:
        typer.confirm(f"Delete venue {venue} and all of its past?", abort=True, err=True)
    with err.status(f"deleting {venue}"):
        root, client = connect(url), connect(url, venue=venue)
        removed = remove_venue(root, client, venue, folder=settings.segments_folder)
    out.print(f"{venue} is gone: {removed} keys and its folder", highlight=False)


key = typer.Typer(help="API keys: who may do what.", no_args_is_help=True)
app.add_typer(key, name="key")


@key.command("create")
def key_create(
    name: cli_keys.Name,
    *,
    role: cli_keys.RoleName,
    venues: cli_keys.Venues = None,
    merchant: cli_keys.Merchant = None,
    origins: cli_keys.Origins = None,
    expires: cli_keys.Expires = None,
    requests_per_s: cli_keys.Quota = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    wanted = KeyRecord(
        "",
        name,
        cast("Role", role),  # checked with the scope
        0,
        tuple(venues or ()),
        merchant,
        tuple(origins or ()),
        requests_per_s,
    )
    lives_ms = None if expires is None else cli_keys.milliseconds(expires)
    cli_keys.create(_client(data_dir, redis_url), wanted, lives_ms=lives_ms, as_json=as_json)


@key.command("list")
def key_list(data_dir: DataDir = None, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """Show every key: what it grants, when it was last used. The keys themselves are kept nowhere."""
    cli_keys.listed(_client(data_dir, redis_url), as_json=as_json)


@key.command("revoke")
def key_revoke(which: cli_keys.Which, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """End a key at once: within 5 s no API process takes it any more."""
    cli_keys.revoke(_client(data_dir, redis_url), which)


@key.command("rotate")
def key_rotate(
    which: cli_keys.Which,
    overlap: cli_keys.Overlap = "24h",
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key in place of one, which works on for the overlap."""
    overlap_ms = cli_keys.milliseconds(overlap)
    cli_keys.rotate(_client(data_dir, redis_url), which, overlap_ms=overlap_ms, as_json=as_json)


app.registered_commands += cli_desk.app.registered_commands


def main() -> None:
    """Run the command line; our own errors become one line and exit code 1."""
    try:
        app()
    except RacingError as exc:
        err.print(f"[bold red]error[/]: {exc}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
