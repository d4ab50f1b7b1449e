"""Senders, an operator and readers, with a journal of their own: what was sent, and what was acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from api.bodies import JSON
from api.packed import MEDIA_TYPE
from api.sending import Sent, send
from racing.entries import Runner
from racing.errors import ConflictError, StoreError
from racing.model import Frame
from racing.rule import parse_rule
from tests.simulation.plan import rule_of
from tests.simulation.world import VENUE, Api, World

KINDS = ("click", "click", "click", "order", "pay")
_PATIENCE_S = 2.0
"""A sender waits so long for an answer; then it sends again, if it has a key."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One event: its number is its amount, so that it is found wherever it is counted."""

    number: int
    kind: str
    runner: int
    named: bool


@dataclass
class Journal:
    """What senders know."""

    marks: dict[int, Mark] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    answers: int = 0
    retries: int = 0
    wrong: list[str] = field(default_factory=list)


class Sender:
    """One source of events: a batch, its answer, a pause, and the next."""

    def __init__(self, world: World, name: str, apis: Callable[[], list[Api]], journal: Journal) -> None:
        self._world, self._name, self._apis, self._journal = world, name, apis, journal
        self._random = world.rng(name)
        self._batches = 0
        self._named: list[Mark] = []

    async def run(self) -> None:
        """Send until the run ends; what has a key is sent until it is acknowledged."""
        end_s = self._world.plan.run_s
        while self._world.loop.time() < end_s:
            await asyncio.sleep(self._random.choice([0.01, 0.05, 0.1, 0.3]))
            await self._send()

    def _marks(self) -> list[Mark]:
        plan, rng, journal = self._world.plan, self._random, self._journal
        marks = []
        for _ in range(rng.choice([1, 1, 2, 5])):
            if self._named and rng.random() < plan.repeated:
                marks.append(rng.choice(self._named))
                continue
            number = len(journal.marks) + 1
            named = rng.random() < plan.repeated
            mark = journal.marks[number] = Mark(number, rng.choice(KINDS), rng.randrange(plan.runners), named)
            marks.append(mark)
            if named:
                self._named.append(mark)
        return marks

    async def _send(self) -> None:
        plan, rng, journal = self._world.plan, self._random, self._journal
        marks = self._marks()
        self._batches += 1
        key = f"{self._name}-{self._batches}" if rng.random() < plan.keyed else None
        sent = packed(marks, key) if rng.random() < plan.packed else plain(marks, key)
        while not await self._acknowledged(sent):
            if key is None:
                return  # it may have been counted, and sending it again might count it twice
            journal.retries += 1
            await asyncio.sleep(rng.uniform(0.01, 0.3))
        journal.acknowledged.update(mark.number for mark in marks)
        journal.answers += 1
        self._world.note(self._name, b"acknowledged %d" % self._batches)

    async def _acknowledged(self, sent: Sent) -> bool:
        """Send once; whether it was answered that all is taken."""
        rng, lost = self._random, self._world.plan.lost
        apis = [api for api in self._apis() if api.alive]
        if not apis:
            return False
        api = rng.choice(apis)
        await asyncio.sleep(rng.uniform(0.0, 0.002))
        if not api.alive or rng.random() < lost:
            return False
        task = api.spawn(_serve(api, sent))
        await asyncio.wait({task}, timeout=_PATIENCE_S)
        if not task.done() or task.cancelled():
            return False
        error = task.exception()
        if rng.random() < lost:
            return False
        if error is None:
            answer = json.loads(task.result())
            if answer["refused"]:
                self._journal.wrong.append(f"{self._name}: events were refused: {answer['refused']}")
            return True
        if not isinstance(error, StoreError):
            self._journal.wrong.append(f"{self._name}: an answer that no sender should get: {error!r}")
        return False


async def _serve(api: Api, sent: Sent) -> bytes:
    """What the route does."""
    view = await api.service.frames.view(VENUE)
    if view is None:
        raise StoreError("the venue is not seen yet")
    return await send(api.service, view, sent)


