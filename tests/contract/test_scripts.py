"""The Lua scripts: lease, and that each touches no key but those it declares."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import redis

from racing.store.keys import VENUES, VenueKeys
from racing.store.protocol import SyncClient
from racing.store.scripts import Script, source
from racing.store.standings import SUMS
from tests.contract.servers import RealStore, Store

KEYS = VenueKeys("hall-1")
SCRIPTS: tuple[Script, ...] = get_args(Script)

USES: dict[Script, tuple[list[str], list[list[str]]]] = {
    "append_batch": ([KEYS.log, KEYS.tail, KEYS.roll], [["packed", "0", "0123456789abcdef"], ["packed", "0", ""]]),
    "read_numbers": ([KEYS.products, KEYS.roll], [["-1", "", "a"], ["0", "0123456789abcdef", "a"]]),
    "append_events": (
        [KEYS.log, KEYS.tail, KEYS.answers, KEYS.answers_before, KEYS.roll],
        [
            ["packed", "k", "digest", "{}", "0", "0123456789abcdef"],
            *[["packed", "k", digest, "{}", "-1", ""] for digest in ("digest", "digest", "other")],
        ],
    ),
    "recall_answer": ([KEYS.answers, KEYS.answers_before], [["k"], ["none"]]),
    "enrol_runners": (
        [KEYS.products, KEYS.runners, KEYS.log, KEYS.roll, KEYS.decisions, KEYS.merchants, KEYS.tail, KEYS.watched],
        [['""', "a", "{}", "b", "{}"], ['""', "a", "{}"], ['""', "a", '{"product":"a","merchant":"m"}', "c", "{}"]],
    ),
    "change_runners": (
        [KEYS.products, KEYS.runners, KEYS.log, KEYS.decisions, KEYS.merchants, KEYS.tail, KEYS.watched],
        [
            ['""', "{}", "a", '{"product":"a","merchant":"m"}', "{}"],
            ['""', "{}", "a", "{}", "{}"],
            ['""', "{}", "a", "{}", "[]"],
        ],
    ),
    "index_merchants": ([KEYS.runners, KEYS.merchants], [["0", "1", "1"], ["0", "1", "0"]]),
    "list_owned": ([KEYS.merchants, KEYS.runners], [["[m:", "(m;", "10"]]),
    "put_application": (
        [KEYS.applications, KEYS.applied],
        [["a", "{}", "[]", "1"], ["a", "", "", "1"], ["b", "", "", "1"]],
    ),
    "change_application": ([KEYS.applications], [["a", "", "{}"], ["none", "{}", "{}"]]),
    "read_neighbours": ([KEYS.standings], [["0000000000", "2"], ["none", "2"]]),
    "read_rungs": ([KEYS.standings], [["0", "5"]]),
    "read_places": ([KEYS.standings], [["0000000000"]]),
    "read_standings": (
        [KEYS.commit, KEYS.held, KEYS.standings, *(KEYS.sums(what, "click:count") for what in SUMS)],
        [["0000000000"], ["00000000000000000001"]],
    ),
    "change_venue": ([VENUES], [["hall-1", "{}", "{}"]]),
    "note_decision": ([KEYS.log, KEYS.decisions, KEYS.tail], [["{}"], ["{}"]]),
    "put_orders": (
        [KEYS.orders, KEYS.rules, KEYS.log, KEYS.tail, KEYS.decisions],
        [
            ["", "0", "0", "{}", "{}", "{}", "1", "1", "1", "{}", "1", "a", '{"who":""}'],
            ["", "1", "1", "", "{}", "{}", "", "0", "0"],
        ],
    ),
    "put_plan": (
        [KEYS.plans, KEYS.log, KEYS.decisions, KEYS.tail],
        [["night", "", "{}", "{}"], ["night", "", "{}", "{}"], ["night", "{}", "", "{}"]],
    ),
    "put_rule": (
        [KEYS.rules, KEYS.log, KEYS.tail, KEYS.decisions],
        [["0", "1", "{}", "{}", "{}"], ["0", "1", "{}", "{}", "{}"], ["1", "2", "{}", "{}", "{}"]],
    ),
    "relog_decisions": (
        [KEYS.log, KEYS.tail, KEYS.runners, KEYS.rules],
        [["", "0"], ["1", "0", "7"], ["0"]],
    ),
    "swap_runner": (
        [KEYS.products, KEYS.runners, KEYS.log, KEYS.roll, KEYS.decisions, KEYS.merchants, KEYS.tail, KEYS.watched],
        [['""', "{}", "a", "{}", "b", "{}"]],
    ),
    "relog_orders": ([KEYS.orders, KEYS.log, KEYS.tail], [["", "{}"], ["5-0", "{}"]]),
    "hold_lease": ([KEYS.lease], [["one", "1000"], ["one", "1000"], ["two", "1000"]]),
    "mend_field": ([KEYS.runners], [["0", "", "a"], ["0", "b", "c"], ["0", "a", "b"], ["0", "b", ""]]),
    "watch_runner": (
        [KEYS.watched],
        [[f"m-{m}", f"m-{m}:{n:010d}", "9", now, "1", "2"] for m, n, now in ((1, 0, "1"), (1, 1, "1"), (1, 0, "9"))],
    ),
    "drop_lease": ([KEYS.lease], [["two"], ["one"], ["one"]]),
}
"""Each script's keys, and arguments that lead it down each of its ways."""


