"""A venue raced by hand through the real API side and a real owner, both of which may die at any point (mortal.py).

The server is a real one; only its clock is ours, so that two runs can be compared bit for bit. The journal has what
was acknowledged, in order, and is all that a naive recount needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from unittest import mock

import msgspec
import redis

from api.appender import Appender
from api.taken import Taken
from racing.entries import Runner
from racing.errors import FencedError, StoreUnavailableError
from racing.model import Frame
from racing.rule import Rule
from racing.scorer import VenueScorer
from racing.settings import Settings
from racing.store.commit import read_commit
from racing.store.desk import Desk, KeyedBatch
from racing.store.keys import VenueKeys
from racing.store.log import append_tick, read_after
from racing.store.mend import mark_checked
from racing.store.scripts import Script, source
from tests.contract.track import START_MS, packed
from tests.faults.mortal import Died, Fate, MortalLine, memory_server, mortal_async_client, mortal_client
from tests.laws.oracle import Body, Recount
from tests.untold import untold

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
_PATIENT_S = 60.0
_TRIES_MAX = 50
_SETTINGS = Settings()
_CLOCK = "clock"
"""Key of the server's clock, ``<ms>-*``: what the id of a new log entry is made from."""


@dataclass(frozen=True)
class Sending:
    """What a sender or an operator wants done: a batch under its key, or a rule and a runner."""

    key: str
    body: Body


@dataclass
class Seen:
    """All that is left of a run for anybody to see, epochs left out; and the recount of what was acknowledged."""

    log: list[Any]
    frames: list[Any]
    position: str
    counts: dict[str, int]
    sets: dict[str, list[Any]]


class Api:
    """The writing side of one API process, until it dies."""

    def __init__(self, url: str, fate: Fate) -> None:
        self._client = mortal_async_client(url, fate)
        self._line = MortalLine(self._client, fate)
        self.desk = Desk(self._client, self._line)
        self._appender = Appender(self.desk, VENUE, b"secret")

    async def append(self, sending: Sending) -> None:
        """Return when the batch is acknowledged. Raises Died."""
        body = packed(sending.body)
        keyed = KeyedBatch(body, sending.key, body.hex()[:32], b"{}")
        batch = cast("Taken", sending.body["events"])  # only its length is asked for where there is a key
        asked = asyncio.ensure_future(self._appender.append(batch, keyed))
        first_of: set[asyncio.Future[Any]] = {asked, self._line.dead}
        await asyncio.wait(first_of, return_when=asyncio.FIRST_COMPLETED)
        if self._line.dead.done():
            asked.cancel()
            raise Died
        await asked

    async def bury(self) -> None:
        """Close what a dead process leaves open."""
        self._line.close()
        await self._client.aclose()


