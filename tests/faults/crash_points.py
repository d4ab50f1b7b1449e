"""Every crash point of append and commit, enumerated (R3): the retry and the next owner end where no crash ends.

A workload is one to three batches: new ones, the same Idempotency-Key again, late events, events with ids, a decision
between. It is raced once without a crash, and held against a naive recount; then once for every point at which its
API process or its owner can die: before each command of each write to the server, and after the last one's reply.
A fresh process goes on, the sender and the operator try again, and log, frames, counts and sets must be the same.

The server is a real one; only its clock is ours, so that two runs of a workload can be compared bit for bit.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from typing import Any, cast
from unittest import mock

import msgspec
import redis

from api.appender import Appender
from api.ingest import Taken
from racing.entries import Runner
from racing.model import Frame
from racing.rule import Rule
from racing.scorer import VenueScorer
from racing.settings import Settings
from racing.store.client import connect
from racing.store.commit import read_commit
from racing.store.desk import Desk, KeyedBatch
from racing.store.keys import VenueKeys
from racing.store.log import append_tick, read_after
from racing.store.mend import mark_checked
from racing.store.scripts import Script, source
from tests.contract.track import START_MS, packed
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.mortal import Died, Fate, MortalLine, memory_server, mortal_async_client, mortal_client
from tests.laws.compare import check_against
from tests.laws.logs import rule_of
from tests.laws.oracle import Body, Recount

VENUE = "hall-1"
KINDS = ("new", "again", "late", "ids", "decision")
"""Kinds of batch; a workload is up to three of them in any order."""
BATCHES_MAX = 3
WRITES = frozenset(
    f"{when} {command}"
    for when in ("before", "after")
    for command in ("EVAL", "EVALSHA", "XADD", "EXEC of MULTI", "EXEC")
)
"""The points around what changes anything: a death at a read leaves what one after the last write has left."""
_STEP_MS = 700
"""Between two batches: three of them cross an edge of a bucket, and with it a checkpoint."""
_QUIET_MS = (100, 1900)
"""Turns after the last batch: what is still due at once, and a tick beyond the next edge."""
_TERMS: tuple[dict[str, Any], ...] = (
    {"metric": "click", "signal": "surge", "weight": 1, "tide": True},
    {"metric": "pay_amount", "signal": "uplift", "weight": 0.3},
)
_PORTION = 11
"""Workloads that a process takes at a time."""
_TROUBLES_MAX = 10
_SETTINGS = Settings()
_CLOCK = "clock"
"""Key of the server's clock, ``<ms>-*``: what the id of a new log entry is made from."""


