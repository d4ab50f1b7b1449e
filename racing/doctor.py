"""doctor: look at a deployment's server and venues, and say what is wrong and what to do about it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any, Literal

from racing.errors import StoreError
from racing.exposure import look_around
from racing.settings import Settings
from racing.store import reads
from racing.store.client import as_text, server_ms, store_errors
from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient

Grade = Literal["ok", "warning", "problem"]
_STALE_MS = 3_000
_REDIS_MIN, _VALKEY_MIN = (7, 0), (8, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and the line that mends it."""

    what: str
    grade: Grade
    found: str
    advice: str = ""


def examine(client: SyncClient, settings: Settings) -> list[Finding]:
    """All findings, server first, then each venue. Raises StoreUnavailableError when there is no server."""
    with store_errors():
        info: dict[str, Any] = client.info()
    findings = [_version(info), _role(info), _memory(info), *_persistence(client, info)]
    findings += [Finding(*look) for look in look_around(client, settings, info)]
    return [*findings, _segments(settings), *_venues(client, settings)]


def _segments(settings: Settings) -> Finding:
    folder = settings.segments_folder
    if folder is None:
        return Finding(
            "segments", "warning", "no folder", "set SAIMA_SEGMENTS_DIR: without it the log is forgotten when trimmed"
        )
    try:
        files = [path.stat() for path in folder.glob("venue-*/*.seg")]
        free_bytes = shutil.disk_usage(folder if folder.exists() else folder.absolute().parent).free
    except OSError as exc:
        return Finding("segments", "problem", f"{folder}: {exc.strerror}", "make the folder readable and writable")
    size = f"{len(files)} files, {sum(each.st_size for each in files) / 1e6:.1f} MB, {free_bytes / 1e9:.1f} GB free"
    return Finding("segments", "ok", f"{size} in {folder}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _version(info: dict[str, Any]) -> Finding:
    valkey = info.get("valkey_version")
    version, least, name = (valkey, _VALKEY_MIN, "Valkey") if valkey else (info["redis_version"], _REDIS_MIN, "Redis")
    if _numbers(str(version)) < least:
        wanted = ".".join(map(str, least))
        return Finding("server", "problem", f"{name} {version}", f"use {name} >= {wanted}")
    return Finding("server", "ok", f"{name} {version}")


def _role(info: dict[str, Any]) -> Finding:
    role = str(info.get("role"))
    if role == "master":
        return Finding("role", "ok", "primary")
    return Finding("role", "problem", role, "point SAIMA_REDIS_URL at the primary: a replica refuses writes")


def _memory(info: dict[str, Any]) -> Finding:
    policy, used, most = (
        info.get("maxmemory_policy"),
        int(info["used_memory"]),
        int(info.get("maxmemory") or 0),
    )
    shown = f"{used / 1e6:.1f} MB used of {f'{most / 1e6:.0f} MB' if most else 'no bound'}, {policy}"
    if policy != "noeviction":
        return Finding("memory", "problem", shown, "CONFIG SET maxmemory-policy noeviction: else a race loses its log")
    return Finding("memory", "ok", shown)


def _persistence(client: SyncClient, info: dict[str, Any]) -> list[Finding]:
    if not int(info.get("aof_enabled", 0)):
        return [
            Finding(
                "durability",
                "warning",
                "append-only file off",
                "CONFIG SET appendonly yes: a restart loses all",
            )
        ]
    try:
        with store_errors():
            fsync = as_text(client.config_get("appendfsync").get("appendfsync", "unknown"))
    except StoreError:
        return [Finding("durability", "warning", "append-only file on, appendfsync not readable", "allow CONFIG GET")]
    promise = {
        "always": "every acknowledged batch survives a power cut",
        "everysec": "a power cut may lose about a second; a killed process loses what the kernel had not taken",
    }.get(fsync, "the kernel decides what a power cut loses")
    return [Finding("durability", "ok" if fsync == "always" else "warning", f"appendfsync {fsync}", promise)]


def _venues(client: SyncClient, settings: Settings) -> list[Finding]:
    findings = []
    now_ms = server_ms(client)
    for venue in reads.venues(client):
        record = read_commit(client, VenueKeys(venue))
        age_ms = now_ms - record.as_of_ms
        shown = (
            f"frame {record.frame}, data {age_ms / 1000:.1f} s old, {record.counts.get('counted', 0)} events counted"
        )
        if not record.epoch:
            findings.append(Finding(f"venue {venue}", "problem", "never raced", "start a scorer: saima scorer"))
        elif age_ms > max(_STALE_MS, settings.lease_ms):
            findings.append(
                Finding(f"venue {venue}", "problem", shown, "no scorer commits: start one, or read its log")
            )
        else:
            findings.append(Finding(f"venue {venue}", "ok", shown))
    return findings or [Finding("venues", "ok", "none yet", "create one: POST /v1/venues")]