class World:
    """One venue, its API process, its owner, and the server's clock."""

    def __init__(self, url: str, admin: Any, fate: Fate, rule: dict[str, Any], *, warm: bool) -> None:
        self._url = url
        self._admin = admin
        self._rule = rule
        self._warm = warm
        self._fate = fate
        self._keys = VenueKeys(VENUE)
        self._api: Api | None = None
        self._client: Any = None
        self.owner: VenueScorer | None = None
        self.now_ms = START_MS
        self.log_ms = START_MS
        self.skew_ms = 0
        self.version = 1
        self.retries = self.fenced = 0
        self.journal: list[tuple[int, Body]] = []

    def let_pass(self, ms: int) -> None:
        """Move the server's clock; back, if ms is negative: then new log entries still come after the last one.

        skew_ms: so far ahead of it is what the owner takes for it.
        """
        self.now_ms += ms
        self.log_ms = max(self.log_ms, self.now_ms)
        self._admin.set(_CLOCK, f"{self.log_ms}-*")

    async def open(self) -> None:
        """An empty server, and a venue with a rule and three runners."""
        self._admin.flushall()
        if self._warm:
            mark_checked(self._admin, self._keys, _run_id(self._admin))
        self.let_pass(0)
        desk = self._a_living().desk
        await desk.venues.create(VENUE, "Hall 1", Rule.model_validate(self._rule), author="t")
        await desk.runners.enrol(VENUE, [_runner(number) for number in range(3)])
        self.journal += [(self.log_ms, {"rule": self._rule}), (self.log_ms, {"enrol": {0: {}, 1: {}, 2: {}}})]

    def _a_living(self) -> Api:
        if self._api is None:
            self._api = Api(self._url, self._fate)
        return self._api

    async def send(self, sending: Sending) -> None:
        """Try until it is done. The journal has each batch once, however often its key comes."""
        for _ in range(_TRIES_MAX):
            try:
                await self._try(self._a_living(), sending)
            except Died:
                self.retries += 1
                await self._end_api()
            except StoreUnavailableError:
                continue  # no answer in time, on a busy machine: a sender would be told 503, and send it again
            else:
                break
        else:
            raise AssertionError(f"not acknowledged in {_TRIES_MAX} tries: {sending}")
        known = any(sending.body is body for _, body in self.journal)
        if not known:
            self.journal.append((self.log_ms, sending.body))

    async def _try(self, api: Api, sending: Sending) -> None:
        if "events" in sending.body:
            await api.append(sending)
        elif "enrol" in sending.body:
            await api.desk.runners.enrol(VENUE, [_runner(number) for number in sending.body["enrol"]])
        else:
            await self._change_rule(api, sending.body["rule"])

    async def _change_rule(self, api: Api, document: dict[str, Any]) -> None:
        """An operator who looks first whether the change before the crash was made."""
        rule = Rule.model_validate(document)
        current = await api.desk.rules.read(VENUE)
        if current.version == self.version:
            await api.desk.rules.put(VENUE, rule, after=self.version, author="t", note="")
        self.version += 1

    def turn(self) -> None:
        """What the owner does in one round of its loop; a fresh one where it dies, or is one no longer."""
        while True:
            try:
                self._turn()
            except Died:
                self.retries += 1
                self.end_owner()
            except FencedError:
                self.fenced += 1
                self.end_owner()
            else:
                return

    def _turn(self) -> None:
        if self.owner is None:
            self._client = mortal_client(self._url, self._fate)
            untyped: Any = type(self._client)
            client, clock = self._client, self._admin
            client.xadd = lambda name, fields: untyped.xadd(client, name, fields, id=clock.get(_CLOCK).decode())
            self.owner = VenueScorer(self._client, self._keys, _SETTINGS)
        owner, now_ms = self.owner, self.now_ms + self.skew_ms
        entries = read_after(self._client, self._keys, owner.race.position)
        if not entries and owner.tick_due(now_ms):
            append_tick(self._client, self._keys)
            entries = read_after(self._client, self._keys, owner.race.position)
        owner.step(entries, now_ms)

    def end_owner(self) -> None:
        """There is no owner now; the next turn has a fresh one."""
        self.owner = None
        self._client.close()

    async def _end_api(self) -> None:
        if self._api is not None:
            await self._api.bury()
            self._api = None

    async def end(self) -> None:
        """Close every connection."""
        await self._end_api()
        if self._client is not None:
            self._client.close()

    def complete(self) -> bool:
        """Whether everything in the log is folded, and the sets are written."""
        commit = read_commit(self._admin, self._keys)
        last = self._admin.xrevrange(self._keys.log, count=1)[0][0].decode()
        return bool(commit.position == commit.sets_position == last)

    def seen(self) -> Seen:
        """What anybody can see now."""
        keys, admin = self._keys, self._admin
        parts = ("standings", "window:", "delta:", "total:")
        names = sorted(key for key in admin.keys("saima:*") if key.decode().split("}:")[1].startswith(parts))
        commit = read_commit(admin, keys)
        assert commit.position == commit.sets_position, commit
        return Seen(
            log=admin.xrange(keys.log),
            frames=[_shown(fields[b"frame"]) for _, fields in admin.xrange(keys.frames)],
            position=commit.position,
            counts=commit.counts,
            sets={key.decode().split("}:")[1]: admin.zrange(key, 0, -1, withscores=True) for key in names},
        )


@cache
def _run_id(admin: Any) -> str:
    return str(admin.info("server")["run_id"])


def _runner(number: int) -> Runner:
    return Runner(f"product-{number}", "merchant", "title")


def _shown(raw: bytes) -> Frame:
    return msgspec.structs.replace(msgspec.json.decode(raw, type=Frame), epoch=0)


def recounted(journal: list[tuple[int, Body]], entries: list[Any]) -> Recount:
    """The journal's naive recount, with the ticks of the log between: they move time and nothing else."""
    ticks = [(int(name.split(b"-")[0]), {"tick": True}) for name, fields in entries if b"tick" in fields]
    log = sorted([*journal, *ticks], key=lambda entry: entry[0])
    assert [at_ms for at_ms, _ in log] == [int(name.split(b"-")[0]) for name, _ in entries]
    recount = Recount(journal[0][1]["rule"])
    for moment_ms, body in log:
        recount.fold(moment_ms, body)
    return recount


def totals(seen: Seen) -> Counter[tuple[str, int]]:
    """What Redis says was counted in all, by (kind, runner)."""
    return Counter(
        {
            (kind, int(member)): int(value)
            for kind in ("click", "order", "pay", "refund", "scan")
            for member, value in seen.sets.get(f"total:{kind}:count", [])
        }
    )


def hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task that died with its process is no news."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)


def dated(name: Script) -> str:
    """A script whose log entries come at the time of our clock."""
    return source(name).replace("'*'", f"redis.call('GET', '{_CLOCK}')")


@contextlib.contextmanager
def our_clock(scripts: Callable[[Script], str] = dated) -> Iterator[str]:
    """The URL of a server whose log entries come at the time of our clock, however long the machine makes us wait."""
    version = redis.__version__  # looked up on disk for every client otherwise, which took a fifth of the time
    with (
        untold(),
        memory_server() as url,
        mock.patch("racing.store.commands.source", scripts),
        mock.patch("racing.store.desk.source", scripts),
        mock.patch("racing.store.client.SOCKET_TIMEOUT_S", _PATIENT_S),
        mock.patch("racing.store.line.SOCKET_TIMEOUT_S", _PATIENT_S),
        mock.patch("redis.utils.get_lib_version", return_value=version),
    ):
        yield url
