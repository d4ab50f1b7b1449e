"""``saima serve``, ``api``, ``scorer``, ``demo``: the processes of a deployment."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from racing.apikeys import KeyRecord
from racing.cli_options import DataDir, Host, Port, RedisUrl, err, out, redis_of, settings_of, tell
from racing.errors import NotFoundError, RacingError
from racing.logs import set_up
from racing.settings import Settings
from racing.supervisor import end_with_parent, halt_on_signals

app = typer.Typer()

_YOUNG = 20_000
"""Objects made and not given up, some MB of them, after which the collector looks at the young ones."""


@app.command()
def serve(host: Host = None, port: Port = None, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Run API and scorer, with an embedded Valkey unless a Redis is set. Ctrl-C ends all of it."""
    from racing import supervisor  # commands import what they need: --help stays quick

    settings = settings_of(host=host, port=port, data_dir=data_dir, redis_url=redis_url)
    set_up(settings.log_level)
    err.print(f"Saima on http://{settings.host}:{settings.port}  (API docs: /docs, live race: /)", highlight=False)
    supervisor.serve(settings, halt_on_signals(), tell=tell)


@app.command()
def api(host: Host = None, port: Port = None, redis_url: RedisUrl = None) -> None:
    """Run one API process over the Redis in SAIMA_REDIS_URL (or a running embedded one)."""
    from api.app import server_of  # as above
    from racing.safety import refuse_unsafe  # as above

    settings = settings_of(host=host, port=port, redis_url=redis_url)
    set_up(settings.log_level)
    end_with_parent()
    url = redis_of(settings)
    refuse_unsafe(settings, url)
    server = server_of(settings, url, timeout_graceful_shutdown=3)
    _keep_from_collector()
    server.run()


@app.command()
def scorer(redis_url: RedisUrl = None) -> None:
    """Run one scorer process: it runs its share of the venues. Run as many as you like, on any machines."""
    from prometheus_client import start_http_server  # as above

    from racing.crew import Scorer, own_name  # as above

    settings = settings_of(redis_url=redis_url)
    set_up(settings.log_level)
    end_with_parent()
    if settings.scorer_metrics_port:
        start_http_server(settings.scorer_metrics_port, settings.host)
    process = Scorer(redis_of(settings), own_name(), settings)
    _keep_from_collector()
    process.run(halt_on_signals())


def _keep_from_collector() -> None:
    """Spare what is in memory by now, and columns that wait, Python's collector, which stops all to look for circles.

    The first stays to the end: 150,000 objects of modules and routes in an API process, 82 ms each time that they are
    looked at. And it looks at every element of young lists: after each 700 of them that took 9 % of a flooded API.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


@app.command(hidden=True)
def follower() -> None:
    """Answer the questions of the API process that has started this one, over its standard input. It ends by itself."""
    import os  # as above
    import socket  # as above

    from racing.follower import serve  # as above

    settings = settings_of()
    set_up(settings.log_level)
    os.nice(5)  # the race and its readers come first
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as line:
        serve(redis_of(settings), settings, line)


@app.command()
def demo(
    port: Port = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated demand.")] = 1,
    products: Annotated[int, typer.Option(min=10, max=5000, help="Products that race.")] = 300,
) -> None:
    """Run everything with simulated shoppers, and race until stopped. Needs nothing but this program."""
    from racing import supervisor  # as above

    settings = settings_of(port=port, data_dir=data_dir)
    set_up(settings.log_level)
    halt = halt_on_signals()
    address = f"http://{settings.host}:{settings.port}"
    traffic = threading.Thread(
        target=_until_halt(lambda: _demo_race(settings, address, halt, seed=seed, products=products), halt),
        daemon=True,
    )
    out.print(f"The race is on: [bold]{address}/[/]  (slots: {address}/v1/venues/demo/slots, Ctrl-C ends it)")
    traffic.start()
    supervisor.serve(settings, halt, tell=tell)
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

    client, name, at_ms = connect(redis_of(settings)), f"{venue} storefront", time.time_ns() // 1_000_000
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
