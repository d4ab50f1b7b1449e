"""Scorers that share venues: reports, even shares, hand-over, and what operators are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
import pytest
import redis
from msgspec import structs

from racing.crew import Scorer, own_name
from racing.doctor import scorers_found
from racing.entries import Runner
from racing.errors import FencedError
from racing.rule import parse_rule
from racing.scorer import VenueScorer
from racing.settings import Settings
from racing.store.client import server_ms
from racing.store.commit import NO_COMMIT, Committer, read_commit
from racing.store.crew import (
    FORGET_MS,
    ScorerReport,
    Trouble,
    VenueReport,
    decode_reports,
    forget_report,
    owners,
    read_reports,
    write_report,
)
from racing.store.crew_view import read_crew
from racing.store.desk import Desk
from racing.store.keys import VENUES as VENUES_KEY
from racing.store.keys import VenueKeys
from racing.store.log import READ_MAX
from racing.store.mend import mend
from racing.store.protocol import AsyncClient, SyncClient
from racing.verify import verify
from tests.contract.appends import append
from tests.contract.servers import RealStore, Store
from tests.contract.track import CLICKS, Track, clicks, packed
from tests.waiting import until

VENUES = [f"hall-{number}" for number in range(5)]
SOON_S = 30.0
LEASE_MS = 60_000
"""So long that no lease runs out here, however little of the machine this process gets."""


def report(name: str, *, at_ms: int = 1_000, **venues: VenueReport) -> ScorerReport:
    return ScorerReport(name=name, host="h", pid=1, started_ms=0, at_ms=at_ms, venues=venues)


def racing(epoch: int = 1) -> VenueReport:
    return VenueReport(state="racing", epoch=epoch, commits=3, lag_ms=12, commit_ms=4)


# -- reports -------------------------------------------------------------------------------------------------


def test_report_that_cannot_be_read_is_passed_over() -> None:
    good = report("one", a=racing())
    assert decode_reports([b"", b"{}", b"\xff", msgspec.json.encode(good)]) == [good]


def test_report_of_a_newer_version_is_read_by_an_older_one() -> None:
    """In a rolling restart both stand side by side."""
    newer = {**msgspec.to_builtins(report("one", a=racing())), "colour": "red"}
    assert decode_reports([msgspec.json.encode(newer)]) == [report("one", a=racing())]


def test_reports_are_kept_by_name_and_forgotten_by_name(client: SyncClient) -> None:
    write_report(client, report("two"))
    write_report(client, report("one", a=racing(1)))
    write_report(client, report("one", a=racing(2)))
    assert read_reports(client) == [report("one", a=racing(2)), report("two")]
    forget_report(client, "one", "nobody")
    assert read_reports(client) == [report("two")]


@pytest.mark.parametrize(
    ("heard_ms", "lives"), [(0, True), (2_999, True), (3_000, False), (-2_999, True), (-3_000, False)]
)
def test_scorer_lives_while_it_was_heard_of_within_a_lease(heard_ms: int, *, lives: bool) -> None:
    """Also by a server's clock that was set back."""
    assert report("one", at_ms=10_000).lives(10_000 + heard_ms, 3_000) is lives


def test_owner_is_who_holds_the_venue_with_the_greatest_epoch_else_who_waits_for_it() -> None:
    waiting = VenueReport(state="waiting", epoch=9)
    assert owners([report("one", a=racing(1), b=waiting), report("two", a=racing(2), b=racing(1), c=waiting)]) == {
        "a": "two",
        "b": "two",
        "c": "two",
    }


def test_two_processes_on_hosts_of_one_name_have_names_of_their_own() -> None:
    assert len({own_name() for _ in range(100)}) == 100


# -- sharing -------------------------------------------------------------------------------------------------


