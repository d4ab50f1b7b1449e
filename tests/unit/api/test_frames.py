"""Frames in memory: what a process knows of each venue, and how that stays fresh while the store comes and goes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api import frames as module
from api.frames import Frames
from api.view import STALE_MS, VenueView
from racing.entries import Runner
from racing.errors import OverloadedError, StaleNumbersError, StoreUnavailableError
from racing.formats import FORMAT
from racing.model import END, Frame, Position, Slot, Term
from racing.rule import DEFAULT_RULE
from racing.store.commit import CommitRecord
from racing.store.desk import Venue
from racing.store.documents import RuleVersion
from racing.store.keys import VenueKeys
from racing.store.numbers import Mark, Numbers

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


# ------------------------------------------------------------------------------------------------ one view


def test_data_before_the_first_commit_has_no_age_and_is_not_stale() -> None:
    view = view_of()
    assert (view.age(), view.stale()) == (None, False)


def test_data_grows_old_by_the_clock_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of Redis is needed for it: that is just when it matters."""
    view = view_of()
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    view.age_ms, view.age_read_s = 120.0, 10.0
    assert (view.age(), view.stale()) == (120, False)
    monkeypatch.setattr(time, "monotonic", lambda: 10.0 + (STALE_MS - 120) / 1000)
    assert view.stale() is False
    monkeypatch.setattr(time, "monotonic", lambda: 20.0)
    assert (view.age(), view.stale()) == (10_120, True)


def test_a_body_shows_the_slots_with_the_data_of_their_runners() -> None:
    """What a runner was not given is left out."""
    view = view_of()
    view.show(frame_of("p-1", "p-2"), {0: runner_of("p-1", price=5, tier="A"), 1: runner_of("p-2")})
    terms = [{"name": "click level", "weight": 0.5, "value": 3.0, "contribution": 1.5}]
    assert json.loads(view.slots(50, stale=False).body) == {
        "venue": "hall-1",
        "frame": 1,
        "epoch": 7,
        "position": "1-0",
        "at_ms": 1000,
        "rule_version": 1,
        "runners": 2,
        "served": "race",
        "phase": "",
        "phase_ends_ms": None,
        "told": [],
        "conflicts": 0,
        "moved_since_ms": None,
        "stale": False,
        "evolved": False,
        "next": None,
        "slots": [
            {
                "slot": 1,
                "product": "p-1",
                "merchant": "m-1",
                "title": "The p-1",
                "tier": "A",
                "price": 5,
                "score": 1.5,
                "terms": terms,
            },
            {"slot": 2, "product": "p-2", "merchant": "m-1", "title": "The p-2", "score": 1.5, "terms": terms},
        ],
    }


def test_a_slot_whose_runner_is_not_known_is_shown_without_data() -> None:
    view = view_of()
    view.show(frame_of("p-1"), {})
    assert json.loads(view.slots(1, stale=False).body)["slots"][0]["product"] == "p-1"


def test_a_body_is_encoded_once_for_each_limit_and_state() -> None:
    """Limits beyond the board are one."""
    view = view_of("p-1", "p-2")
    body = view.slots(2, stale=False).body
    assert view.slots(2, stale=False).body is body
    assert view.slots(1000, stale=False).body is body
    assert len(json.loads(view.slots(1, stale=False).body)["slots"]) == 1
    stale = json.loads(view.slots(2, stale=True).body)
    assert stale == {**json.loads(body), "stale": True, "served": "last_frame"}


def test_a_new_frame_has_bodies_of_its_own() -> None:
    view = view_of("p-1")
    before = view.slots(1, stale=False).body
    view.show(frame_of("p-2", number=2), {0: runner_of("p-2")})
    assert json.loads(view.slots(1, stale=False).body)["frame"] == 2
    assert json.loads(before)["frame"] == 1


def test_whoever_asks_for_every_limit_does_not_fill_the_memory() -> None:
    view = view_of(*(f"p-{n}" for n in range(100)))
    for limit in range(1, 101):
        assert len(json.loads(view.slots(limit, stale=False).body)["slots"]) == limit
    assert len(view._slots) <= 16


async def test_a_new_frame_wakes_whoever_waits_for_it() -> None:
    view = view_of()
    waiting = asyncio.create_task(view.shown.wait())
    await asyncio.sleep(0)
    view.show(frame_of("p-1", number=2), {})
    await asyncio.wait_for(waiting, 30)
    assert not view.shown.is_set()


