"""doctor: look at a deployment's server and venues, and say what is wrong and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import msgspec

from racing.errors import RacingError, StoreError
from racing.exposure import look_around, look_at_server
from racing.settings import Settings
from racing.sizing import FULL_AT, Plan, memory_needed
from racing.store import reads
from racing.store.client import as_text, connect, server_ms, store_errors
from racing.store.cluster import SLOTS, node_urls
from racing.store.commit import CommitRecord, read_commit
from racing.store.crew import read_reports
from racing.store.durability import detect
from racing.store.flight import settled
from racing.store.keys import VenueKeys
from racing.store.load import read_memory
from racing.store.protocol import SyncClient

Grade = Literal["ok", "warning", "problem"]
_STALE_MS = 3_000
_NODE_TIMEOUT_MS = 5_000
_NAMED_MAX = 3
_REDIS_MIN, _VALKEY_MIN = (7, 0), (8, 0)


class PlanError(RacingError):
    """A plan for a venue that says something else than numbers of known names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and the line that mends it."""

    what: str
    grade: Grade
    found: str
    advice: str = ""


def examine(client: SyncClient, settings: Settings) -> list[Finding]:
    """All findings, server first, then each venue. Raises StoreUnavailableError when there is no server."""
    venues = _venues(client, settings, lambda _: client)
    around = _around(client, settings)
    return [*_server(client, settings), *around, _segments(settings), scorers_found(client, settings), *venues]


def plan_of(needs: Sequence[str], settings: Settings) -> Plan:
    """The plan that NAME=VALUE texts describe, kept as long as the settings say. Raises PlanError."""
    given = dict(each.partition("=")[::2] for each in needs)
    kept = {"log_keep_s": settings.log_keep_s, "idempotency_s": settings.idempotency_ms // 1000}
    names = [each.name for each in fields(Plan)]
    if unknown := [name for name in given if name not in names]:
        raise PlanError(f"--need {unknown[0]}: must be one of {', '.join(names)}")
    try:
        return msgspec.convert({**asdict(Plan(0, 0.0)), **kept, **given}, Plan, strict=False)
    except msgspec.ValidationError as exc:
        raise PlanError(f"--need {' '.join(needs)}: {exc}") from exc


def planned(client: SyncClient, settings: Settings, plan: Plan) -> Finding:
    """Whether the memory bound of a server is enough for one more venue of this kind, and what it would take."""
    need, memory = memory_needed(plan), read_memory(client, settings.memory_mb)
    parts = ", ".join(f"{name.replace('_', ' ')} {size / 1e6:.0f}" for name, size in asdict(need).items())
    found = f"{need.total / 1e6:.0f} MB: {parts}; Redis holds {memory}"
    if memory.bound_bytes * FULL_AT - memory.used_bytes >= need.total:
        return Finding("memory needed", "ok", found)
    wanted = (memory.used_bytes + need.total) / FULL_AT / 1e6
    return Finding(
        "memory needed", "warning", found, f"set maxmemory (embedded: SAIMA_MEMORY_MB) to {wanted:.0f} MB, or keep less"
    )


def examine_cluster(url: str, settings: Settings) -> list[Finding]:
    """The same of a cluster: what its nodes say of it, then each primary, then each venue."""
    findings: list[Finding] = []
    for name, node_url in node_urls(url):
        client = connect(node_url)
        try:
            found = [_cluster(client), _failover(client), *_server(client, settings)]
            findings += [replace(each, what=f"{each.what} {name}") for each in found]
        except StoreError as exc:
            findings.append(Finding(f"node {name}", "problem", str(exc), "its venues wait: start it, or its replica"))
        finally:
            client.close()
    shared = connect(url)
    try:
        found = [*_around(shared, settings), scorers_found(shared, settings)]
        found += _venues(shared, settings, lambda venue: connect(url, venue=venue))
    except StoreError as exc:
        found = [Finding("venues", "problem", str(exc), "the node with the list of venues is away: see above")]
    return [*findings, _segments(settings), *found]


def _server(client: SyncClient, settings: Settings) -> list[Finding]:
    with store_errors():
        info: dict[str, Any] = client.info()
    access = [Finding(*look) for look in look_at_server(client, settings, info)]
    return [_version(info), _role(info), _memory(info), *_persistence(client, settings, info), *access]


def _around(client: SyncClient, settings: Settings) -> list[Finding]:
    return [Finding(*look) for look in look_around(client, settings)]


def _cluster(client: SyncClient) -> Finding:
    """Whether this node knows of an owner for every slot."""
    with store_errors():
        info: dict[str, str] = client.execute_command("CLUSTER INFO")
        whole = as_text(client.config_get("cluster-require-full-coverage").get("cluster-require-full-coverage", ""))
    state, covered = info.get("cluster_state"), int(info.get("cluster_slots_ok", 0))
    shown = f"{state}, {info.get('cluster_size')} primaries, {covered} of {SLOTS} slots served"
    if state != "ok" or covered < SLOTS:
        return Finding("cluster", "problem", shown, "start the missing nodes: the venues of their slots wait for them")
    if whole == "yes":
        advice = "CONFIG SET cluster-require-full-coverage no: else one missing node stops every venue"
        return Finding("cluster", "warning", shown, advice)
    return Finding("cluster", "ok", shown)


def _failover(client: SyncClient) -> Finding:
    """Whether a replica stands by, and how soon it would take over."""
    with store_errors():
        replicas = int(client.info().get("connected_slaves", 0))
        timeout_ms = int(client.config_get("cluster-node-timeout").get("cluster-node-timeout", 0))
    shown = f"{replicas} replicas, taking over after about {timeout_ms / 1000:g} s"
    if not replicas:
        return Finding("failover", "warning", shown, "add a replica: without one the venues wait for this very node")
    if timeout_ms > _NODE_TIMEOUT_MS:
        return Finding("failover", "warning", shown, f"CONFIG SET cluster-node-timeout {_NODE_TIMEOUT_MS}")
    return Finding("failover", "ok", shown)


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


def _persistence(client: SyncClient, settings: Settings, info: dict[str, Any]) -> list[Finding]:
    if not int(info.get("aof_enabled", 0)):
        return [
            Finding("persistence", "problem", "append-only file off", "CONFIG SET appendonly yes: a restart loses all")
        ]
    found = detect(client, settings)
    grade: Grade = "problem" if found.in_force == "not reached" else "ok" if found.in_force == "safe" else "warning"
    shown = f"{found.asked} asked, {found.in_force} in force: {found.found}"
    return [
        Finding(
            "durability", "warning" if found.advice and grade == "ok" else grade, shown, found.advice or found.promise
        )
    ]


def scorers_found(client: SyncClient, settings: Settings) -> Finding:
    """Whether scorers live, and how they share the venues. Raises StoreUnavailableError."""
    with store_errors():
        now_ms = server_ms(client)
    reports = read_reports(client)
    live = [report for report in reports if report.lives(now_ms, settings.lease_ms)]
    if not live:
        return Finding("scorers", "problem", "none lives", "start one: saima scorer")
    shares = sorted(sum(run.state != "waiting" for run in report.venues.values()) for report in live)
    shown = f"{len(live)} live, with {', '.join(map(str, shares))} venues"
    if silent := [report.name for report in reports if report not in live]:
        advice = f"start another, if not meant: {', '.join(silent[:_NAMED_MAX])} (saima scorers)"
        return Finding("scorers", "warning", f"{shown}; {len(silent)} fell silent", advice)
    return Finding("scorers", "ok", shown)


def _venues(client: SyncClient, settings: Settings, at: Callable[[str], SyncClient]) -> list[Finding]:
    """at: the client of a venue's node."""
    findings = []
    for venue in reads.venues(client):
        try:
            there = at(venue)
            record, now_ms = read_commit(there, VenueKeys(venue)), server_ms(there)
        except StoreError as exc:
            findings.append(Finding(f"venue {venue}", "problem", str(exc), "its server is away: see above"))
            continue
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
        findings += _books(venue, record)
    return findings or [Finding("venues", "ok", "none yet", "create one: POST /v1/venues")]


def _books(venue: str, record: CommitRecord) -> list[Finding]:
    """What a venue's counters say of its log, where that is not as it should be."""
    findings = []
    counts, what = record.counts, f"log of {venue}"
    known = settled(record)
    if counts.get("accepted", known) != known:
        shown = f"{counts['accepted']} events accepted, {known} of known fate"
        findings.append(Finding(what, "problem", shown, "keep the data folder and report it: a counter is wrong"))
    if record.damaged:
        shown = f"found damaged {record.damaged} times, {counts.get('unreadable', 0)} entries unreadable"
        findings.append(Finding(what, "warning", shown, f"look at disk and memory of the server; saima verify {venue}"))
    elif counts.get("unreadable"):
        shown = f"{counts['unreadable']} entries unreadable"
        findings.append(Finding(what, "warning", shown, f"passed over, the race goes on; saima mend {venue}"))
    return findings
