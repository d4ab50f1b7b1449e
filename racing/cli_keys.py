"""``saima key``: make, list, revoke and rotate API keys, on the Redis of this deployment."""

from __future__ import annotations

import getpass
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, cast

import typer
from msgspec import structs
from rich.table import Table

from racing.apikeys import GRANTS, PREFIX, KeyRecord, Role
from racing.cli_options import AsJson, DataDir, RedisUrl, client_of, err, out
from racing.store.protocol import SyncClient

app = typer.Typer(help="API keys: who may do what.", no_args_is_help=True)
DAY_MS = 86_400_000

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def milliseconds(text: str) -> int:
    """A time such as 90d, 24h, 30m or 10s. Raises typer.BadParameter."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS_MS or len(number) > 6:  # noqa: PLR2004  # 999,999 days are enough
        raise typer.BadParameter(f"must be a number and s, m, h or d, as 90d, not {text!r}")
    return int(number) * _UNITS_MS[unit]


Name = Annotated[str, typer.Argument(help="What the key is for; audit entries and lists show it.")]
Which = Annotated[str, typer.Argument(help="Name or id of the key.")]
RoleName = Annotated[str, typer.Option("--role", help=f"One of {', '.join(GRANTS)}.")]
Venues = Annotated[list[str] | None, typer.Option("--venue", help="Venue that it reaches; again for more.")]
Merchant = Annotated[str | None, typer.Option(help="Merchant whose products a key of role merchant reaches.")]
Origins = Annotated[
    list[str] | None, typer.Option("--origin", help="Origin of pages that may use a beacon key; again for more.")
]
Expires = Annotated[str | None, typer.Option(help="How long it works, as 90d or 24h; without end if left out.")]
Quota = Annotated[
    int | None,
    typer.Option(
        "--requests-per-s", min=0, max=1_000_000, help="Quota at each API process. [SAIMA_KEY_REQUESTS_PER_S]"
    ),
]
Overlap = Annotated[str, typer.Option(help="How long the old key works on.")]


def who() -> str:
    """Who runs the command, for the audit."""
    with suppress(OSError, KeyError):
        return f"cli:{getpass.getuser()}"
    return "cli"


def now_ms() -> int:
    """Wall clock, ms."""
    return time.time_ns() // 1_000_000


def create(client: SyncClient, wanted: KeyRecord, *, lives_ms: int | None, as_json: bool) -> None:
    """Make a key and show it, this once."""
    from racing.store import keyring  # here, so that --help stays quick

    at_ms = now_ms()
    expires_ms = None if lives_ms is None else at_ms + lives_ms
    wanted = structs.replace(wanted, expires_ms=expires_ms)
    key, record = keyring.create(client, wanted, who=who(), now_ms=at_ms)
    _show(key, record, as_json=as_json)


def rotate(client: SyncClient, which: str, *, overlap_ms: int, as_json: bool) -> None:
    """Make a key in place of another and show it, this once; the old one works on for the overlap."""
    from racing.store import keyring  # here, so that --help stays quick

    key, record, old = keyring.rotate(client, which, overlap_ms=overlap_ms, who=who(), now_ms=now_ms())
    _show(key, record, as_json=as_json)
    for each in old:
        err.print(f"{each.id} works until {moment(each.expires_ms)}", highlight=False)


def _show(key: str, record: KeyRecord, *, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps({"key": key, "id": record.id, "name": record.name, "role": record.role}))
        return
    err.print("The key is shown this once; only its SHA-256 is kept.", highlight=False)
    typer.echo(key)


def revoke(client: SyncClient, which: str) -> None:
    """End every key of a name or id."""
    from racing.store import keyring  # here, so that --help stays quick

    for record in keyring.revoke(client, which, who=who(), now_ms=now_ms()):
        err.print(f"{record.name} ({record.id}) no longer works; every API process knows within 5 s", highlight=False)


def listed(client: SyncClient, *, as_json: bool) -> None:
    """Show every key that is kept: what it grants and when it was last used, never the key."""
    from racing.store import keyring  # here, so that --help stays quick

    used = keyring.last_used_ms(client)
    records = sorted(keyring.read_keys(client).values(), key=lambda record: (record.name, record.created_ms))
    at_ms = now_ms()
    if as_json:
        rows = [
            {**_plain(record), "state": record.state(at_ms), "last_used_ms": used.get(record.id)} for record in records
        ]
        out.print_json(json.dumps(rows))
        return
    table = Table("name", "key", "role", "scope", "state", "expires", "last used")
    for record in records:
        scope = ", ".join(filter(None, (record.merchant, *record.venues, *record.origins))) or "all"
        prefix = f"{PREFIX}_{record.id}_…"
        expires, last = moment(record.expires_ms), moment(used.get(record.id))
        table.add_row(record.name, prefix, record.role, scope, record.state(at_ms), expires, last)
    out.print(table)


def _plain(record: KeyRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def moment(at_ms: int | None) -> str:
    """A moment for people; a dash for none."""
    return "–" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@app.command("create")
def key_create(
    name: Name,
    *,
    role: RoleName,
    venues: Venues = None,
    merchant: Merchant = None,
    origins: Origins = None,
    expires: Expires = None,
    requests_per_s: Quota = None,
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
    lives_ms = None if expires is None else milliseconds(expires)
    create(client_of(data_dir, redis_url), wanted, lives_ms=lives_ms, as_json=as_json)


@app.command("list")
def key_list(data_dir: DataDir = None, redis_url: RedisUrl = None, as_json: AsJson = False) -> None:
    """Show every key: what it grants, when it was last used. The keys themselves are kept nowhere."""
    listed(client_of(data_dir, redis_url), as_json=as_json)


@app.command("revoke")
def key_revoke(which: Which, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """End a key at once: within 5 s no API process takes it any more."""
    revoke(client_of(data_dir, redis_url), which)


@app.command("rotate")
def key_rotate(
    which: Which,
    overlap: Overlap = "24h",
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key in place of one, which works on for the overlap."""
    overlap_ms = milliseconds(overlap)
    rotate(client_of(data_dir, redis_url), which, overlap_ms=overlap_ms, as_json=as_json)