# ------------------------------------------------------------------------------------------------ all venues


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
        self.stream: list[Frame] = []

    def _answer(self, what: str, about: Any) -> None:
        self.asked.append((what, about))
        if self.away:
            raise AWAY

    async def secret(self) -> bytes:
        return bytes(32)

    async def venues(self) -> list[Venue]:
        self._answer("venues", None)
        listed = [Venue(name, name, 5) for name in self.listed]
        self.listed += self.while_listing
        self.listing.set()
        await asyncio.sleep(0)
        return listed

    async def rule(self, venue: str, version: int | None = None) -> RuleVersion:
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

    async def runners(self, venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        self._answer("runners", list(numbers))
        return {number: self.known[number] for number in numbers if number in self.known}

    async def xread(self, streams: dict[str, str], *, block: int) -> list[Any]:
        if self.away:
            raise AWAY
        try:
            venue, frame = await asyncio.wait_for(self.published.get(), 0.01)
        except TimeoutError:
            return []
        raw = {b"frame": msgspec.json.encode(frame)}
        return [(VenueKeys(venue).frames.encode(), [(frame.name.encode(), raw)])]

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
        return self

    def time(self) -> None:
        """Queued; execute answers."""

    def get(self, name: str) -> None:
        """Queued; execute answers."""

    async def execute(self) -> list[Any]:
        if self.away:
            raise AWAY
        return [(100, 500_000), *([self.commit and msgspec.json.encode(self.commit)] * len(self.listed))]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def frames(store: FakeStore) -> AsyncIterator[Frames]:
    fake: Any = store
    made = Frames(fake, fake, fake)
    yield made
    await made.stop()


async def test_those_who_ask_for_venues_that_are_not_there_share_a_look_that_began_after_they_asked(
    frames: Frames, store: FakeStore
) -> None:
    """The first has a look at once, the others the next one together."""
    begun_s = time.monotonic()
    assert await frames.view("hall-9") is None
    assert await asyncio.gather(*(frames.view(f"hall-{number}") for number in range(50))) == [None] * 50
    assert time.monotonic() - begun_s >= module._LOOK_S
    assert store.asked == [("venues", None)] * 2


async def test_one_stranger_after_a_while_is_answered_at_once(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 3600.0)
    begun_s = time.monotonic()
    frames._looked_s = begun_s - 3600.0
    await frames.refresh()  # as it is done each second, and by whoever makes a venue
    assert await frames.view("hall-9") is None
    assert time.monotonic() - begun_s < 1800.0


async def test_a_venue_made_elsewhere_is_found_when_it_is_asked_for(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    view = await frames.view("hall-1")
    assert view is not None
    assert (view.frame.frame, view.frame.slots, view.rule_version) == (0, (), 1)
    assert await frames.view("hall-1") is view


async def test_a_venue_made_elsewhere_a_moment_after_a_look_is_not_said_to_be_missing(
    frames: Frames, store: FakeStore
) -> None:
    assert await frames.view("hall-1") is None
    store.listed = ["hall-1"]
    assert await frames.view("hall-1") is not None


async def test_a_venue_made_elsewhere_during_a_look_is_not_said_to_be_missing(frames: Frames, store: FakeStore) -> None:
    """That look has listed the venues already."""
    store.while_listing = ["hall-1"]
    first = asyncio.create_task(frames.view("hall-1"))
    await store.listing.wait()
    assert await frames.view("hall-1") is not None
    assert await first is None


async def test_several_venues_are_looked_for_at_once(frames: Frames, store: FakeStore) -> None:
    await frames.look_for(["hall-7", "hall-8", "hall-9"])
    assert store.asked == [("venues", None)]


async def test_nobody_says_that_a_venue_is_missing_while_nobody_can_tell(frames: Frames, store: FakeStore) -> None:
    store.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await frames.view("hall-9")
    store.away = False
    await frames.refresh()
    assert await frames.view("hall-9") is None


async def test_all_who_wait_hear_of_a_store_that_is_away_with_the_one_who_looks(
    frames: Frames, store: FakeStore
) -> None:
    """A look at a store that does not answer takes most of the second within which writers must hear of it."""
    store.away = True
    found = await asyncio.gather(*(frames.view(f"hall-{n}") for n in range(50)), return_exceptions=True)
    assert all(isinstance(each, StoreUnavailableError) for each in found)
    assert store.asked == [("venues", None)]


async def test_a_venue_that_is_known_is_served_while_the_store_is_away(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    store.away = True
    assert await frames.view("hall-1") is not None
    with pytest.raises(StoreUnavailableError):
        await frames.refresh()
    assert await frames.view("hall-1") is not None


async def test_a_venue_that_is_gone_is_forgotten(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1", "hall-2"]
    await frames.refresh()
    store.listed = ["hall-2"]
    await frames.refresh()
    assert set(frames.views) == {"hall-2"}


async def test_a_venue_made_while_others_are_listed_is_not_forgotten(frames: Frames, store: FakeStore) -> None:
    """The older list ends later, and does not hold it."""
    store.listed, store.while_listing = ["hall-1"], ["hall-2"]
    older = asyncio.create_task(frames.refresh())
    await asyncio.sleep(0)
    newer = asyncio.create_task(frames.refresh())
    await asyncio.gather(newer, older)
    assert set(frames.views) == {"hall-1", "hall-2"}


async def test_numbers_are_read_once_and_then_known(frames: Frames, store: FakeStore) -> None:
    """What is not enrolled is asked for again: it may be by now."""
    store.products = {"p-1": 0, "p-2": 1}
    view = view_of(read_ahead=True)
    assert (await frames.numbers(view, {"p-1", "p-9"}))["p-1"] == 0
    assert (await frames.numbers(view, {"p-1", "p-2", "p-9"})) == {"p-1": 0, "p-2": 1}
    assert store.asked == [("numbers", ["p-1", "p-9"]), ("numbers", ["p-2", "p-9"])]


async def test_the_first_miss_reads_ahead_once_however_many_wait(frames: Frames, store: FakeStore) -> None:
    """A process that starts under load learns the venue's products at once, and asks only for the others."""
    store.products, store.ahead = {f"p-{n}": n for n in range(5)}, 3
    view = view_of()
    first, second = await asyncio.gather(frames.numbers(view, {"p-1"}), frames.numbers(view, {"p-4"}))
    assert first["p-1"] == 1
    assert second["p-4"] == 4
    assert await frames.numbers(view, {"p-0", "p-2"}) == {f"p-{n}": n for n in (0, 1, 2, 4)}
    assert [what for what, _ in store.asked] == ["first_numbers", "numbers"]


async def test_the_memory_for_numbers_is_bounded(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it starts anew, with all that is asked for now."""
    monkeypatch.setattr(module, "_PRODUCTS_MAX", 2)
    store.products = {f"p-{n}": n for n in range(5)}
    view = view_of(read_ahead=True)
    await frames.numbers(view, {"p-0", "p-1", "p-2"})
    assert await frames.numbers(view, {"p-2", "p-3"}) == {"p-2": 2, "p-3": 3}


async def test_numbers_of_lost_enrolments_are_dropped_when_another_product_is_looked_up(
    frames: Frames, store: FakeStore
) -> None:
    """A failover lost b, and c got its number: b is unknown from then on."""
    store.products = {"a": 0, "b": 1}
    view = view_of(read_ahead=True)
    assert await frames.numbers(view, {"a", "b"}) == {"a": 0, "b": 1}
    store.products = {"a": 0, "c": 1}
    assert await frames.numbers(view, {"b", "c"}) == {"c": 1}
    assert await frames.numbers(view, {"a", "b", "c"}) == {"a": 0, "c": 1}


async def test_numbers_that_were_read_before_and_after_a_loss_are_not_mixed(frames: Frames, store: FakeStore) -> None:
    """Two lookups are under way at once; between them c took the number that b had."""
    store.products = {"a": 0, "b": 1}
    view = view_of(read_ahead=True)
    before = asyncio.create_task(frames.numbers(view, {"b"}))
    await asyncio.sleep(0)
    store.products = {"a": 0, "c": 1}
    after = asyncio.create_task(frames.numbers(view, {"c"}))
    await asyncio.gather(before, after)
    assert view.numbers["c"] == 1
    assert "b" not in view.numbers


async def test_numbers_that_are_forgotten_stay_whole_for_batches_under_way(frames: Frames, store: FakeStore) -> None:
    store.products = {"a": 0}
    view = view_of(read_ahead=True)
    old = await frames.numbers(view, {"a"})
    frames.forget(view, old)
    store.products = {"a": 0, "b": 1}
    assert await frames.numbers(view, {"b"}) == {"b": 1}
    frames.forget(view, old)  # by another batch of that time: nothing is dropped twice
    assert (old, view.numbers) == ({"a": 0}, {"b": 1})


# ------------------------------------------------------------------------------------------------ following


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


async def test_published_frames_are_shown_with_the_data_of_their_runners(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    assert view.runners == {0: store.known[0]}
    store.published.put_nowait(("hall-1", frame_of("p-1", "p-2", number=2)))
    await shown(view, 2)
    assert view.runners == store.known
    assert [about for what, about in store.asked if what == "runners"] == [[0], [1]]


async def test_data_is_read_anew_when_runners_were_enrolled_or_changed(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    store.known = {0: runner_of("p-1", price=9)}
    store.published.put_nowait(("hall-1", frame_of("p-1", number=2, roster=2)))
    await shown(view, 2)
    assert view.runners[0].price == 9


async def test_a_frame_of_another_rule_brings_that_rule(frames: Frames, store: FakeStore) -> None:
    """So that this process takes the kinds that the rule declares."""
    view = await followed(frames, store)
    rule = {**store.version.rule, "metrics": {"click": {"event": "share"}}, "terms": [store.version.rule["terms"][0]]}
    store.version = RuleVersion(2, rule, "a", "", 0)
    store.published.put_nowait(("hall-1", frame_of("p-1", rule_version=2)))
    await shown(view, 1)
    assert (view.rule_version, "share" in view.rule.kinds()) == (2, True)


async def test_the_age_of_the_data_is_taken_from_the_last_commit_and_the_clock_of_redis(
    frames: Frames, store: FakeStore
) -> None:
    store.commit = CommitRecord(7, 1, "1-0", "1-0", 1, as_of_ms=100_200, counts={"counted": 3})
    view = await followed(frames, store)
    await eventually(lambda: view.age_ms is not None)
    assert view.age_ms == 300
    assert view.commit.counts == {"counted": 3}
    assert frames.redis_ok


async def test_following_goes_on_when_the_store_comes_back(frames: Frames, store: FakeStore) -> None:
    """Meanwhile the last frame stays."""
    view = await followed(frames, store)
    store.published.put_nowait(("hall-1", frame_of("p-1")))
    await shown(view, 1)
    store.away = True
    await eventually(lambda: not frames.redis_ok)
    assert view.frame.frame == 1
    store.away = False
    store.published.put_nowait(("hall-1", frame_of("p-2", number=2)))
    await shown(view, 2)


async def test_a_frame_that_cannot_be_shown_does_not_end_the_following(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is logged, and the next frame is shown."""
    view = await followed(frames, store)
    store.published.put_nowait(("hall-2", frame_of("p-1", venue="hall-2")))
    store.published.put_nowait(("hall-1", frame_of("p-1", number=2)))
    await shown(view, 2)


async def test_without_a_start_there_is_nothing_to_stop(frames: Frames) -> None:
    await frames.stop()


# ------------------------------------------------------------------------------------------------ other frames


async def test_frame_that_nobody_published_is_not_shown(frames: Frames, store: FakeStore) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    view = frames.views["hall-1"]
    assert await frames.catch_up(view, (7, 1)) is False
    assert view.frame.frame == 0


async def test_nobody_is_told_that_a_frame_is_not_there_while_the_store_is_away(
    frames: Frames, store: FakeStore
) -> None:
    store.listed = ["hall-1"]
    await frames.refresh()
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await frames.catch_up(frames.views["hall-1"], (7, 1))
    with pytest.raises(StoreUnavailableError):
        await frames.find(frames.views["hall-1"], (7, 1))


async def test_a_venue_is_seen_with_its_newest_frame(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    store.stream = [frame_of("p-1", number=1), frame_of("p-1", number=2)]
    await frames.refresh()
    view = frames.views["hall-1"]
    assert (view.frame.frame, view.last_id, len(view.history)) == (2, "7-2", 1)


async def test_a_frame_that_another_process_has_shown_is_fetched(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream = [frame_of("p-1", number=number) for number in (1, 2)]
    assert await frames.catch_up(view, (7, 2)) is True
    assert (view.frame.frame, view.last_id) == (2, "7-2")
    asked = len(store.asked)
    assert await frames.catch_up(view, (7, 1)) is True
    assert len(store.asked) == asked, "what is shown already is not asked for"


async def test_a_process_that_lags_far_behind_catches_up_before_it_answers(frames: Frames, store: FakeStore) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream = [frame_of("p-1", number=number, at_ms=100 * number) for number in range(1, 200)]
    assert await frames.catch_up(view, (7, 199)) is True
    assert view.frame.frame == 199


async def test_readers_who_name_newer_frames_share_a_look(frames: Frames, store: FakeStore) -> None:
    """However many do, and whether there is such a frame or not."""
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    await frames.refresh()
    view = frames.views["hall-1"]
    store.asked.clear()
    assert set(await asyncio.gather(*(frames.catch_up(view, (99, 1)) for _ in range(20)))) == {False}
    assert [what for what, _ in store.asked].count("xrange") <= 2
    store.stream = [frame_of("p-1", number=1)]
    assert set(await asyncio.gather(*(frames.catch_up(view, (7, 1)) for _ in range(20)))) == {True}


async def test_what_was_fetched_is_not_shown_again_when_it_is_read_as_well(frames: Frames, store: FakeStore) -> None:
    view = await followed(frames, store)
    store.stream = [frame_of("p-1", number=number) for number in (1, 2)]
    await frames.catch_up(view, (7, 2))
    store.published.put_nowait(("hall-1", store.stream[0]))
    store.published.put_nowait(("hall-1", frame_of("p-1", number=3)))
    await shown(view, 3)
    assert [view.history.find((7, number)) is not None for number in (1, 2, 3)] == [False, True, True]


async def test_past_frames_are_fetched_a_few_at_once(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for the same waits for the first; where too many wait, more are told to come again."""
    monkeypatch.setattr(module, "_WAITING_MAX", 3)
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1")}
    store.stream = [frame_of("p-1", number=number, at_ms=100_000 * number) for number in (1, 2)]
    await frames.refresh()
    view = frames.views["hall-1"]
    found = await asyncio.gather(*(frames.find(view, (7, 1)) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found].count(OverloadedError) == 2
    fetched = [each for each in found if not isinstance(each, BaseException)]
    assert len(fetched) == 3
    assert await frames.find(view, (7, 1)) in fetched


async def test_a_frame_of_a_moment_ago_is_found_in_memory_and_an_older_one_in_the_store(
    frames: Frames, store: FakeStore
) -> None:
    store.listed, store.known = ["hall-1"], {0: runner_of("p-1"), 1: runner_of("p-2")}
    store.stream = [frame_of("p-2", "p-1", number=1), frame_of("p-1", "p-2", number=2, at_ms=200_000)]
    await frames.refresh()
    view = frames.views["hall-1"]
    asked = len(store.asked)
    recent = await frames.find(view, (7, 2))
    assert recent is not None
    assert (recent.frame, len(store.asked)) == (store.stream[1], asked)
    older = await frames.find(view, (7, 1))
    assert older is not None
    assert (older.frame, older.runners) == (store.stream[0], store.known)
    assert await frames.find(view, (7, 9)) is None
    assert await frames.find_before(view, 200_000) == older
    assert await frames.find_before(view, 200_001) == recent
    assert await frames.find_before(view, 1000) is None


async def test_frames_that_are_passed_over_count_for_what_the_next_is_compared_with(
    frames: Frames, store: FakeStore
) -> None:
    """The board of the last moment before each ten seconds, whichever of the frames were shown here."""
    store.listed = ["hall-1"]
    store.stream = [frame_of("p-1", number=1, at_ms=1_000)]
    await frames.refresh()
    view = frames.views["hall-1"]
    store.stream += [frame_of("p-1", number=2 + n, at_ms=9_000 + 1_000 * n) for n in range(25)]
    await frames.catch_up(view, (7, 26))
    last_before = [board.at_ms for board in view.now.references if board is not None]
    assert last_before == [29_000, 19_000, 9_000]
    fresh = Frames(*[_any(store)] * 3)
    await fresh.refresh()
    assert fresh.views["hall-1"].now.references == view.now.references, (
        "a process that has seen none of them tells the same"
    )


def _any(store: FakeStore) -> Any:
    return store


async def test_a_commit_of_a_newer_saima_is_told_as_what_it_is_and_leaves_other_venues_alone(
    frames: Frames, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, by its venue and both versions; what can be read of the others is."""
    store.listed = ["hall-1", "hall-2"]
    await frames.refresh()
    good = CommitRecord(7, 1, "1-0", "1-0", 1, 100_400)
    newer = msgspec.structs.replace(good, format=FORMAT + 1)

    async def execute() -> list[Any]:
        return [(100, 500_000), msgspec.json.encode(newer), msgspec.json.encode(good)]

    monkeypatch.setattr(store, "execute", execute)
    with capture_logs() as lines:
        await frames.start()
        await eventually(lambda: frames.views["hall-2"].age_ms is not None and frames.redis_ok)

    told = [line for line in lines if line["log_level"] in {"error", "warning"}]
    assert [(line["event"], line["venue"]) for line in told] == [
        ("commit cannot be read, frames are served as they were", "hall-1")
    ]
    assert f"format {FORMAT + 1}" in told[0]["reason"]
    assert frames.views["hall-1"].age_ms is None