class Running:
    """Scorers in this process, each until it is stopped or the test ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stops: dict[str, Callable[[], None]] = {}

    def start(self, name: str) -> None:
        halt = threading.Event()
        thread = threading.Thread(
            target=Scorer(self._url, name, Settings(frame_ms=0, lease_ms=LEASE_MS, redis_url=self._url)).run,
            args=(halt,),
        )
        thread.start()

        def stop() -> None:
            halt.set()
            thread.join(timeout=SOON_S)
            assert not thread.is_alive()

        self._stops[name] = stop

    def stop(self, name: str) -> None:
        self._stops.pop(name)()

    def stop_all(self) -> None:
        for name in list(self._stops):
            self.stop(name)


@pytest.fixture
def running(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    if store.fake:
        for name in ("racing.crew.connect", "racing.owner.connect"):
            monkeypatch.setattr(name, lambda _url, venue=None, block_ms=0: store.client())
    made = Running(store.url if isinstance(store, RealStore) else "unix://fake")
    yield made
    made.stop_all()


async def opened(desk: Desk, venues: list[str]) -> None:
    rule = parse_rule({**CLICKS, "window_s": 600, "bucket_s": 10})
    for venue in venues:
        await desk.venues.create(venue, venue, rule, author="a")
        await desk.runners.enrol(venue, [Runner("p", "m", "t")])


def held(client: SyncClient) -> dict[str, list[str]]:
    """Who holds which leases."""
    found: dict[str, list[str]] = {}
    for venue in VENUES:
        name = client.get(VenueKeys(venue).lease)
        found.setdefault(name.decode() if name else "", []).append(venue)
    return found


def counted(client: SyncClient, venue: str) -> int:
    """How many events of a venue are counted."""
    return read_commit(client, VenueKeys(venue)).counts.get("counted", 0)


def spread(client: SyncClient, **sizes: int) -> dict[str, list[str]]:
    """Return who holds what when so many venues are held by each."""

    def as_wanted() -> dict[str, list[str]] | None:
        found = held(client)
        raced = all(read_commit(client, VenueKeys(venue)).number > 0 for venue in VENUES)
        return found if raced and {name: len(each) for name, each in found.items()} == sizes else None

    return until(as_wanted, within_s=SOON_S, what=f"venues are spread as {sizes}, not {held(client)}")


async def test_scorer_that_joins_takes_its_share_and_the_rest_races_on_undisturbed(
    client: SyncClient, desk: Desk, running: Running
) -> None:
    await opened(desk, VENUES)
    running.start("one")
    before = spread(client, one=5)["one"]
    epochs = {venue: read_commit(client, VenueKeys(venue)).epoch for venue in before}
    running.start("two")
    after = spread(client, one=3, two=2)
    for venue in VENUES:
        await append(desk, venue, packed(clicks([0])))
    until(lambda: all(counted(client, venue) == 1 for venue in VENUES), within_s=SOON_S, what="every venue races")
    assert [verify(client, venue).differences for venue in VENUES] == [[]] * len(VENUES)
    changed = {venue for venue in VENUES if read_commit(client, VenueKeys(venue)).epoch != epochs[venue]}
    assert changed == set(after["two"])


async def test_venues_of_a_scorer_that_ends_go_to_the_others_evenly_and_at_once(
    client: SyncClient, desk: Desk, running: Running
) -> None:
    """At once: no lease has to run out."""
    await opened(desk, VENUES)
    for name in ("one", "two", "three"):
        running.start(name)
    until(lambda: len(held(client)) == 3 and "" not in held(client), within_s=SOON_S, what="all three have venues")
    until(lambda: sorted(map(len, held(client).values())) == [1, 2, 2], within_s=SOON_S, what=f"even: {held(client)}")
    began_ms = server_ms(client)
    running.stop("two")
    until(
        lambda: sorted(map(len, held(client).values())) == [2, 3] and "" not in held(client),
        within_s=SOON_S,
        what="the two others have all",
    )
    assert server_ms(client) - began_ms < LEASE_MS
    assert "two" not in {each.name for each in read_reports(client)}


async def test_venue_is_not_given_to_a_scorer_that_does_not_ask_for_it(
    client: SyncClient, desk: Desk, running: Running
) -> None:
    """One that has just died still stands in the reports: handed a venue, it would leave it alone for a lease."""
    await opened(desk, VENUES)
    running.start("one")
    spread(client, one=5)
    epochs = [read_commit(client, VenueKeys(venue)).epoch for venue in VENUES]
    said_ms = server_ms(client)
    write_report(client, report("dead", at_ms=said_ms))

    def looked_again() -> bool:
        return any(each.name == "one" and each.at_ms > said_ms + 1_000 for each in read_reports(client))

    until(looked_again, within_s=SOON_S, what="one has looked several times")
    assert "dead" in {each.name for each in read_reports(client) if each.lives(server_ms(client), LEASE_MS)}
    assert held(client) == {"one": VENUES}
    assert [read_commit(client, VenueKeys(venue)).epoch for venue in VENUES] == epochs


async def test_report_of_a_scorer_long_gone_is_deleted_by_the_others(
    client: SyncClient, desk: Desk, running: Running
) -> None:
    await opened(desk, VENUES)
    now_ms = server_ms(client)
    write_report(client, report("gone", at_ms=now_ms - FORGET_MS - 1))
    write_report(client, report("silent", at_ms=now_ms - FORGET_MS // 2))
    running.start("one")
    spread(client, one=5)
    until(
        lambda: {each.name for each in read_reports(client)} == {"one", "silent"},
        within_s=SOON_S,
        what="the report of the one that is gone is deleted, the other is kept",
    )


async def test_venue_that_is_no_longer_listed_is_given_up(
    store: Store, client: SyncClient, desk: Desk, running: Running
) -> None:
    await opened(desk, VENUES)
    running.start("one")
    spread(client, one=5)
    store.raw.hdel(VENUES_KEY, VENUES[0])
    until(lambda: held(client).get("") == [VENUES[0]], within_s=SOON_S, what="its lease is free")


def test_long_restore_is_broken_off_where_the_lease_is_lost_and_else_renews_it_all_the_while(
    client: SyncClient,
) -> None:
    """After each read of the log and of each sorted set: a restore may take longer than a lease."""
    track = Track(client)
    track.begin()
    for _ in range(2 * READ_MAX):
        track.click(0)
    track.settle(track.owner())
    renewals: list[int] = []
    VenueScorer(client, track.keys, track.settings, meanwhile=lambda: renewals.append(1))
    assert len(renewals) >= 2, "for two reads of the log at least"

    def lost() -> None:
        raise FencedError("lost")

    with pytest.raises(FencedError, match="lost"):
        VenueScorer(client, track.keys, track.settings, meanwhile=lost)


def test_comparing_the_sets_renews_the_lease_after_each(client: SyncClient) -> None:
    track = Track(client)
    track.begin()
    track.click(0, 1)
    owner = track.owner()
    track.settle(owner)
    renewals: list[int] = []
    wrong, _ = mend(client, track.keys, owner.race, owner.race.take_changes(), meanwhile=lambda: renewals.append(1))
    assert wrong == 0
    assert len(renewals) >= len(track.sets())


# -- what operators are told ---------------------------------------------------------------------------------


async def test_view_names_owner_epoch_times_and_the_newest_error_of_each_venue(
    store: Store, client: SyncClient, desk: Desk
) -> None:
    await opened(desk, ["a", "b", "c"])
    now_ms = server_ms(client)
    told = report("one", at_ms=now_ms, a=racing(), b=VenueReport(state="restoring", epoch=7))
    told.troubles["a"] = Trouble("old", now_ms - 9_000)
    write_report(client, told)
    gone = report("two", at_ms=now_ms - 2 * LEASE_MS, c=racing())
    gone.troubles["a"] = Trouble("new", now_ms - 5_000)
    write_report(client, gone)
    for venue in ("a", "b"):
        store.raw.set(VenueKeys(venue).lease, "one")
    store.raw.set(VenueKeys("a").commit, record(epoch=5, as_of_ms=now_ms - 1_000))
    view = await desk.crew(lease_ms=LEASE_MS)
    assert [(each.name, each.state, each.venues) for each in view.scorers] == [("one", "live", 2), ("two", "silent", 0)]
    first, second, third = view.venues
    assert (first.venue, first.owner, first.state, first.epoch, first.frame) == ("a", "one", "racing", 5, 9)
    assert (first.lag_ms, first.commit_ms, first.last_error) == (12, 4, "new")
    assert first.frame_age_ms is not None
    assert first.frame_age_ms >= 1_000
    assert first.last_error_age_ms is not None
    assert first.last_error_age_ms >= 5_000
    assert (second.owner, second.state, second.lag_ms, second.last_error) == ("one", "restoring", None, None)
    assert (third.owner, third.state, third.epoch, third.frame_age_ms, third.lag_ms) == (None, "waiting", *[None] * 3)


async def test_conflict_is_counted_with_its_venue_until_the_scorer_ends(
    store: Store, client: SyncClient, desk: Desk, running: Running
) -> None:
    """Also when the venue was given up since: the thread that met it is gone then, its count is not."""
    await opened(desk, ["a"])
    running.start("one")
    until(lambda: read_commit(client, VenueKeys("a")).number > 0, within_s=SOON_S, what="a is raced")
    _fence(client, "a")
    until(lambda: _conflicts(client, "a") == 1, within_s=SOON_S, what="the conflict is told")
    store.raw.hdel(VENUES_KEY, "a")
    until(lambda: "a" not in read_reports(client)[0].venues, within_s=SOON_S, what="a is given up")
    assert _conflicts(client, "a") == 1
    opened_again(store, "a")
    until(lambda: _owner(store, "a") == "one", within_s=SOON_S, what="a is raced again")
    assert (await desk.crew(lease_ms=LEASE_MS)).venues[0].conflicts == 1


def _fence(client: SyncClient, venue: str) -> None:
    """What a take-over by another does to the owner."""
    while True:
        try:
            Committer(client, VenueKeys(venue)).take_over()
        except FencedError:  # it has just committed
            continue
        return


def _conflicts(client: SyncClient, venue: str) -> int:
    return sum(report.conflicts.get(venue, 0) for report in read_reports(client))


def _owner(store: Store, venue: str) -> str | None:
    held = store.raw.get(VenueKeys(venue).lease)
    return held.decode() if held else None


def opened_again(store: Store, venue: str) -> None:
    """List a venue that was taken from the list; its keys are there still."""
    store.raw.hset(VENUES_KEY, venue, msgspec.json.encode({"venue": venue, "title": venue, "created_ms": 0}))


async def test_view_shows_a_venue_whose_commit_record_is_damaged(store: Store, client: SyncClient, desk: Desk) -> None:
    await opened(desk, ["a"])
    store.raw.set(VenueKeys("a").commit, b"{")
    store.raw.set(VenueKeys("a").lease, "one")
    told = report("one", at_ms=server_ms(client), a=VenueReport(state="restoring"))
    told.troubles["a"] = Trouble("the commit record cannot be decoded", 0)
    write_report(client, told)
    run = (await desk.crew(lease_ms=LEASE_MS)).venues[0]
    assert (run.owner, run.state, run.epoch) == ("one", "restoring", None)
    assert run.last_error == "the commit record cannot be decoded"


def test_doctor_says_whether_scorers_live_and_who_fell_silent(client: SyncClient) -> None:
    assert scorers_found(client, Settings(lease_ms=LEASE_MS)).grade == "problem"
    now_ms = server_ms(client)
    write_report(client, report("one", at_ms=now_ms, a=racing(), b=racing(), c=VenueReport()))
    write_report(client, report("two", at_ms=now_ms))
    found = scorers_found(client, Settings(lease_ms=LEASE_MS))
    assert (found.grade, found.found) == ("ok", "2 live, with 0, 2 venues")
    write_report(client, report("two", at_ms=now_ms - LEASE_MS))
    found = scorers_found(client, Settings(lease_ms=LEASE_MS))
    assert (found.grade, found.found) == ("warning", "1 live, with 2 venues; 1 fell silent")
    assert "two" in found.advice


class CutOff:
    """A client to which the node of one venue does not answer."""

    def __init__(self, client: AsyncClient, venue: str) -> None:
        self._client = client
        self._tag = f"{{{venue}}}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get(self, name: str) -> bytes | None:
        if self._tag in name:
            raise redis.exceptions.ConnectionError("refused")
        return await self._client.get(name)


async def test_venue_whose_node_does_not_answer_is_unknown_and_hides_no_other(
    store: Store, client: SyncClient, desk: Desk
) -> None:
    await opened(desk, ["a", "b"])
    client.eval(store.script("hold_lease"), 1, VenueKeys("b").lease, "one", 60_000)
    made = store.async_client()
    try:
        first, second = (await read_crew(cast("AsyncClient", CutOff(made, "a")), lease_ms=LEASE_MS)).venues
    finally:
        await made.aclose()
    assert (first.state, first.owner, first.epoch, first.frame_age_ms) == ("unknown", None, None, None)
    assert first.last_error == "Redis is away: refused"
    assert (second.state, second.owner, second.last_error) == ("racing", "one", None)


async def test_view_of_a_deployment_without_venues_is_empty(desk: Desk) -> None:
    view = await desk.crew(lease_ms=LEASE_MS)
    assert (view.scorers, view.venues) == ([], [])


async def test_venues_are_told_in_the_order_of_their_names(desk: Desk) -> None:
    await opened(desk, ["b", "a"])
    assert [run.venue for run in (await desk.crew(lease_ms=LEASE_MS)).venues] == ["a", "b"]


def record(**fields: int) -> bytes:
    return msgspec.json.encode(structs.replace(NO_COMMIT, frame=9, **fields))
