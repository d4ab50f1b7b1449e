"""What Redis would hold of venues and their frames, without Redis; and views, frames and runners, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from api.frames import Frames
from api.view import VenueView
from racing.entries import Runner
from racing.errors import StaleNumbersError, StoreUnavailableError
from racing.model import END, Frame, Position, Slot, Term
from racing.rule import DEFAULT_RULE
from racing.store.commit import CommitRecord
from racing.store.documents import RuleVersion
from racing.store.keys import VenueKeys
from racing.store.numbers import Mark, Numbers
from racing.store.venues import Venue

AWAY = StoreUnavailableError("Redis is away")


def frame_of(
    *products: str, number: int = 1, rule_version: int = 1, roster: int = 1, venue: str = "hall-1", at_ms: int = 1000
) -> Frame:
    slots = tuple(
        Slot(index + 1, index, product, 1.5, (Term("click level", 0.5, 3.0, 1.5),))
        for index, product in enumerate(products)
    )
    return Frame(venue, number, 7, f"{number}-0", at_ms, rule_version, len(products), roster, slots)


def runner_of(product: str, **data: Any) -> Runner:
    return Runner(product, "m-1", f"The {product}", **data)


def view_of(*products: str, read_ahead: bool = False) -> VenueView:
    made = VenueView(Venue("hall-1", "Hall", 0), frame_of(), DEFAULT_RULE, 1, read_ahead=read_ahead)
    made.show(frame_of(*products), {index: runner_of(product) for index, product in enumerate(products)})
    return made


class FakeStore:
    """Desk, client and reader in one: what Redis would hold, and whether it answers."""

    def __init__(self) -> None:
        self.away = False
        self.listed: list[str] = []
        self.version = RuleVersion(1, DEFAULT_RULE.model_dump(mode="json"), "a", "", 0)
        self.products: dict[str, int] = {}
        self.known: dict[int, Runner] = {}
        self.published: asyncio.Queue[tuple[str, Frame]] = asyncio.Queue()
        self.commit: CommitRecord | None = None
        self.asked: list[tuple[str, Any]] = []
        self.while_listing: list[str] = []
        self.listing = asyncio.Event()
        self.ahead = 0
        self.venues = self.rules = self.runners = self
        self.stream: list[Frame] = []
        self._commits_asked = 0

    def _answer(self, what: str, about: Any) -> None:
        self.asked.append((what, about))
        if self.away:
            raise AWAY

    async def secret(self) -> bytes:
        return bytes(32)

    async def all(self) -> list[Venue]:
        self._answer("venues", None)
        listed = [Venue(name, name, 5) for name in self.listed]
        self.listed += self.while_listing
        self.listing.set()
        await asyncio.sleep(0)
        return listed

    async def read(self, venue: str, version: int | None = None) -> RuleVersion:
        self._answer("rule", venue)
        await asyncio.sleep(0)
        return self.version

    def _mark(self) -> Mark:
        return Mark(len(self.products) - 1, b"-".join(map(str.encode, self.products)))

    async def numbers(self, venue: str, products: Sequence[str], since: Mark) -> Numbers:
        self._answer("numbers", list(products))
        if not self._mark().digest.startswith(since.digest):
            raise StaleNumbersError("lost")
        found = {product: self.products[product] for product in products if product in self.products}
        read = Numbers(found, self._mark())
        await asyncio.sleep(0)
        return read

    async def first_numbers(self, venue: str, *, at_most: int) -> Numbers:
        self._answer("first_numbers", at_most)
        await asyncio.sleep(0)
        return Numbers(dict(list(self.products.items())[: min(at_most, self.ahead)]), self._mark())

    async def by_number(self, venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        self._answer("runners", list(numbers))
        return {number: self.known[number] for number in numbers if number in self.known}

    async def xrange(self, name: str, *, min: str, count: int) -> list[Any]:  # noqa: A002  # redis-py's own name
        """Of the stream at rest: what is published is queued beside it."""
        self._answer("xrange", min)
        await asyncio.sleep(0)
        after = min.startswith("(")
        least = Position.parse(min.removeprefix("("))
        found = [f for f in self.stream if f.place > least or (f.place == least and not after)]
        return [(frame.name.encode(), {b"frame": msgspec.json.encode(frame)}) for frame in found[:count]]

    async def xrevrange(self, name: str, *, max: str, count: int) -> list[Any]:  # noqa: A002  # redis-py's own name
        self._answer("xrevrange", max)
        before = max.startswith("(")
        most = END if max == "+" else Position.parse(max.removeprefix("("))
        found = [f for f in self.stream if f.place < most or (f.place == most and not before)]
        return [(frame.name.encode(), {b"frame": msgspec.json.encode(frame)}) for frame in found[::-1][:count]]

    def pipeline(self, *, transaction: bool) -> FakeStore:
        self._commits_asked = 0
        return self

    def execute_command(self, *args: Any) -> None:
        """XREAD, queued; execute answers."""

    def time(self) -> None:
        """Queued; execute answers."""

    def get(self, name: str) -> None:
        """Queued; execute answers."""
        self._commits_asked += 1

    async def execute(self) -> list[Any]:
        if self.away:
            raise AWAY
        streams = await self._newest()
        commit = self.commit and msgspec.json.encode(self.commit)
        return [streams, (100, 500_000), *([commit] * self._commits_asked)]

    async def _newest(self) -> list[Any] | None:
        try:
            venue, frame = await asyncio.wait_for(self.published.get(), 0.01)
        except TimeoutError:
            return None
        raw = {b"frame": msgspec.json.encode(frame)}
        return [(VenueKeys(venue).frames.encode(), [(frame.name.encode(), raw)])]


async def shown(view: VenueView, number: int) -> None:
    """Return when this frame is the current one."""
    async with asyncio.timeout(5):
        while view.frame.frame != number:
            await view.shown.wait()


async def eventually(look: Callable[[], bool]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110  # what is looked at sets no event
            await asyncio.sleep(0)


async def followed(frames: Frames, store: FakeStore) -> VenueView:
    """The view of the one venue, with its frames followed."""
    store.listed = ["hall-1"]
    store.known = {0: runner_of("p-1"), 1: runner_of("p-2")}
    await frames.refresh()
    await frames.start()
    return frames.views["hall-1"]
