"""The scorer process: every venue in its own thread, found by itself, handed on by lease."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from racing.crew import Scorer
from racing.entries import Entry, Runner
from racing.model import Position
from racing.rule import parse_rule
from racing.settings import Settings
from racing.store.commit import decode_frame, read_commit
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from racing.verify import verify
from tests.contract.appends import append
from tests.contract.servers import LossyStore, RealStore, Store
from tests.contract.track import CLICKS, clicks, packed
from tests.waiting import until

RULE = parse_rule({**CLICKS, "window_s": 600, "bucket_s": 10})
SOON_S = 10.0


class Running:
    """Scorers that run until the test ends."""

    def __init__(self) -> None:
        self._ends: list[tuple[threading.Event, threading.Thread]] = []

    def start(self, name: str, url: str = "unix://fake", **settings: object) -> Callable[[], None]:
        """Run a scorer; returns what stops it."""
        halt = threading.Event()
        scorer = Scorer(url, name, Settings(redis_url=url, **settings))  # type: ignore[arg-type]  # pydantic checks them
        thread = threading.Thread(target=scorer.run, args=(halt,))
        thread.start()
        self._ends.append((halt, thread))

        def stop() -> None:
            halt.set()
            thread.join(timeout=SOON_S)
            assert not thread.is_alive()

        return stop


@pytest.fixture
def running(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    if store.fake:
        for name in ("racing.crew.connect", "racing.owner.connect"):
            monkeypatch.setattr(name, lambda _url, venue=None, block_ms=0: store.client())
    made = Running()
    yield made
    for halt, _ in made._ends:
        halt.set()
    for _, thread in made._ends:
        thread.join(timeout=SOON_S)
        assert not thread.is_alive()


async def opened(desk: Desk, venue: str) -> None:
    await desk.venues.create(venue, venue, RULE, author="a")
    await desk.runners.enrol(venue, [Runner(f"{venue}-{index}", "m", "t") for index in range(3)])


def counts(client: SyncClient, venue: str, events: int) -> None:
    """Return when a venue's commits have counted so many events."""
    until(
        lambda: read_commit(client, VenueKeys(venue)).counts.get("counted", 0) == events,
        within_s=SOON_S,
        what=f"{venue} counts {events} events",
    )


def url_of(store: Store) -> str:
    return store.url if isinstance(store, RealStore) else "unix://fake"


async def test_two_venues_race_in_one_scorer_and_keep_apart(
    store: Store, client: SyncClient, desk: Desk, running: Running
) -> None:
    await opened(desk, "hall-1")
    running.start("one", url_of(store))
    await opened(desk, "hall-2")
    for count in range(1, 11):
        await append(desk, "hall-1", packed(clicks([0])))
        await append(desk, "hall-2", packed(clicks([1, 2, 2])))
        counts(client, "hall-1", count)
    counts(client, "hall-2", 30)
    reports = [verify(client, venue) for venue in ("hall-1", "hall-2")]
    assert [report.differences for report in reports] == [[], []]
    first, second = (
        decode_frame(store.raw.xrevrange(VenueKeys(venue).frames, count=1)[0][1][b"frame"])
        for venue in ("hall-1", "hall-2")
    )
    assert [slot.product for slot in first.slots] == ["hall-1-0", "hall-1-1", "hall-1-2"]
    assert [slot.product for slot in second.slots] == ["hall-2-2", "hall-2-1", "hall-2-0"]
    assert store.raw.zrange(VenueKeys("hall-2").sums("total", "click:count"), 0, -1, withscores=True) == [
        (b"0000000001", 10.0),
        (b"0000000002", 20.0),
    ]


async def test_venue_of_a_scorer_that_ends_goes_to_the_next_without_a_gap(
    store: Store, client: SyncClient, desk: Desk, running: Running
) -> None:
    await opened(desk, "hall-1")
    counted = 0
    for name in ("one", "two", "three"):
        stop = running.start(name, url_of(store), frame_ms=0)
        for _ in range(3):
            await append(desk, "hall-1", packed(clicks([counted % 3])))
            counted += 1
            counts(client, "hall-1", counted)
        stop()
        assert not store.raw.exists(VenueKeys("hall-1").lease), "a scorer that ends gives up its lease at once"
    frames = [decode_frame(fields[b"frame"]) for _, fields in store.raw.xrange(VenueKeys("hall-1").frames)]
    assert [frame.frame for frame in frames] == list(range(1, len(frames) + 1))
    assert len({frame.epoch for frame in frames}) == 3
    assert verify(client, "hall-1").differences == []


async def test_only_the_holder_of_the_lease_races(
    store: Store, client: SyncClient, desk: Desk, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(desk, "leased")
    blocks_ms: list[int] = []

    def noted(of: SyncClient, keys: VenueKeys, after: Position, *, block_ms: int) -> list[Entry]:
        if keys == VenueKeys("leased"):  # other tests' scorers may run in this process
            blocks_ms.append(block_ms)
        return read_after(of, keys, after, block_ms=block_ms)

    monkeypatch.setattr("racing.owner.read_after", noted)
    running.start("one", url_of(store), lease_ms=600)
    until(lambda: read_commit(client, VenueKeys("leased")).number > 0, within_s=SOON_S, what="one races")
    epoch = read_commit(client, VenueKeys("leased")).epoch
    stop = running.start("two", url_of(store), lease_ms=600)
    for count in range(1, 6):
        await append(desk, "leased", packed(clicks([0])))
        counts(client, "leased", count)
    stop()
    assert max(blocks_ms) <= 200, "waiting for entries, it may not lose the lease"
    assert read_commit(client, VenueKeys("leased")).epoch == epoch
    assert store.raw.get(VenueKeys("leased").lease) == b"one"


async def test_scorer_goes_on_when_the_server_comes_back(
    store: Store, client: SyncClient, desk: Desk, running: Running, lossy: LossyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("racing.crew.connect", "racing.owner.connect"):
        monkeypatch.setattr(name, lambda _url, venue=None, block_ms=0: lossy.client())
    await opened(desk, "hall-1")
    running.start("one")
    for count in range(1, 4):
        await append(desk, "hall-1", packed(clicks([0])))
        counts(client, "hall-1", count)
        lossy.go_away()
        lossy.come_back()
    assert verify(client, "hall-1").differences == []