def plain(marks: list[Mark], key: str | None) -> Sent:
    """A batch as JSON."""
    events = [
        {
            "type": mark.kind,
            "product": f"p-{mark.runner}",
            "amount": mark.number,
            **({"id": f"id-{mark.number}"} if mark.named else {}),
        }
        for mark in marks
    ]
    return Sent(json.dumps({"events": events}).encode(), JSON, key)


def packed(marks: list[Mark], key: str | None) -> Sent:
    """A batch as packed columns."""
    kinds = sorted({mark.kind for mark in marks})
    products = sorted({mark.runner for mark in marks})
    body: dict[str, Any] = {
        "kinds": kinds,
        "products": [f"p-{runner}" for runner in products],
        "kind": np.array([kinds.index(mark.kind) for mark in marks], "u1").tobytes(),
        "product": np.array([products.index(mark.runner) for mark in marks], "<u4").tobytes(),
        "amount": np.array([mark.number for mark in marks], "<i8").tobytes(),
    }
    if any(mark.named for mark in marks):
        body["ids"] = [f"id-{mark.number}" if mark.named else None for mark in marks]
    return Sent(msgspec.msgpack.encode(body), MEDIA_TYPE, key)


async def open_venue(world: World, api: Api) -> None:
    """The venue with its first rule and its runners."""
    plan = world.plan
    desk = api.service.desk
    await desk.venues.create(VENUE, "Hall 1", parse_rule(plan.rule), author="operator")
    await desk.runners.enrol(VENUE, [Runner(f"p-{index}", "m", "t") for index in range(plan.runners)])


async def operate(world: World, apis: Callable[[], list[Api]]) -> None:
    """Now and then a new rule, or a runner who changes or joins; each is tried until it is answered."""
    rng = world.rng("operator")
    end_s = world.plan.run_s
    joined = world.plan.runners
    while True:
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        alive = [api for api in apis() if api.alive]
        if world.loop.time() >= end_s:
            return
        if not alive:
            continue
        api = rng.choice(alive)
        if rng.random() < 0.5:
            await _done(api, _rule_changed(api, rule_of(rng)))
        else:
            joined += 1
            runner = Runner(f"p-{rng.randrange(joined)}", "m", f"title {joined}", entry_score=rng.uniform(0, 3))
            await _done(api, api.service.desk.runners.enrol(VENUE, [runner]))


async def _rule_changed(api: Api, rule: dict[str, Any]) -> None:
    now = await api.service.desk.rules.read(VENUE)
    await api.service.desk.rules.put(VENUE, parse_rule(rule), after=now.version, author="operator", note="")


async def _done(api: Api, work: Any) -> None:
    """Wait for what an API process does; it may die over it."""
    task = api.spawn(work)
    await asyncio.wait({task})
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, (StoreError, ConflictError)):
        raise error


class Reader:
    """Looks at the board through one API process after the other, and remembers every frame."""

    def __init__(self, world: World, apis: Callable[[], list[Api]]) -> None:
        self._world, self._apis = world, apis
        self.frames: dict[str, Frame] = {}
        self.wrong: list[str] = []
        self._newest: dict[str, tuple[int, int]] = {}

    async def run(self) -> None:
        """Look all the time."""
        while True:
            await asyncio.sleep(0.05)
            for api in self._apis():
                view = api.service.frames.views.get(VENUE)
                if api.alive and view is not None and view.frame.frame:
                    self._look(api.name, view.frame, view.slots(100, stale=False).body)

    def _look(self, api: str, frame: Frame, body: bytes) -> None:
        before = self._newest.get(api, (0, 0))
        if (frame.epoch, frame.frame) == before:
            return
        if (frame.epoch, frame.frame) < before:
            self.wrong.append(f"{api}: showed frame {frame.name} after {before[0]}-{before[1]}")
        self._newest[api] = (frame.epoch, frame.frame)
        self._world.note(api, b"shows " + frame.name.encode())
        if self.frames.setdefault(frame.name, frame) != frame:
            self.wrong.append(f"{api}: frame {frame.name} differs from what another reader saw")
        told = [(slot["product"], slot["score"]) for slot in json.loads(body)["slots"]]
        if told != [(slot.product, slot.score) for slot in frame.slots]:
            self.wrong.append(f"{api}: the answer made of frame {frame.name} shows another order")
