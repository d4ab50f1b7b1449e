"""The server of the simulation answers as a real one does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest
import redis

from racing.store.scripts import Script, source
from tests.contract.servers import RealStore, Servers
from tests.simulation.server import Server, resp

_KEYS = ["a", "b", "c"]
_MEMBERS = ["0000000000", "0000000001", "0000000007"]


@pytest.fixture
def store(servers: Servers) -> RealStore:
    found = servers.store("embedded")
    assert isinstance(found, RealStore)
    return found


def commands(rng: random.Random) -> Iterator[list[str]]:
    """Any of those that the store sends, on few keys of each type; stream ids are given, for no clock is shared."""
    ids = iter(f"{1000 + number // 3}-{number % 3}" for number in range(10_000))
    while True:
        key, field, value = rng.choice(_KEYS), rng.choice(["f", "g", "h"]), str(rng.randrange(100))
        low, high = (f"{rng.randrange(995, 1030)}-{rng.randrange(3)}" for _ in range(2))
        member, score = rng.choice(_MEMBERS), rng.choice(["0", "1.5", "-2", "0.1", "3e-7", "12345678901"])
        yield rng.choice(
            [
                ["SET", f"string:{key}", value],
                ["SET", f"string:{key}", value, "NX"],
                ["SET", f"string:{key}", value, "PX", "100000"],
                ["GET", f"string:{key}"],
                ["STRLEN", f"string:{key}"],
                ["GETRANGE", f"string:{key}", str(rng.randrange(-3, 4)), str(rng.randrange(-3, 4))],
                ["SETRANGE", f"string:{key}", str(rng.randrange(6)), value],
                ["DEL", f"string:{key}"],
                ["UNLINK", f"string:{key}"],
                ["RENAME", f"string:{key}", f"string:{rng.choice(_KEYS)}"],
                ["EXISTS", f"string:{key}"],
                ["TYPE", rng.choice([f"string:{key}", f"hash:{key}", f"set:{key}", f"log:{key}"])],
                ["GET", f"hash:{key}"],
                ["HSET", f"hash:{key}", field, value, "i", value],
                ["HSETNX", f"hash:{key}", field, value],
                ["HGET", f"hash:{key}", field],
                ["HMGET", f"hash:{key}", field, "i", "none"],
                ["HLEN", f"hash:{key}"],
                ["HDEL", f"hash:{key}", field, "none"],
                ["ZADD", f"set:{key}", score, member],
                ["ZADD", f"set:{key}", score, member, "2", "0000000003"],
                ["ZREM", f"set:{key}", member, "0000000003"],
                ["ZRANGE", f"set:{key}", "0", "-1"],
                ["ZRANGE", f"set:{key}", "0", "1", "WITHSCORES"],
                ["XADD", f"log:{key}", next(ids), "f", value, "g", "2"],
                ["XADD", f"log:{key}", "MAXLEN", "5", next(ids), "f", value],
                ["XADD", f"log:{key}", low, "f", value],
                ["XLEN", f"log:{key}"],
                ["XRANGE", f"log:{key}", "-", "+", "COUNT", "3"],
                ["XRANGE", f"log:{key}", f"({low}", high],
                ["XRANGE", f"log:{key}", low, f"{high.partition('-')[0]}"],
                ["XREVRANGE", f"log:{key}", "+", "-", "COUNT", "1"],
                ["XREVRANGE", f"log:{key}", high, low],
                ["XREAD", "COUNT", "2", "STREAMS", f"log:{key}", "log:a", low, "0-0"],
                ["XTRIM", f"log:{key}", "MINID", f"{rng.randrange(1000, 1010)}"],
            ]
        )


def asked(client: Any, command: list[Any]) -> Any:
    """A reply as it came over the wire."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    except redis.exceptions.ResponseError as exc:
        return hiredis.ReplyError(str(exc))
    finally:
        client.connection_pool.release(connection)


def simulated(server: Server, command: list[Any]) -> Any:
    """A reply as it would come over the wire."""
    reader = hiredis.Reader()
    reader.feed(resp(server.execute([part if isinstance(part, bytes) else part.encode() for part in command])))
    return reader.gets()


def same(ours: Any, theirs: Any) -> bool:
    """Whether replies are the same; scores by value, errors by their kind, not their words."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, hiredis.ReplyError) or isinstance(theirs, hiredis.ReplyError):
        return isinstance(ours, type(theirs))
    if isinstance(ours, bytes) and isinstance(theirs, bytes) and ours != theirs:
        try:
            return float(ours) == float(theirs)
        except ValueError:
            return False
    return bool(ours == theirs)


@pytest.mark.parametrize("seed", range(4))
def test_every_command_is_answered_as_by_a_real_server(store: RealStore, seed: int) -> None:
    rng, server, different = random.Random(seed), Server(lambda: 1_000_000.0), []
    for _, command in zip(range(600), commands(rng), strict=False):
        ours, theirs = simulated(server, command), asked(store.raw, command)
        if not same(ours, theirs):
            different.append((command, ours, theirs))

    assert not different


ENROL = ["{v}:products", "{v}:runners", "{v}:log", "{v}:roll", "{v}:decisions", "{v}:merchants", "{v}:tail"]
SCRIPTED: list[tuple[Script, list[str], list[str]]] = [
    ("hold_lease", ["{v}:lease"], ["one", "10000"]),
    ("hold_lease", ["{v}:lease"], ["two", "10000"]),
    ("drop_lease", ["{v}:lease"], ["two"]),
    ("drop_lease", ["{v}:lease"], ["one"]),
    ("enrol_runners", ENROL, ['"a"', "p", '{"product":"p"}', "q", "{}"]),
    ("enrol_runners", ENROL, ['"a"', "q", '{"product":"q"}', "r", "{}"]),
    ("enrol_runners", ENROL, ['"a"', "r", "{}"]),
    ("put_rule", ["{v}:rules", "{v}:log", "{v}:tail", "{v}:decisions"], ["0", "1", "{}", "{}", "{}"]),
    ("put_rule", ["{v}:rules", "{v}:log", "{v}:tail", "{v}:decisions"], ["0", "1", "{}", "{}", "{}"]),
]


def test_the_scripts_answer_and_leave_behind_what_they_do_on_a_real_server(store: RealStore) -> None:
    """All but the ids of log entries, which are of each server's own clock."""
    server = Server(lambda: 1_000_000.0)
    for name, keys, args in SCRIPTED:
        command = ["EVAL", source(name), str(len(keys)), *keys, *args]
        assert same(without_ids(simulated(server, command)), without_ids(asked(store.raw, command))), name
    for command in (["GET", "{v}:roll"], ["HMGET", "{v}:products", "p", "q", "r"], ["HLEN", "{v}:runners"]):
        assert same(simulated(server, command), asked(store.raw, command))
    whole_log = ["XRANGE", "{v}:log", "-", "+"]
    ours, theirs = simulated(server, whole_log), asked(store.raw, whole_log)
    assert without_ids([fields for _, fields in ours]) == without_ids([fields for _, fields in theirs])


def without_ids(reply: Any) -> Any:
    """A reply whose ids of log entries say only that they are some."""
    if isinstance(reply, list):
        return [without_ids(each) for each in reply]
    if isinstance(reply, bytes) and reply.count(b"-") == 1 and reply.replace(b"-", b"").isdigit():
        return b"an id"
    return reply
