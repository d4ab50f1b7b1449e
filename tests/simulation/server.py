"""A Redis in memory for the simulation: what Saima's store asks of one, over RESP2, by a clock that is passed in.

Not a general Redis: an unknown command is an error that names it, and the run fails. The Lua scripts are the real ones,
run by a real Lua 5.1. tests/contract/test_simulated_server.py holds it against a real server.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import lupa.lua51 as lupa

Args = list[bytes]
StreamId = tuple[int, int]

_SEQ_MAX = 2**64 - 1
_SCRIPTS: dict[bytes, Any] = {}
_lua = lupa.LuaRuntime(encoding=None, unpack_returned_tuples=False)


class Status(str):
    """A simple string reply."""

    __slots__ = ()


class RefusedError(Exception):
    """An error reply."""


_WRONG_TYPE = RefusedError("WRONGTYPE Operation against a key holding the wrong kind of value")


@dataclass(slots=True)
class Stream:
    """Entries by id, oldest first."""

    ids: list[StreamId] = field(default_factory=list)
    fields: list[Args] = field(default_factory=list)
    last: StreamId = (0, 0)
    added: int = 0

    def trim(self, count: int) -> int:
        """Drop the first entries."""
        del self.ids[:count], self.fields[:count]
        return count

    def between(self, low: int, high: int) -> list[Any]:
        """Entries by index, as XRANGE shows them."""
        return [[_id_text(self.ids[index]), self.fields[index]] for index in range(low, high)]


class Server:
    """The data of one server and its commands. Sessions and connections are the network's."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self.data: dict[bytes, Any] = {}
        self.versions: dict[bytes, int] = {}
        self.run = 1
        self.written: Callable[[bytes], None] = lambda _: None
        self.appended: Callable[[bytes, StreamId, Args], None] = lambda _, __, ___: None
        self.loaded: set[bytes] = set()
        self._expiry: dict[bytes, float] = {}

    def restart(self) -> None:
        """Come back with all data, and with no script known."""
        self.run += 1
        self.loaded.clear()

    def execute(self, command: Args) -> Any:
        """The reply of one command; RefusedError comes as a value."""
        name = command[0].upper().replace(b"-", b"_").decode()
        handler = getattr(self, f"_{name.lower()}", None)
        if handler is None:
            return RefusedError(f"ERR unknown command '{name}' in the simulated server")
        try:
            return handler(command[1:])
        except RefusedError as exc:
            return exc

    def peek(self, key: bytes) -> Any:
        """What a key holds now; None for nothing."""
        expiry = self._expiry.get(key)
        if expiry is not None and expiry <= self._now_ms():
            del self.data[key], self._expiry[key]
            self._touch(key)
        return self.data.get(key)

    def _touch(self, key: bytes) -> None:
        self.versions[key] = self.versions.get(key, 0) + 1
        self.written(key)

    def _made(self, key: bytes, kind: type[Any]) -> Any:
        """What a key holds, made if there is nothing; the key is about to be written."""
        held = self.peek(key)
        if held is None:
            held = self.data[key] = kind()
        elif not isinstance(held, kind):
            raise _WRONG_TYPE
        self._touch(key)
        return held

    def _drop(self, key: bytes) -> int:
        self._expiry.pop(key, None)
        if self.peek(key) is None:
            return 0
        del self.data[key]
        self._touch(key)
        return 1

    # -- the server ------------------------------------------------------------------------------------

    def _ping(self, args: Args) -> Any:
        return Status("PONG")

    def _client(self, args: Args) -> Any:
        return Status("OK")

    def _time(self, args: Args) -> Any:
        now_us = int(self._now_ms() * 1000)
        return [str(now_us // 1_000_000).encode(), str(now_us % 1_000_000).encode()]

    def _info(self, args: Args) -> Any:
        return f"# Server\r\nredis_version:7.2.4\r\nrun_id:{self.run:040d}\r\nloading:0\r\n".encode()

    def _config(self, args: Args) -> Any:
        return []

    # -- keys and strings ------------------------------------------------------------------------------

    def _get(self, args: Args) -> Any:
        held = self.peek(args[0])
        return _WRONG_TYPE if held is not None and not isinstance(held, bytes) else held

    def _set(self, args: Args) -> Any:
        key, value, *options = args
        words = [option.upper() for option in options]
        if b"NX" in words and self.peek(key) is not None:
            return None
        self._expiry.pop(key, None)
        self.data[key] = value
        if b"PX" in words:
            self._expiry[key] = self._now_ms() + int(options[words.index(b"PX") + 1])
        self._touch(key)
        return Status("OK")

    def _strlen(self, args: Args) -> Any:
        return len(self.peek(args[0]) or b"")

    def _getrange(self, args: Args) -> Any:
        held: bytes = self.peek(args[0]) or b""
        first, last = int(args[1]), int(args[2])
        if last < first < 0:
            return b""
        low, high = (max(0, each + len(held)) if each < 0 else each for each in (first, last))
        return held[low : high + 1]

    def _setrange(self, args: Args) -> Any:
        held: bytes = self.peek(args[0]) or b""
        at = int(args[1])
        self.data[args[0]] = held[:at].ljust(at, b"\0") + args[2] + held[at + len(args[2]) :]
        self._touch(args[0])
        return len(self.data[args[0]])

    def _del(self, args: Args) -> Any:
        return sum(self._drop(key) for key in args)

    _unlink = _del

    def _rename(self, args: Args) -> Any:
        held, expiry = self.peek(args[0]), self._expiry.get(args[0])
        if held is None:
            raise RefusedError("ERR no such key")
        self._drop(args[0])
        self._drop(args[1])
        self.data[args[1]] = held
        if expiry is not None:
            self._expiry[args[1]] = expiry
        self._touch(args[1])
        return Status("OK")

    def _exists(self, args: Args) -> Any:
        return sum(self.peek(key) is not None for key in args)

    def _pexpire(self, args: Args) -> Any:
        if self.peek(args[0]) is None:
            return 0
        self._expiry[args[0]] = self._now_ms() + int(args[1])
        return 1

    def _pttl(self, args: Args) -> Any:
        if self.peek(args[0]) is None:
            return -2
        expiry = self._expiry.get(args[0])
        return -1 if expiry is None else int(expiry - self._now_ms())

    def _type(self, args: Args) -> Any:
        held = self.peek(args[0])
        names = {bytes: "string", Stream: "stream", ZSet: "zset", dict: "hash"}
        return Status("none" if held is None else names[type(held)])

    # -- hashes ----------------------------------------------------------------------------------------

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        held = self.peek(key)
        return {} if held is None else held

    def _hget(self, args: Args) -> Any:
        return self._hash(args[0]).get(args[1])

    def _hmget(self, args: Args) -> Any:
        held = self._hash(args[0])
        return [held.get(name) for name in args[1:]]

    def _hgetall(self, args: Args) -> Any:
        return [part for pair in self._hash(args[0]).items() for part in pair]

    def _hkeys(self, args: Args) -> Any:
        return list(self._hash(args[0]))

    def _hvals(self, args: Args) -> Any:
        return list(self._hash(args[0]).values())

    def _hscan(self, args: Args) -> Any:
        return [b"0", self._hgetall(args)]

    def _hexists(self, args: Args) -> Any:
        return int(args[1] in self._hash(args[0]))

    def _hlen(self, args: Args) -> Any:
        return len(self._hash(args[0]))

    def _hset(self, args: Args) -> Any:
        held = self._made(args[0], dict)
        before = len(held)
        held.update(zip(args[1::2], args[2::2], strict=True))
        return len(held) - before

    def _hsetnx(self, args: Args) -> Any:
        return 0 if args[1] in self._hash(args[0]) else self._hset(args)

    def _hdel(self, args: Args) -> Any:
        if self.peek(args[0]) is None:
            return 0
        held = self._made(args[0], dict)
        gone = sum(held.pop(name, None) is not None for name in args[1:])
        if not held:
            self._drop(args[0])
        return gone

    # -- sorted sets -----------------------------------------------------------------------------------

    def _zadd(self, args: Args) -> Any:
        held = self._made(args[0], ZSet)
        before = len(held)
        held.update(zip(args[2::2], map(float, args[1::2]), strict=True))
        return len(held) - before

    def _zrem(self, args: Args) -> Any:
        if self.peek(args[0]) is None:
            return 0
        held = self._made(args[0], ZSet)
        gone = sum(held.pop(name, None) is not None for name in args[1:])
        if not held:
            self._drop(args[0])
        return gone

    def _zrange(self, args: Args) -> Any:
        held = self.peek(args[0]) or {}
        ordered = sorted(held.items(), key=lambda each: (each[1], each[0]))
        low, high = int(args[1]), int(args[2])
        some = ordered[low : None if high == -1 else high + 1]
        return [part for name, score in some for part in ((name, repr(score).encode()) if len(args) > 3 else (name,))]

    # -- streams ---------------------------------------------------------------------------------------

    def _xadd(self, args: Args) -> Any:
        stream: Stream = self._made(args[0], Stream)
        at, most = 1, None
        if args[1].upper() == b"MAXLEN":
            at, most = (4, int(args[3])) if args[2] in (b"~", b"=") else (3, int(args[2]))
        entry = self._next_id(stream, args[at])
        stream.ids.append(entry)
        stream.fields.append(args[at + 1 :])
        stream.last = entry
        stream.added += 1
        if most is not None and len(stream.ids) > most:
            stream.trim(len(stream.ids) - most)
        self.appended(args[0], entry, args[at + 1 :])
        return _id_text(entry)

    def _next_id(self, stream: Stream, wanted: bytes) -> StreamId:
        last = stream.last
        if wanted == b"*":
            entry = (int(self._now_ms()), 0)
            return entry if entry > last else (last[0], last[1] + 1)
        entry = _id_of(wanted, 0)
        if entry <= last:
            raise RefusedError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
        return entry

    def _xtrim(self, args: Args) -> Any:
        stream: Stream = self._made(args[0], Stream)
        return stream.trim(bisect_left(stream.ids, _id_of(args[-1], 0)))

    def _xrange(self, args: Args) -> Any:
        stream: Stream = self.peek(args[0]) or Stream()
        low = _index(stream.ids, args[1], low=True)
        high = _index(stream.ids, args[2], low=False)
        if len(args) > 3:
            high = min(high, low + int(args[4]))
        return stream.between(low, high)

    def _xrevrange(self, args: Args) -> Any:
        stream: Stream = self.peek(args[0]) or Stream()
        high = _index(stream.ids, args[1], low=False)
        low = _index(stream.ids, args[2], low=True)
        if len(args) > 3:
            low = max(low, high - int(args[4]))
        return stream.between(low, high)[::-1]

    def _xread(self, args: Args) -> Any:
        """Without waiting: that is the session's part."""
        words = [word.upper() for word in args]
        count = int(args[words.index(b"COUNT") + 1]) if b"COUNT" in words else 2**31
        names = args[words.index(b"STREAMS") + 1 :]
        half = len(names) // 2
        found = []
        for key, after in zip(names[:half], names[half:], strict=True):
            stream: Stream = self.peek(key) or Stream()
            low = bisect_right(stream.ids, _id_of(after, 0))
            if low < len(stream.ids):
                found.append([key, stream.between(low, min(len(stream.ids), low + count))])
        return found or None

    def _xlen(self, args: Args) -> Any:
        return len((self.peek(args[0]) or Stream()).ids)

    def _xinfo(self, args: Args) -> Any:
        stream: Stream | None = self.peek(args[1])
        if stream is None:
            raise RefusedError("ERR no such key")
        told = {"length": len(stream.ids), "entries-added": stream.added, "last-generated-id": _id_text(stream.last)}
        first = stream.between(0, min(1, len(stream.ids)))
        told |= {"first-entry": first[0] if first else None, "last-entry": None}
        return [part for name, value in told.items() for part in (name.encode(), value)]

    # -- scripts ---------------------------------------------------------------------------------------

    def _script(self, args: Args) -> Any:
        if args[0].upper() != b"LOAD":
            raise RefusedError("ERR only SCRIPT LOAD is simulated")
        name = _compiled(args[1])
        self.loaded.add(name)
        return name

    def _eval(self, args: Args) -> Any:
        name = _compiled(args[0])
        self.loaded.add(name)
        return self._evalsha([name, *args[1:]])

    def _evalsha(self, args: Args) -> Any:
        name, count = args[0], int(args[1])
        if name not in self.loaded:
            raise RefusedError("NOSCRIPT No matching script. Please use EVAL.")
        keys, given = args[2 : 2 + count], args[2 + count :]
        _scripted.append(self)
        try:
            return _from_lua(_SCRIPTS[name](_lua.table_from(keys), _lua.table_from(given), _REDIS, _CJSON))
        finally:
            _scripted.pop()


class ZSet(dict[bytes, float]):
    """A sorted set, sorted when it is read."""


def _compiled(text: bytes) -> bytes:
    name = sha1(text, usedforsecurity=False).hexdigest().encode()
    if name not in _SCRIPTS:
        body = text.partition(b"\n")[2] if text.startswith(b"#!") else text
        _SCRIPTS[name] = _lua.execute(b"return function(KEYS, ARGV, redis, cjson)\n" + body + b"\nend")
    return name


def _sha1hex(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).hexdigest().encode()


def _decoded(text: bytes) -> Any:
    return _table(json.loads(text))


def _table(value: Any) -> Any:
    match value:
        case dict():
            return _lua.table_from({key.encode(): _table(each) for key, each in value.items()})
        case list():
            return _lua.table_from([_table(each) for each in value])
        case str():
            return value.encode()
        case _:
            return value


def _call(*words: Any) -> Any:
    return _to_lua(_scripted[-1].execute([_word(word) for word in words]))


_scripted: list[Server] = []
"""Whose script runs."""
# Lua is handed what lives for ever: of Python objects that come and go it may call another one in the same place.
_REDIS = _lua.table_from({b"call": _call, b"sha1hex": _sha1hex})
_CJSON = _lua.table_from({b"decode": _decoded})


def _word(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(int(value) if isinstance(value, float) else value).encode()


def _to_lua(reply: Any) -> Any:
    match reply:
        case RefusedError():
            raise reply
        case None:
            return False
        case Status():
            return _lua.table_from({b"ok": reply.encode()})
        case list():
            return _lua.table_from([_to_lua(each) for each in reply])
        case _:
            return reply


def _from_lua(value: Any) -> Any:
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, (int, float)):
        return int(value)
    if isinstance(value, bytes):
        return value
    if value[b"ok"] is not None:
        return Status(value[b"ok"].decode())
    if value[b"err"] is not None:
        raise RefusedError(value[b"err"].decode())
    parts: list[Any] = []
    while (part := value[len(parts) + 1]) is not None:
        parts.append(_from_lua(part))
    return parts


def _id_text(entry: StreamId) -> bytes:
    return b"%d-%d" % entry


def _id_of(text: bytes, seq: int) -> StreamId:
    ms, dash, rest = text.partition(b"-")
    return int(ms), int(rest) if dash else seq


def _index(ids: Sequence[StreamId], text: bytes, *, low: bool) -> int:
    """Where a range begins or ends."""
    if text in (b"-", b"+"):
        return 0 if text == b"-" else len(ids)
    beyond = text.startswith(b"(")
    entry = _id_of(text.removeprefix(b"("), 0 if low else _SEQ_MAX)
    return bisect_right(ids, entry) if low == beyond else bisect_left(ids, entry)


def resp(reply: Any) -> bytes:
    """A reply as it goes over the wire (RESP2)."""
    match reply:
        case None:
            return b"$-1\r\n"
        case Status():
            return b"+%s\r\n" % reply.encode()
        case RefusedError():
            return b"-%s\r\n" % str(reply).encode()
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case list():
            return b"*%d\r\n%s" % (len(reply), b"".join([resp(each) for each in reply]))
        case _:
            raise TypeError(f"no reply is a {type(reply).__name__}")
