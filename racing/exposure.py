"""What doctor says of who can reach a deployment and what they could do: binding, keys, the server, the way to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from racing import admin_key, safety
from racing.apikeys import KeyRecord
from racing.errors import StoreError
from racing.settings import Settings
from racing.store.client import as_text, store_errors
from racing.store.keyring import read_keys
from racing.store.protocol import SyncClient

_SOON_MS = 7 * 86_400_000


class Look(NamedTuple):
    """One thing looked at, as doctor's findings are."""

    what: str
    grade: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""


def look_around(client: SyncClient, settings: Settings) -> Iterator[Look]:
    """Binding and keys, in the order in which a stranger would come across them. Raises StoreError."""
    yield _binding(settings)
    yield from _keys(client, settings)


def look_at_server(client: SyncClient, settings: Settings, info: dict[str, Any]) -> Iterator[Look]:
    """One server's version and the way to it. Raises StoreError."""
    url = settings.redis_url or "unix://"
    yield _holes(settings, url, info)
    if safety.over_tcp(url):
        yield from _way(client, url)


def _binding(settings: Settings) -> Look:
    risk = safety.binding_risk(settings)
    if risk is not None:
        return Look(risk.what, "problem", risk.found, risk.advice)
    if settings.on_loopback:
        return Look("binding", "ok", f"{settings.host}: this machine only")
    return Look(
        "binding", "ok", f"{settings.host}, keys in force", "let a proxy with TLS stand before it: keys are in headers"
    )


def _keys(client: SyncClient, settings: Settings) -> Iterator[Look]:
    if settings.keys == "off":
        grade: Literal["warning", "problem"] = "warning" if settings.on_loopback else "problem"
        yield Look("keys", grade, "not in force", "for development only: leave SAIMA_KEYS on for anything else")
        return
    now_ms = time.time_ns() // 1_000_000
    active = [record for record in read_keys(client).values() if record.state(now_ms) == "active"]
    yield _who_administers(active)
    yield from _ending(active, now_ms)
    if settings.redis_url is None and admin_key.readable_by_others(settings.data_dir):
        path = admin_key.path_in(settings.data_dir)
        yield Look("admin key", "problem", f"{path} can be read by others", f"chmod 600 {path}; saima key rotate admin")


def _who_administers(active: list[KeyRecord]) -> Look:
    if not any(record.role == "admin" for record in active):
        return Look("keys", "problem", f"{len(active)} work, none of an admin", "saima key create admin --role admin")
    return Look("keys", "ok", f"in force, {len(active)} work")


def _ending(active: list[KeyRecord], now_ms: int) -> Iterator[Look]:
    successors = {record.name: record.created_ms for record in sorted(active, key=lambda record: record.created_ms)}
    for record in active:
        soon = record.expires_ms is not None and record.expires_ms - now_ms < _SOON_MS
        if soon and record.created_ms == successors[record.name]:
            yield Look(f"key {record.name}", "warning", "ends within a week", f"saima key rotate {record.name}")


def _holes(settings: Settings, url: str, info: dict[str, Any]) -> Look:
    name, version = safety.version_of(info)
    shown = f"{name} {'.'.join(map(str, version))}"
    if not safety.has_known_holes(info):
        return Look("known holes", "ok", f"none known in {shown}")
    if not safety.over_tcp(url):
        return Look("known holes", "ok", f"{shown} has some; it is on a socket of this machine")
    risk = safety.server_risk(settings, url, info)
    if risk is None:
        return Look("known holes", "ok", f"{shown} is trusted by SAIMA_TRUST_SERVER")
    grade: Literal["warning", "problem"] = "problem" if safety.is_exposed(settings, url) else "warning"
    return Look("known holes", grade, risk.found, risk.advice)


def _way(client: SyncClient, url: str) -> Iterator[Look]:
    """The way to a server over TCP: its lock, its user and, beyond this machine, its encryption."""
    elsewhere = safety.elsewhere(url)
    bad: Literal["warning", "problem"] = "problem" if elsewhere else "warning"
    if _opens_without_password(client):
        yield Look("server access", bad, "no password", "give Saima a user of its own: docs/operations.md, Redis")
    elif _user(client) == "default":
        yield Look(
            "server access",
            "warning",
            "user default, who may do anything",
            "give Saima a user of its own: docs/operations.md, Redis",
        )
    else:
        yield Look("server access", "ok", f"user {_user(client)}")
    if elsewhere and not urlsplit(url).scheme.startswith("rediss"):
        yield Look("way to the server", "problem", "not encrypted", "use rediss:// in SAIMA_REDIS_URL")


def _user(client: SyncClient) -> str:
    try:
        with store_errors():
            return as_text(client.execute_command("ACL", "WHOAMI"))
    except StoreError:
        return "of its own"  # one that may not even ask who it is


def _opens_without_password(client: SyncClient) -> bool:
    try:
        with store_errors():
            told = client.execute_command("ACL", "GETUSER", "default")
    except StoreError:
        return False
    if not isinstance(told, dict):  # RESP2, as it comes
        told = dict(zip(map(as_text, told[::2]), told[1::2], strict=False))
    return {"on", "nopass"} <= {as_text(flag) for flag in told["flags"]}
