"""What a server loaded wrongly from its file: sorted sets are written again, and decisions logged again.

Redis keeps no checksum of what its append-only file holds, so a flipped bit comes back as a member or a value. That
can only happen while a file is loaded or another server takes over, so sets are compared once for each server run.
Decisions stand twice, in the log and in hashes of runners, rules and orders: what is damaged in one is in the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from racing.cells import measures_of, runners_of
from racing.entries import OrdersChange, Runner, encode_decision
from racing.errors import CorruptRecordError, StoreError, StoreUnavailableError
from racing.race import Race
from racing.scored import Changes
from racing.store.client import as_text, store_errors
from racing.store.documents import decode_order, decode_runner
from racing.store.keys import ORDERS_LAST, VenueKeys, member
from racing.store.protocol import SyncClient
from racing.store.scripts import source
from racing.store.sets import Command, measure_names


def unchecked_run(client: SyncClient, keys: VenueKeys) -> str | None:
    """The id of the server's run if the sets were not compared in it yet, else None; empty where it is not told."""
    try:
        with store_errors():
            run = as_text(client.info("server").get("run_id", ""))
    except StoreUnavailableError:
        raise
    except StoreError:  # no INFO on this server, or not for us: compare at every take-over
        return ""
    with store_errors():
        checked = client.get(keys.sets_run)
    return run if checked is None or checked != run.encode() else None


def mark_checked(client: SyncClient, keys: VenueKeys, run: str) -> None:
    """Remember that the sets are right in this run; harmless when it is lost, or comes late."""
    if not run:
        return
    with contextlib.suppress(StoreError), store_errors():
        client.set(keys.sets_run, run)


def mend(
    client: SyncClient, keys: VenueKeys, race: Race, pending: Changes, *, meanwhile: Callable[[], None] = lambda: None
) -> tuple[int, list[Command]]:
    """(members that are wrong beside the pending ones, commands that remove those which belong to nobody).

    The others are right once everything is written again. Nothing is written here: another owner may have taken over
    meanwhile, and only a commit can tell. meanwhile: called after each set. Cost: every set read once, O(members).
    """
    wrong = 0
    removals: list[Command] = []
    for key, expected, waiting, zeros in _expected(race, keys, pending):
        with store_errors():
            held = dict(client.zrange(key, 0, -1, withscores=True))
        right = expected.keys() | waiting
        foreign = sorted(name for name in held.keys() - right if name not in zeros or held[name])
        wrong += len(foreign) + sum(held.get(name) != expected[name] for name in expected.keys() - waiting)
        if foreign:
            removals.append(("ZREM", key, *foreign))
        meanwhile()
    return wrong, removals


_Expected = tuple[str, dict[bytes, float], set[bytes], set[bytes]]


def _expected(race: Race, keys: VenueKeys, pending: Changes) -> Iterator[_Expected]:
    """(key, what it must hold, members that are still to be written, those that may be there as 0) of every set.

    Totals of 0 are there or not, as it happened.
    """
    names = [member(runner).encode() for runner in range(len(race.products))]
    waiting = {names[runner] for runner in pending.runners.tolist()}
    yield keys.standings, dict(zip(names, (0.0 - race.scores).tolist(), strict=True)), waiting, set()
    waits: dict[int, set[bytes]] = {}
    for runner, measure in zip(runners_of(pending.keys).tolist(), measures_of(pending.keys).tolist(), strict=True):
        waits.setdefault(measure, set()).add(names[runner])
    width = race.windows.total.shape[1]
    for measure, name in enumerate(measure_names(race)[:width]):
        window = race.windows.window[: len(names), measure]
        base_tenths = race.windows.base_tenths[: len(names), measure]
        columns = {
            "window": (window, window != 0),
            "delta": ((10 * window - base_tenths) / 10.0, (window != 0) | (base_tenths != 0)),
            "total": (race.windows.total[: len(names), measure], race.windows.total[: len(names), measure] != 0),
        }
        for what, (values, kept) in columns.items():
            held = {names[runner]: float(values[runner]) for runner in kept.nonzero()[0].tolist()}
            either = {names[runner] for runner in (~kept).nonzero()[0].tolist()} if what == "total" else set()
            yield keys.sums(what, name), held, waits.get(measure, set()), either


def both(some: Changes, others: Changes) -> Changes:
    """The changes of either."""
    return Changes(np.union1d(some.runners, others.runners), np.union1d(some.keys, others.keys))


_RELOG_MAX = 1_000
"""Runners of one entry, as at enrolment."""


@dataclass(frozen=True, slots=True)
class Relogged:
    """What was logged again: so many runners, whether the rule, and so many orders."""

    runners: int = 0
    rule: bool = False
    orders: int = 0


def relog(client: SyncClient, keys: VenueKeys, race: Race) -> Relogged:
    """Log again what a race lacks of the runners, rule and orders in their hashes; folded, it has them all.

    What the log holds and the race has not folded yet is logged twice, which changes nothing. Cost: O(runners).
    """
    lacking = [number for number, runner in _runners(client, keys) if not _has(race, number, runner)]
    runners, rule = 0, False
    for first in range(0, len(lacking) or 1, _RELOG_MAX):
        some = lacking[first : first + _RELOG_MAX]
        version = "" if first else race.base.version
        with store_errors():
            named = (keys.log, keys.tail, keys.runners, keys.rules)
            done = client.eval(source("relog_decisions"), len(named), *named, version, *some)
        runners, rule = runners + done[0], rule or bool(done[1])
    return Relogged(runners, rule, _relog_orders(client, keys, race))


def _relog_orders(client: SyncClient, keys: VenueKeys, race: Race) -> int:
    """Log again orders that a race lacks or has otherwise, withdraw those that the hash has not; returns how many."""
    while True:
        with store_errors():
            raws = {as_text(name): raw for name, raw in client.hgetall(keys.orders).items()}
            last = raws.pop(ORDERS_LAST, b"")
            kept = dict(_documents(raws, race.moment_ms))
            held = {document["id"]: document for document in race.steering.book.documents()}
            put = [document for name, document in kept.items() if held.get(name) != document]
            gone = sorted(held.keys() - raws.keys()) if raws or last else []
            if not put and not gone:
                return 0
            named = (keys.orders, keys.log, keys.tail)
            said = encode_decision(OrdersChange(put, gone, note="logged again"))
            if client.eval(source("relog_orders"), len(named), *named, last, said):
                return len(put) + len(gone)


def _documents(raws: Mapping[str, bytes], moment_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The orders that may hold yet, as a race has them; those that cannot be decoded left out."""
    for name, raw in raws.items():
        with suppress(CorruptRecordError):
            order = decode_order(raw).parsed()
            if order.end_ms is None or order.end_ms > moment_ms:
                yield name, order.model_dump(mode="json", exclude_none=True)


def _has(race: Race, number: int, runner: Runner) -> bool:
    return race.roster.has(number, runner.product, runner.numbers(), runner.words())


def _runners(client: SyncClient, keys: VenueKeys) -> Iterator[tuple[int, Runner]]:
    """The runners that their hash holds, those that cannot be decoded left out."""
    with store_errors():
        for number, raw in client.hscan_iter(keys.runners, count=1000):
            try:
                found = (int(number), decode_runner(raw))
            except (CorruptRecordError, ValueError):
                continue
            yield found