@dataclass
class Result:
    """What the crashes came to. It holds if every run ended as the one without a crash."""

    workloads: int = 0
    rounds: int = 0
    same: int = 0
    """Points left out of the short form, which are like another one of their run."""
    points: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    retries: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        return bool(self.rounds and self.acknowledged and not (self.lost or self.doubled or self.different))

    def add(self, other: Result) -> None:
        """Take in what another process found."""
        for name in ("workloads", "rounds", "same", "acknowledged", "retries", "lost", "doubled", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.points = dict(Counter(self.points) + Counter(other.points))
        self.troubles = [*self.troubles, *other.troubles][:_TROUBLES_MAX]

    def trouble(self, text: str) -> None:
        """Keep the first few."""
        self.different += 1
        if len(self.troubles) < _TROUBLES_MAX:
            self.troubles.append(text[:600])


# -- workloads -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sending:
    """What a sender or an operator wants done: a batch under its key, or a rule and a runner."""

    key: str
    body: Body


def workloads() -> Iterator[tuple[str, ...]]:
    """All of up to three batches."""
    for size in range(1, BATCHES_MAX + 1):
        yield from itertools.product(KINDS, repeat=size)


def sendings(workload: Sequence[str]) -> list[list[Sending]]:
    """What is sent at each step; ``again`` sends the last batch once more, or a first one twice."""
    steps: list[list[Sending]] = []
    last: Sending | None = None
    for index, kind in enumerate(workload):
        if kind == "decision":
            number = 3 + sum(kind == "decision" for kind in workload[:index])
            steps.append([Sending("", {"rule": _rule(index + 2)}), Sending("", {"enrol": {number: {}}})])
            continue
        if kind == "again" and last is not None:
            steps.append([last])
            continue
        last = Sending(f"key-{index}", {"events": _events(kind, index, START_MS + _STEP_MS * (index + 1))})
        steps.append([last, last] if kind == "again" else [last])
    return steps


def _rule(weight: float) -> dict[str, Any]:
    return rule_of(*({**term, "weight": term["weight"] * weight} for term in _TERMS), board={"slots": 3})


def _events(kind: str, index: int, now_ms: int) -> list[dict[str, Any]]:
    runner = index % 3
    if kind == "late":  # in the window, in the base, and too late to count
        return [
            {"type": "click", "runner": runner, "ts_ms": now_ms - 1500},
            {"type": "pay", "runner": 1, "amount": 70, "ts_ms": now_ms - 5000},
            {"type": "click", "runner": runner, "ts_ms": now_ms - 60_000},
        ]
    if kind == "ids":  # one id in every such batch, one that is new, and a refund of the batch before
        return [
            {"type": "click", "runner": 1, "id": "same"},
            {"type": "pay", "runner": 1, "amount": 100 + index, "id": f"pay-{index}"},
            {"type": "refund", "runner": 1, "id": f"pay-{index - 1}"},
        ]
    return [
        {"type": "click", "runner": runner},
        {"type": "click", "runner": runner},
        {"type": "pay", "runner": (index + 1) % 3, "amount": 10 * (index + 1)},
    ]


# -- one run -------------------------------------------------------------------------------------------------


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
        keyed = KeyedBatch(body, sending.key, body.hex()[:32], b"{}", keep_ms=900_000)
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

    def __init__(self, url: str, admin: Any, fate: Fate, *, warm: bool) -> None:
        self._url = url
        self._admin = admin
        self._warm = warm
        self._fate = fate
        self._keys = VenueKeys(VENUE)
        self._api: Api | None = None
        self._client: Any = None
        self.owner: VenueScorer | None = None
        self.now_ms = START_MS
        self.version = 1
        self.retries = 0
        self.journal: list[tuple[int, Body]] = []

    def let_pass(self, ms: int) -> None:
        """Move the server's clock."""
        self.now_ms += ms
        self._admin.set(_CLOCK, f"{self.now_ms}-*")

    async def open(self) -> None:
        """An empty server, and a venue with a rule and three runners."""
        self._admin.flushall()
        if self._warm:
            mark_checked(self._admin, self._keys, _run_id(self._admin))
        self.let_pass(0)
        desk = self._a_living().desk
        await desk.create(VENUE, "Hall 1", Rule.model_validate(_rule(1)), author="t")
        await desk.enrol(VENUE, [_runner(number) for number in range(3)])
        self.journal += [(self.now_ms, {"rule": _rule(1)}), (self.now_ms, {"enrol": {0: {}, 1: {}, 2: {}}})]

    def _a_living(self) -> Api:
        if self._api is None:
            self._api = Api(self._url, self._fate)
        return self._api

    async def send(self, sending: Sending) -> None:
        """Try until it is done. The journal has each batch once, however often its key comes."""
        while True:
            try:
                await self._try(self._a_living(), sending)
            except Died:
                self.retries += 1
                await self._end_api()
            else:
                break
        known = any(sending.body is body for _, body in self.journal)
        if not known:
            self.journal.append((self.now_ms, sending.body))

    async def _try(self, api: Api, sending: Sending) -> None:
        if "events" in sending.body:
            await api.append(sending)
        elif "enrol" in sending.body:
            await api.desk.enrol(VENUE, [_runner(number) for number in sending.body["enrol"]])
        else:
            await self._change_rule(api, sending.body["rule"])

    async def _change_rule(self, api: Api, document: dict[str, Any]) -> None:
        """An operator who looks first whether the change before the crash was made."""
        rule = Rule.model_validate(document)
        current = await api.desk.rule(VENUE)
        if current.version == self.version:
            await api.desk.put_rule(VENUE, rule, after=self.version, author="t", note="")
        self.version += 1

    def turn(self) -> None:
        """What the owner does in one round of its loop; a fresh one where it dies."""
        while True:
            try:
                self._turn()
            except Died:
                self._end_owner()
            else:
                return

    def _turn(self) -> None:
        if self.owner is None:
            self._client = mortal_client(self._url, self._fate)
            untyped: Any = type(self._client)
            client, clock = self._client, self._admin
            client.xadd = lambda name, fields: untyped.xadd(client, name, fields, id=clock.get(_CLOCK).decode())
            self.owner = VenueScorer(self._client, self._keys, _SETTINGS)
        owner = self.owner
        entries = read_after(self._client, self._keys, owner.race.position)
        if not entries and owner.tick_due(self.now_ms):
            append_tick(self._client, self._keys)
            entries = read_after(self._client, self._keys, owner.race.position)
        owner.step(entries, self.now_ms)

    def _end_owner(self) -> None:
        self.retries += 1
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


async def raced(url: str, admin: Any, workload: Sequence[str], fate: Fate) -> tuple[World, Seen]:
    """Race a workload under a fate. In workloads of one batch the first owner also compares all sets."""
    world = World(url, admin, fate, warm=len(workload) > 1)
    try:
        await world.open()
        fate.armed = True
        for step in sendings(workload):
            world.let_pass(_STEP_MS)
            for sending in step:
                await world.send(sending)
            world.turn()
        for pause_ms in _QUIET_MS:
            world.let_pass(pause_ms)
            world.turn()
        fate.armed = False
        return world, world.seen()
    finally:
        await world.end()


# -- all runs ------------------------------------------------------------------------------------------------


def recounted(world: World, seen: Seen) -> Recount:
    """The journal's naive recount, with the ticks of the log between: they move time and nothing else."""
    ticks = [(int(name.split(b"-")[0]), {"tick": True}) for name, fields in seen.log if b"tick" in fields]
    log = sorted([*world.journal, *ticks], key=lambda entry: entry[0])
    assert [at_ms for at_ms, _ in log] == [int(name.split(b"-")[0]) for name, _ in seen.log]
    recount = Recount(_rule(1))
    for moment_ms, body in log:
        recount.fold(moment_ms, body)
    return recount


def totals(seen: Seen) -> Counter[tuple[str, int]]:
    """What Redis says was counted in all, by (kind, runner)."""
    return Counter(
        {
            (kind, int(member)): int(value)
            for kind in ("click", "pay", "refund")
            for member, value in seen.sets.get(f"total:{kind}:count", [])
        }
    )


async def _workload(url: str, admin: Any, workload: Sequence[str], result: Result, *, deep: bool) -> None:
    plain = Fate()
    world, right = await raced(url, admin, workload, plain)
    assert world.owner is not None
    recount = recounted(world, right)
    check_against(recount, world.owner.race)
    for at, name in enumerate(plain.names):
        if not deep and len(workload) > 1 and name not in WRITES:
            result.same += 1
            continue
        world, seen = await raced(url, admin, workload, Fate(at=at))
        _count(f"{' '.join(workload)}, point {at} {name}", recount, right, seen, result)
        result.rounds += 1
        result.points[name] = result.points.get(name, 0) + 1
        result.acknowledged += sum(len(body.get("events", [])) for _, body in world.journal)
        result.retries += world.retries
    result.workloads += 1


def _count(where: str, recount: Recount, right: Seen, seen: Seen, result: Result) -> None:
    """Hold a run against the journal's recount and against the run without a crash."""
    expected = Counter(
        {
            (kind, runner): int(recount.sum(runner, (kind, "count"), "total"))
            for kind in ("click", "pay", "refund")
            for runner in recount.attributes
        }
    )
    found = totals(seen)
    result.lost += sum((expected - found).values())
    result.doubled += sum((found - expected).values())
    for what in ("log", "frames", "position", "counts", "sets"):
        if getattr(seen, what) != getattr(right, what):
            result.trouble(f"{where}: {what} {getattr(seen, what)}")


async def _all(url: str, chosen: Sequence[Sequence[str]], result: Result, *, deep: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(_hear)
    admin: Any = connect(url)
    for workload in chosen:
        await _workload(url, admin, workload, result, deep=deep)
    admin.close()


def _hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task that died with its process is no news."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)


def _dated(name: Script) -> str:
    """A script whose log entries come at the time of our clock."""
    return source(name).replace("'*'", f"redis.call('GET', '{_CLOCK}')")


def crash_all(chosen: Sequence[Sequence[str]], *, deep: bool, scripts: Callable[[Script], str] = _dated) -> Result:
    """Every crash point of these workloads, on a server of their own; not deep: of two batches or more, WRITES only."""
    result = Result()
    version = redis.__version__  # looked up on disk for every client otherwise, which took a fifth of the time
    with (
        memory_server() as url,
        mock.patch("racing.store.desk.source", scripts),
        mock.patch("redis.utils.get_lib_version", return_value=version),
    ):
        asyncio.run(_all(url, chosen, result, deep=deep))
    return result


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, deep: bool = True) -> Result:
    """Every crash point of the first so many workloads, in as many processes as there are cores. Nothing is drawn."""
    begun_s = time.monotonic()
    whole = Result()
    chosen = list(itertools.islice(workloads(), rounds))
    portions = [chosen[first : first + _PORTION] for first in range(0, len(chosen), _PORTION)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for result in pool.map(partial(crash_all, deep=deep), portions):
            whole.add(result)
            tell(f"{whole.workloads} workloads, {whole.rounds} crashes, {whole.different} different")
    whole.seconds = round(time.monotonic() - begun_s, 1)
    return whole


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line; --rounds is of no account, for the workloads are what they are."""
    deep = "--quick" not in arguments

    def every(rounds: int, *, seed: int, tell: Tell) -> Result:
        return run(sum(len(KINDS) ** size for size in range(1, BATCHES_MAX + 1)), seed=seed, tell=tell, deep=deep)

    return run_from_command_line("crash_points", every, arguments, rounds=0, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
