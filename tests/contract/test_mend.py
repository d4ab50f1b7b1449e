"""Sorted sets that a server loaded wrongly: found once for each run of a server, and written again."""

from __future__ import annotations

import pytest

from racing.errors import FencedError
from racing.restoring import restore
from racing.store.commit import Committer
from racing.store.protocol import SyncClient
from tests.contract.servers import Store
from tests.contract.track import Track, sets_of


@pytest.fixture
def track(client: SyncClient) -> Track:
    return begun(client)


def begun(client: SyncClient) -> Track:
    """A venue of three runners, two with clicks, before an owner on a server that has just started."""
    made = Track(client)
    made.begin()
    owner = made.owner()
    made.click(0, 0, 1)
    made.settle(owner)
    made.raw.delete(made.keys.sets_run)  # as after a restart of the server
    return made


@pytest.mark.parametrize(
    ("key", "members"),
    [
        ("standings", {b"\xff000000001": 0.0}),
        ("standings", {b"0000000007": -3.0}),
        ("standings", {b"0000000001": -2.5}),
        ("window:click:count", {b"0000000002": 9.0}),
        ("delta:click:count", {b"0000000000": 1.5}),
        ("total:click:count", {b"0000000000": 3.0}),
        ("total:click:count", {b"0000000002": 5.0}),
    ],
)
def test_wrong_member_is_mended_by_the_owner_that_comes_next(
    track: Track, key: str, members: dict[bytes, float]
) -> None:
    track.raw.zadd(track.keys.sums("", key).replace("::", ":"), members)
    owner = track.owner()
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)


def test_missing_set_is_written_anew(track: Track) -> None:
    track.raw.delete(track.keys.standings)
    owner = track.owner()
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)


def test_owner_that_was_superseded_while_it_compares_changes_nothing(track: Track) -> None:
    """It holds the next owner's sets against its own older race, and would take what is new for foreign."""
    superseded = Committer(track.client, track.keys).take_over()
    owner = track.owner()
    track.click(2, 2, 2)
    track.settle(owner)
    with pytest.raises(FencedError, match="another owner"):
        restore(track.client, track.keys, superseded, check_sets=True)
    assert track.sets() == sets_of(owner.race)


def test_sets_are_compared_once_in_a_run_of_the_server(real_store: Store) -> None:
    track = begun(real_store.client())
    track.settle(track.owner())
    track.raw.zadd(track.keys.standings, {b"0000000001": -2.5})
    owner = track.owner()
    track.settle(owner)
    assert track.sets() != sets_of(owner.race)
    track.client.close()


def test_asking_for_a_comparison_holds_until_all_is_written_anew(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that ends half-way leaves the rest to the next one."""
    monkeypatch.setattr("racing.store.sets.MEMBERS_MAX", 2)
    monkeypatch.setattr("racing.store.sets.MEMBERS_MIN", 2)
    track.settle(track.owner())
    track.raw.zadd(track.keys.standings, {b"0000000002": -7.0})
    Committer(track.client, track.keys).take_over(compare=True)

    half_way = track.owner()
    track.step(half_way, after_ms=100)
    assert track.commit().compare
    owner = track.owner()
    track.settle(owner)

    assert not track.commit().compare
    assert track.sets() == sets_of(owner.race)