@pytest.fixture
def run(store: Store, client: SyncClient) -> Callable[..., int]:
    def call(name: Script, *args: Any) -> int:
        return int(client.eval(store.script(name), 1, KEYS.lease, *args))

    return call


# -- lease ---------------------------------------------------------------------------------------------------


def test_lease_held_by_another_is_refused_and_untouched(store: Store, run: Callable[..., int]) -> None:
    assert run("hold_lease", "one", 60_000) == 1
    assert run("hold_lease", "two", 90_000) == 0
    assert run("drop_lease", "two") == 0
    assert store.raw.get(KEYS.lease) == b"one"
    assert store.raw.pttl(KEYS.lease) <= 60_000


def test_lease_is_renewed_by_its_holder(store: Store, run: Callable[..., int]) -> None:
    run("hold_lease", "one", 1_000)
    assert run("hold_lease", "one", 60_000) == 1
    assert 55_000 < store.raw.pttl(KEYS.lease) <= 60_000


def test_lease_longer_than_any_goes_to_whoever_asks(store: Store, run: Callable[..., int]) -> None:
    """Its holder died, and the server's clock was set back by an hour before the lease had ended."""
    run("hold_lease", "one", 1_000)
    store.raw.pexpire(KEYS.lease, 3_601_000)
    assert run("hold_lease", "two", 1_000) == 1
    assert run("hold_lease", "one", 1_000) == 0


def test_lease_that_ended_goes_to_whoever_asks(store: Store, run: Callable[..., int]) -> None:
    run("hold_lease", "one", 60_000)
    store.raw.delete(KEYS.lease)  # as its expiry does
    assert run("hold_lease", "two", 60_000) == 1
    assert run("hold_lease", "one", 60_000) == 0


def test_dropped_lease_is_free_at_once(store: Store, run: Callable[..., int]) -> None:
    run("hold_lease", "one", 60_000)
    assert run("drop_lease", "one") == 1
    assert run("drop_lease", "one") == 0
    assert run("hold_lease", "two", 60_000) == 1


# -- keys ----------------------------------------------------------------------------------------------------


def as_user_of(store: RealStore, keys: list[str]) -> Any:
    """A client that may do anything, but to these keys only."""
    store.raw.execute_command("ACL", "SETUSER", "bound", "reset", "on", ">word", "+@all", *(f"~{key}" for key in keys))
    client: Any = store.client()
    client.execute_command("AUTH", "bound", "word")
    return client


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_touches_only_the_keys_that_it_declares(real_store: RealStore, name: Script) -> None:
    """Also on a server that looks: a user without rights to any other key can run it, whatever way it takes."""
    keys, ways = USES[name]
    real_store.raw.zadd(KEYS.standings, {"0000000000": -1.5})
    client = as_user_of(real_store, keys)
    for args in ways:
        client.eval(source(name), len(keys), *keys, *args)
    client.close()


def test_script_that_touches_an_undeclared_key_would_be_noticed(real_store: RealStore) -> None:
    client = as_user_of(real_store, [KEYS.lease])
    with pytest.raises(redis.exceptions.ResponseError):
        client.eval("#!lua\nreturn redis.call('GET', 'saima:{hall-1}:log')", 1, KEYS.lease)
    client.close()


def test_cluster_refuses_a_script_that_touches_another_slot(real_store: RealStore) -> None:
    if real_store.name != "cluster":
        assert real_store.raw.eval("#!lua\nreturn redis.call('GET', 'elsewhere')", 1, KEYS.lease) is None
        return
    with pytest.raises(redis.exceptions.ResponseError):
        real_store.raw.eval("#!lua\nreturn redis.call('GET', 'elsewhere')", 1, KEYS.lease)
    with pytest.raises(redis.exceptions.ResponseError):
        real_store.raw.eval("#!lua\nreturn 1", 2, KEYS.lease, VenueKeys("hall-2").lease)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_says_what_it_needs_and_takes_keys_from_keys_alone(name: Script) -> None:
    text = source(name)
    assert re.match(r"#!lua( flags=[a-z-]+)?\n", text)
    for part in ("KEYS:", "ARGV:", "Reply:", "Cost:"):
        assert f"\n-- {part} " in text
    calls = re.findall(r"redis\.call\('(\w+)', (\S+?)[,)]", text)
    assert calls
    assert all(re.fullmatch(r"KEYS\[(\d|i)\]", key) for _, key in calls)
    assert len(calls) == text.count("redis.call(")
