"""What commands of ``saima`` share: options, settings, the Redis of this deployment, and where they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console

from racing.documents import wrong_field
from racing.errors import StoreUnavailableError
from racing.settings import Settings, load_settings
from racing.store.protocol import SyncClient

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


def tell(text: str) -> None:
    """Say something to whoever runs the command, apart from its output."""
    err.print(text, highlight=False, soft_wrap=True)


def _fail(message: str) -> NoReturn:
    err.print(f"[bold red]error[/]: {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def settings_of(**given: object) -> Settings:
    """The settings in force, with the options given. A wrong one ends the command, and is named with its value."""
    try:
        return load_settings(**given)
    except ValidationError as exc:
        error = exc.errors()[0]
        name = str(error["loc"][0]) if error["loc"] else "?"
        _fail(f"setting {name} (SAIMA_{name.upper()}): {wrong_field(error)[1]}, not {error['input']!r}")


def redis_of(settings: Settings) -> str:
    """The Redis of this deployment: the one set, or the embedded one that runs on this machine.

    Raises StoreUnavailableError where none is set, and no embedded one answers.
    """
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


def client_of(data_dir: Path | None, redis_url: str | None) -> SyncClient:
    """A client of that Redis. Raises StoreUnavailableError where none is set, and no embedded one answers."""
    from racing.store.client import connect  # as above

    return connect(redis_of(settings_of(data_dir=data_dir, redis_url=redis_url)))


def plain(value: Any) -> dict[str, Any]:
    """Any dataclass of ours as JSON has it."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return fields
